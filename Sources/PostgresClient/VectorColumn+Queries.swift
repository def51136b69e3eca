extension VectorColumn {
  /// Lets `body` measure and sample what the table holds at one moment.
  public func reading<Value>(_ body: () throws -> Value) throws -> Value {
    try reader.reading([countFunction, firstFunction, sampleFunction], body)
  }

  /// The number of vectors.
  var countFunction: TableFunction {
    TableFunction("wrvq_count", result: "pg_catalog.int8") { _ in
      "SELECT pg_catalog.count(*) FROM \(qualifiedTable) WHERE \(quotedColumn) IS NOT NULL"
    }
  }

  /// The first vector.
  var firstFunction: TableFunction {
    TableFunction("wrvq_first", result: "SETOF \(Self.array)") { _ in
      """
      SELECT \(vector) AS vector FROM \(qualifiedTable) WHERE \(quotedColumn) IS NOT NULL LIMIT 1
      """
    }
  }

  /// Names and vectors of a share of the rows at random, of all if that is 1; and with a number for
  /// a seed.
  var sampleFunction: TableFunction {
    let number = "pg_catalog.float8"
    return TableFunction(
      "wrvq_sample", arguments: [number, number],
      result: "TABLE (name pg_catalog.text, vector \(Self.array))"
    ) { arguments in
      let (share, seed) = (arguments[0], arguments[1])
      var source = qualifiedTable
      var condition = "\(quotedColumn) IS NOT NULL"
      switch thinning {
      case _ where share == "1.0":
        break
      case .tableSample:
        source += " TABLESAMPLE pg_catalog.bernoulli (100 OPERATOR(pg_catalog.*) \(share))"
        source += " REPEATABLE (\(seed))"
      case .random:
        condition += " AND pg_catalog.random() OPERATOR(pg_catalog.<) \(share)"
      }
      return """
        SELECT \(rowName) AS name, \(vector) AS vector FROM \(source) WHERE \(condition)
        """
    }
  }

  /// With the owner's rights all is done that may be the owner's code, the conversion of another
  /// type, too; what comes out is PostgreSQL's own.
  private var vector: String {
    reader.isOwner ? "\(quotedColumn)::\(Self.array)" : quotedColumn
  }

  private static let array = "pg_catalog._float4"
}
