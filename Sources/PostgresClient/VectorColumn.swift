/// A column of vectors in a table or a view.
public struct VectorColumn {
  /// How the server is asked for a random part of the rows.
  enum Thinning {
    /// `TABLESAMPLE`, which reads the heap but detoasts only what it takes.
    case tableSample
    /// `random()`, for views and foreign tables.
    case random
  }

  /// What the column holds.
  public struct Extent: Sendable, Equatable {
    /// Rows with a vector.
    public var rowCount: Int
    public var dimensions: Int
  }

  let connection: Connection
  /// The table's name as the user's search path wants it, quoted where needed.
  public let table: String
  /// The column's name, unquoted.
  public let column: String
  /// The names in SQL, under any search path.
  let qualifiedTable: String
  let quotedColumn: String
  private let format: VectorFormat
  let thinning: Thinning
  /// An SQL expression that says which row it is; `NULL` if rows have no name.
  let rowName: String
  let reader: TableReader

  /// Finds the column.
  ///
  /// - Parameters:
  ///   - table: A name as in SQL: possibly schema-qualified, folded to lower
  ///     case unless in double quotes.
  ///   - column: The column's exact name.
  public init(of table: String, named column: String, on connection: Connection) throws {
    self.connection = connection
    self.column = column
    let relation = try Self.findTable(table, on: connection)
    self.table = relation.name
    qualifiedTable = relation.qualifiedName
    switch relation.kind {
    case "r", "m":
      (thinning, rowName) = (.tableSample, "pg_catalog.concat('row ', ctid)")
    case "p":
      thinning = .tableSample
      rowName = "pg_catalog.concat('row ', ctid, ' of ', tableoid::pg_catalog.regclass)"
    case "v", "f":
      (thinning, rowName) = (.random, "NULL")
    default:
      let kind = ["i": "an index", "I": "an index", "S": "a sequence", "c": "a composite type"]
      throw VectorColumnError.notATable(table, kind: kind[relation.kind] ?? "something else")
    }
    let format: VectorFormat
    (quotedColumn, format) = try Self.findColumn(column, of: relation, on: connection)
    reader = try TableReader(of: relation.oid, named: relation.name, on: connection)
    // With the owner's rights the vectors are turned into this type before we see them.
    self.format = reader.isOwner ? .realArray : format
  }

  private struct Relation {
    var oid: String
    var name: String
    var qualifiedName: String
    var kind: String
  }

  private static func findTable(_ table: String, on connection: Connection) throws -> Relation {
    let found: QueryResult
    do {
      found = try connection.queryAsUser(
        """
        SELECT pg_catalog.to_regclass($1)::pg_catalog.oid, \
        pg_catalog.to_regclass($1)::pg_catalog.text
        """, [.text(table)])
    } catch let error as PostgresError where error.sqlState == "42602" {
      // Not even a name.
      throw VectorColumnError.noSuchTable(table)
    }
    guard let oid = found.text(row: 0, column: 0) else {
      throw VectorColumnError.noSuchTable(table)
    }
    let result = try connection.query(
      """
      SELECT pg_catalog.format('%I.%I', n.nspname, c.relname), c.relkind
      FROM pg_catalog.pg_class c
        JOIN pg_catalog.pg_namespace n ON n.oid OPERATOR(pg_catalog.=) c.relnamespace
      WHERE c.oid OPERATOR(pg_catalog.=) $1::pg_catalog.oid
      """, [.text(oid)])
    guard result.rowCount == 1 else { throw VectorColumnError.noSuchTable(table) }
    return try Relation(
      oid: oid, name: found.requiredText(row: 0, column: 1),
      qualifiedName: result.requiredText(row: 0, column: 0),
      kind: result.requiredText(row: 0, column: 1))
  }

  /// The column's quoted name and its format, looking through domains.
  private static func findColumn(
    _ column: String, of relation: Relation, on connection: Connection
  ) throws -> (quotedName: String, format: VectorFormat) {
    let result = try connection.query(
      """
      WITH RECURSIVE base AS (
        SELECT a.attname, a.atttypid AS declared, a.atttypid AS type
        FROM pg_catalog.pg_attribute a
        WHERE a.attrelid OPERATOR(pg_catalog.=) $1::pg_catalog.oid
          AND a.attnum OPERATOR(pg_catalog.>) 0 AND NOT a.attisdropped
        UNION ALL
        SELECT b.attname, b.declared, t.typbasetype
        FROM base b JOIN pg_catalog.pg_type t ON t.oid OPERATOR(pg_catalog.=) b.type
        WHERE t.typtype OPERATOR(pg_catalog.=) 'd')
      SELECT b.attname, pg_catalog.quote_ident(b.attname::pg_catalog.text),
        pg_catalog.format_type(b.declared, NULL),
        CASE WHEN b.type OPERATOR(pg_catalog.=) \(VectorFormat.realArrayType)::pg_catalog.oid
          THEN 'real[]' WHEN e.extname OPERATOR(pg_catalog.=) 'vector'
          THEN t.typname::pg_catalog.text END
      FROM base b JOIN pg_catalog.pg_type t ON t.oid OPERATOR(pg_catalog.=) b.type
        LEFT JOIN pg_catalog.pg_depend d
          ON d.classid OPERATOR(pg_catalog.=) 'pg_catalog.pg_type'::pg_catalog.regclass::pg_catalog.oid
            AND d.objid OPERATOR(pg_catalog.=) t.oid AND d.deptype OPERATOR(pg_catalog.=) 'e'
        LEFT JOIN pg_catalog.pg_extension e ON e.oid OPERATOR(pg_catalog.=) d.refobjid
      WHERE t.typtype OPERATOR(pg_catalog.<>) 'd' ORDER BY b.attname
      """, [.text(relation.oid)])
    var vectorColumns: [String] = []
    for row in 0..<result.rowCount {
      let format = result.text(row: row, column: 3).flatMap(VectorFormat.init)
      let name = try result.requiredText(row: row, column: 0)
      if name == column {
        guard let format else {
          throw VectorColumnError.notAVectorColumn(
            column, table: relation.name, type: try result.requiredText(row: row, column: 2))
        }
        return (try result.requiredText(row: row, column: 1), format)
      }
      if format != nil { vectorColumns.append(name) }
    }
    throw VectorColumnError.noSuchColumn(
      column, table: relation.name, vectorColumns: vectorColumns)
  }

  /// Counts the vectors and their dimensions.
  ///
  /// - Precondition: Within `reading`.
  public func measure() throws -> Extent {
    let count = try connection.query("SELECT \(reader.call(countFunction))")
    let first = try connection.query(
      "SELECT * FROM \(reader.call(firstFunction)) AS first", format: .binary)
    guard first.rowCount == 1 else {
      throw VectorColumnError.noVectors(table: table, column: column)
    }
    var vector: [Float] = []
    try first.withBytes(row: 0, column: 0) { bytes in
      // Its row is named when the sample meets the vector again.
      try decode(bytes!, row: "the first row of \(table)", into: &vector)
    }
    return Extent(rowCount: try count.integer(row: 0, column: 0), dimensions: vector.count)
  }

  /// Reads a random sample, each row with the same probability; all rows if there are no more.
  ///
  /// The same seed gives the same sample of the same rows in the same place.
  /// - Parameters:
  ///   - count: How many vectors, at least 1.
  ///   - extent: What `measure()` returned, within the same `reading`.
  ///   - progress: Called now and then with the number of rows received.
  /// - Returns: `min(count, rows) × dimensions` floats, row-major.
  public func sample(
    _ count: Int, of extent: Extent, seed: UInt64, progress: (Int) -> Void = { _ in }
  ) throws -> [Float] {
    var generator = SplitMix64(state: seed)
    let share = sampleShare(count, of: extent.rowCount)
    if share < 1, thinning == .random {
      // The order of the rows decides which get which random number.
      try connection.query("SET LOCAL max_parallel_workers_per_gather = 0")
      try connection.query("SET LOCAL synchronize_seqscans = off")
      try connection.query(
        "SELECT pg_catalog.setseed($1::pg_catalog.float8)", [.text("\(generator.nextFraction())")])
    }
    var reservoir = Reservoir(capacity: count, seed: generator.next())
    var sample: [Float] = []
    var vector: [Float] = []
    let source = reader.call(sampleFunction, ["\(share)", "\(generator.nextFraction())"])
    try connection.copyOut("COPY (SELECT * FROM \(source) AS sample) TO STDOUT (FORMAT binary)") {
      fields in
      guard fields.count == 2, let value = fields[1] else {
        throw PostgresError.malformedResponse(message: "a row without a vector")
      }
      let number = reservoir.offered + 1
      let name = {
        fields[0].map { "\(String(decoding: $0, as: UTF8.self)) of \(table)" }
          ?? "row \(number) of those read from \(table)"
      }
      try decode(value, row: name(), into: &vector)
      guard vector.count == extent.dimensions else {
        throw VectorColumnError.badVector(
          row: name(), column: column,
          defect: "has \(vector.count) dimensions; expected \(extent.dimensions) as in other rows")
      }
      if let place = reservoir.place() {
        let start = place * extent.dimensions
        if start == sample.count {
          sample.append(contentsOf: vector)
        } else {
          sample.replaceSubrange(start..<start + extent.dimensions, with: vector)
        }
      }
      if number.isMultiple(of: 1024) { progress(number) }
    }
    guard !sample.isEmpty else {
      throw VectorColumnError.noVectors(table: table, column: column)
    }
    return sample
  }

  private func decode(
    _ value: UnsafeRawBufferPointer, row: @autoclosure () -> String, into vector: inout [Float]
  ) throws {
    do {
      try format.decode(value, into: &vector)
    } catch {
      throw VectorColumnError.badVector(row: row(), column: column, defect: error.description)
    }
  }

  /// The share of the rows to ask for: so much more than needed that too few
  /// come less than once in a million times.
  func sampleShare(_ count: Int, of rowCount: Int) -> Double {
    guard count < rowCount else { return 1 }
    let wanted = Double(count)
    return min(1, (wanted + 5 * wanted.squareRoot() + 10) / Double(rowCount))
  }
}

extension VectorFormat.Defect: CustomStringConvertible {
  var description: String {
    switch self {
    case .empty: "is an empty array; expected a vector"
    case .malformed: "came in an unexpected binary form"
    case .multidimensional(let axes): "is an array of \(axes) axes; expected one"
    case .notFinite(let element):
      "has NaN or infinity as element \(element); expected a finite number"
    case .nullElement(let element): "has NULL as element \(element); expected a number"
    case .tooManyDimensions(let count):
      "has \(count) dimensions; expected at most \(VectorFormat.maximumDimensions)"
    }
  }
}
