import PostgresClient
import WRVQ

/// Vectors to train on, drawn from a table or a file.
struct TrainingSample {
  /// What the user asked for.
  struct Request {
    /// nil: by the number of rows.
    var levels: [LevelSpecification]?
    /// nil: by the levels.
    var count: Int?
    /// So many more vectors, whatever the count.
    var extra = 0
    var seed: UInt64
  }

  /// `count × dimensions`, row-major.
  var values: [Float]
  var dimensions: Int
  var levels: [LevelSpecification]
  /// What they were drawn from, to tell the user later.
  var source: String

  var count: Int { values.count / dimensions }

  /// Draws from a column of a table or a view.
  init(
    ofTable table: String, column: String, on connection: Connection, _ request: Request,
    progress: ProgressReporter?
  ) throws {
    let vectors = try VectorColumn(of: table, named: column, on: connection)
    source = "table \(vectors.table), column \(column)"
    (values, dimensions, levels) = try vectors.reading {
      progress?.report("counting the rows of \(vectors.table)")
      let extent = try vectors.measure()
      let levels = try request.levels(rows: extent.rowCount, dimensions: extent.dimensions)
      let count = request.count(of: levels, dimensions: extent.dimensions)
      let expected = min(count, extent.rowCount)
      let stage = "reading \(expected) of \(extent.rowCount) vectors"
      progress?.report(stage, 0)
      let values = try vectors.sample(count, of: extent, seed: request.seed) { received in
        progress?.report(stage, Double(received) / Double(expected))
      }
      return (values, extent.dimensions, levels)
    }
  }

  /// Draws from a file.
  init(ofFile path: String, _ request: Request, progress: ProgressReporter?) throws {
    let file = try openVectorFile(path: path)
    guard file.rowCount > 0 else { throw FileError.malformed(reason: "it has no vectors") }
    source = "file \(path.split(separator: "/").last ?? "")"
    dimensions = file.dimensions
    levels = try request.levels(rows: file.rowCount, dimensions: dimensions)
    var reservoir = Reservoir(
      capacity: request.count(of: levels, dimensions: dimensions), seed: request.seed)
    var rows: [Int] = []
    for row in 0..<file.rowCount {
      guard let place = reservoir.place() else { continue }
      if place == rows.count { rows.append(row) } else { rows[place] = row }
    }
    // In the file's order, neighbours together.
    rows.sort()
    values = []
    values.reserveCapacity(rows.count * dimensions)
    let stage = "reading \(rows.count) of \(file.rowCount) vectors"
    var next = 0
    while next < rows.count {
      progress?.report(stage, Double(next) / Double(rows.count))
      var end = next + 1
      while end < rows.count, rows[end] == rows[end - 1] + 1, end - next < 1024 { end += 1 }
      values += try file.vectors(rows[next]..<rows[end - 1] + 1)
      next = end
    }
  }
}

extension TrainingSample.Request {
  /// - Throws: `TrainingError`, if vectors cannot have the levels asked for.
  func levels(rows: Int, dimensions: Int) throws -> [LevelSpecification] {
    if let levels {
      try LevelSpecification.check(levels, dimensions: dimensions)
      return levels
    }
    var levels = LevelSpecification.defaultLevels(rows: rows, dimensions: dimensions)
    // Of the longest vectors in the largest tables, fewer rows fit the sample than there would be
    // lists.
    let lists = min(levels[0].codewordCount, Self.mostRows(dimensions: dimensions))
    levels[0] = LevelSpecification(.flat(lists))
    return levels
  }

  /// 50 vectors for each list, enough for k-means; more of them cost time and gain little.
  func count(of levels: [LevelSpecification], dimensions: Int) -> Int {
    if let count { return count + extra }
    var lists = 1
    if case .flat(let count) = levels.first?.kind { lists = count }
    let wanted = min(max(50 * lists, 10_000), max(200_000, LevelSpecification.fewRows * lists))
    return min(wanted, Self.mostRows(dimensions: dimensions)) + extra
  }

  /// Rows that fit 1 GiB.
  private static func mostRows(dimensions: Int) -> Int {
    (1 << 30) / (4 * dimensions)
  }
}
