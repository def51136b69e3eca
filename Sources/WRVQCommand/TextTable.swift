/// Rows of text in columns, numbers to the right.
struct TextTable: CustomStringConvertible {
  private var rows: [[String]]

  init(header: [String]) {
    rows = [header]
  }

  mutating func append(_ row: [String]) {
    precondition(row.count == rows[0].count)
    rows.append(row)
  }

  var description: String {
    let columns = rows[0].indices
    let widths = columns.map { column in rows.map { $0[column].count }.max()! }
    // A column of numbers alone is set flush right.
    let isNumeric = columns.map { column in
      rows.dropFirst().allSatisfy { $0[column].allSatisfy { "0123456789.,–".contains($0) } }
    }
    return rows.map { row in
      let line = columns.map { column in
        let padding = String(repeating: " ", count: widths[column] - row[column].count)
        return isNumeric[column] ? padding + row[column] : row[column] + padding
      }.joined(separator: "  ")
      return String(line.reversed().drop { $0 == " " }.reversed())
    }.joined(separator: "\n")
  }
}
