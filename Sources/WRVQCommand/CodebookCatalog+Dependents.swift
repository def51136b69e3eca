import PostgresClient
import WRVQ

extension CodebookCatalog {
  /// A column that may hold codes.
  private struct CodeColumn {
    /// As the server describes it.
    var description: String
    /// Its table's OID, and its number there.
    var table: String
    var number: String
  }

  /// Throws if anything needs a codebook: what the catalogs know to name it, or else columns with
  /// codes of it.  A column that cannot be read counts as one that has some.
  func checkUnneeded(_ name: String, _ progress: ProgressReporter) throws {
    var known: [String] = []
    var columns: [CodeColumn] = []
    let result = try connection.query(
      """
      SELECT kind, object, objid, objsubid FROM wrvq.wrvq_codebook_dependents($1)
      """, [.text(name)])
    for row in 0..<result.rowCount {
      let column = CodeColumn(
        description: try result.requiredText(row: row, column: 1),
        table: try result.requiredText(row: row, column: 2),
        number: try result.requiredText(row: row, column: 3))
      if try result.requiredText(row: row, column: 0) == "column" {
        columns.append(column)
      } else {
        known.append(column.description)
      }
    }
    // Catalogs first: reading all rows may take long.
    guard known.isEmpty else { throw Self.needed(name, by: known) }
    let mark = try codeMark(of: name)
    var needing: [String] = []
    for (i, column) in columns.enumerated() {
      let stage = "searching \(column.description), \(i + 1) of \(columns.count)"
      do {
        let hasCodes = try search(column, for: mark) { progress.report(stage, $0) }
        if hasCodes { needing.append(column.description) }
      } catch let PostgresError.server(error) {
        needing.append("\(column.description) (unless proved otherwise: \(error.message))")
      }
    }
    progress.finish()
    guard needing.isEmpty else { throw Self.needed(name, by: needing) }
  }

  private static func needed(_ name: String, by objects: [String]) -> CommandFailure {
    let most = 10
    let others = objects.count > most ? ", and \(objects.count - most) others" : ""
    return CommandFailure(
      "codebook \"\(name)\" is needed by \(objects.prefix(most).joined(separator: ", "))\(others)",
      hint: "Drop or rebuild what needs it first. --force removes it all the same: indexes go on "
        + "with their own copy, but codes can be read only once it is loaded again, so export it.")
  }

  /// What every code of a codebook begins with, as text.
  private func codeMark(of name: String) throws -> String {
    let result = try connection.query(
      """
      SELECT pg_catalog.encode(sha256, 'hex')
      FROM \(codebooks) WHERE name OPERATOR(pg_catalog.=) $1
      """, [.text(name)])
    guard result.rowCount == 1 else { throw Self.noSuchCodebook(name) }
    // The format, and seven bytes of the SHA-256.
    return "1:\(try result.requiredText(row: 0, column: 0).prefix(14)):"
  }

  /// Whether a column has a code with this mark, however deep in arrays and rows.
  ///
  /// - Parameter progress: Called with the share of the table that has been read.
  private func search(
    _ column: CodeColumn, for mark: String, progress: (Double) -> Void
  ) throws -> Bool {
    let result = try connection.query(
      """
      SELECT pg_catalog.format('%I.%I', n.nspname, c.relname), pg_catalog.quote_ident(a.attname),
        pg_catalog.pg_relation_size(c.oid)
          OPERATOR(pg_catalog./) pg_catalog.current_setting('block_size')::pg_catalog.int8
      FROM pg_catalog.pg_class c
        JOIN pg_catalog.pg_namespace n ON n.oid OPERATOR(pg_catalog.=) c.relnamespace
        JOIN pg_catalog.pg_attribute a ON a.attrelid OPERATOR(pg_catalog.=) c.oid
      WHERE c.oid OPERATOR(pg_catalog.=) $1::pg_catalog.oid
        AND a.attnum OPERATOR(pg_catalog.=) $2::pg_catalog.int2
      """, [.text(column.table), .text(column.number)])
    // Dropped meanwhile.
    guard result.rowCount == 1 else { return false }
    let table = try result.requiredText(row: 0, column: 0)
    let name = try result.requiredText(row: 0, column: 1)
    let blocks = try result.integer(row: 0, column: 2)
    let search = TableFunction(
      "wrvq_search", arguments: ["pg_catalog.tid", "pg_catalog.tid"], result: "pg_catalog.bool"
    ) { arguments in
      // concat() calls the type's own output function, where a cast may be anybody's.
      """
      SELECT EXISTS (SELECT FROM ONLY \(table)
        WHERE ctid OPERATOR(pg_catalog.>=) \(arguments[0])
          AND ctid OPERATOR(pg_catalog.<) \(arguments[1])
          AND pg_catalog.strpos(pg_catalog.concat(\(name)), '\(mark)') OPERATOR(pg_catalog.>) 0)
      """
    }
    let reader = try TableReader(of: column.table, named: table, on: connection)
    return try reader.reading([search]) {
      // Rows that a policy hides count: then this is an error.
      try connection.query("SET LOCAL row_security = off")
      // A part at a time, to tell how far it is; the last one to the end, wherever that is by now.
      for first in stride(from: 0, to: max(blocks, 1), by: Self.searchedBlocks) {
        progress(Double(first) / Double(max(blocks, 1)))
        let next = first + Self.searchedBlocks
        let end = next < blocks ? next : Int(UInt32.max)
        let range = [first, end].map { "'(\($0),0)'::pg_catalog.tid" }
        let found = try connection.query("SELECT \(reader.call(search, range))")
        if found.text(row: 0, column: 0) == "t" { return true }
      }
      return false
    }
  }

  /// 64 MiB with blocks of the usual size: a fraction of a second.
  private static let searchedBlocks = 8192
}
