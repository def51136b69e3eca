/// Reads a table with its owner's rights, where our user's are greater.
///
/// Reading a table runs code of its owner: views' functions, row-level security, and, while the
/// query is planned, even predicates of indexes.  It would run with the rights of our user; so a
/// superuser reads another's table through functions that run with the owner's.
///
/// That these functions are the owner's keeps their code from taking our rights back by `SET ROLE`;
/// that the transaction is read-only and always undone, from leaving something behind that would
/// run later with our rights (deferred triggers, cursors that outlive the transaction).
public struct TableReader {
  private let connection: Connection
  /// The owner, quoted, if our user is a superuser and the owner is none.
  private let owner: String?
  /// To name the table in errors.
  private let table: String

  /// - Parameters:
  ///   - oid: The table's number.
  ///   - table: Its name, for errors.
  public init(of oid: String, named table: String, on connection: Connection) throws {
    self.connection = connection
    self.table = table
    let result = try connection.query(
      """
      SELECT pg_catalog.quote_ident(o.rolname::pg_catalog.text)
      FROM pg_catalog.pg_class c
        JOIN pg_catalog.pg_roles o ON o.oid OPERATOR(pg_catalog.=) c.relowner AND NOT o.rolsuper
        JOIN pg_catalog.pg_roles u ON u.rolname OPERATOR(pg_catalog.=) current_user AND u.rolsuper
      WHERE c.oid OPERATOR(pg_catalog.=) $1::pg_catalog.oid
      """, [.text(oid)])
    owner = result.rowCount == 1 ? try result.requiredText(row: 0, column: 0) : nil
  }

  /// Whether the queries run with the owner's rights.
  var isOwner: Bool { owner != nil }

  /// Lets `body` query the table as it is at one moment, through `call` only.
  public func reading<Value>(
    _ functions: [TableFunction], _ body: () throws -> Value
  ) throws -> Value {
    guard let owner else {
      return try connection.transaction("ISOLATION LEVEL REPEATABLE READ READ ONLY", body)
    }
    return try connection.transaction("ISOLATION LEVEL REPEATABLE READ READ WRITE", undone: true) {
      do {
        // Their text is read when they run, with the owner's rights, not now.
        try connection.query("SET LOCAL check_function_bodies = off")
        for function in functions { try create(function, owner: owner) }
      } catch let error as PostgresError where error.sqlState == Self.readOnly {
        throw VectorColumnError.ownerCannotRead(table: table, owner: owner)
      }
      // No way back from here: a query comes next.
      try connection.query("SET TRANSACTION READ ONLY")
      return try body()
    }
  }

  private static let readOnly = "25006"

  private func create(_ function: TableFunction, owner: String) throws {
    let signature = "pg_temp.\(function.name)(\(function.arguments.joined(separator: ", ")))"
    let parameters = function.arguments.indices.map { "$\($0 + 1)" }
    try connection.query(
      """
      CREATE FUNCTION \(signature) RETURNS \(function.result) LANGUAGE sql SECURITY DEFINER
      SET search_path = pg_catalog, pg_temp AS \(literal(function.query(parameters)))
      """)
    try connection.query("ALTER FUNCTION \(signature) OWNER TO \(owner)")
  }

  /// A function with these arguments, in SQL, where a value or, of one that returns rows, a table
  /// may stand.
  public func call(_ function: TableFunction, _ arguments: [String] = []) -> String {
    guard owner == nil else {
      return "pg_temp.\(function.name)(\(arguments.joined(separator: ", ")))"
    }
    return "(\(function.query(arguments)))"
  }
}

/// A query of a table that can be a function.
public struct TableFunction {
  let name: String
  let arguments: [String]
  let result: String
  let query: ([String]) -> String

  /// - Parameters:
  ///   - arguments: Their types.
  ///   - result: Its type, `SETOF` it or `TABLE (…)`.
  ///   - query: Makes the query, given expressions for the arguments.
  public init(
    _ name: String, arguments: [String] = [], result: String, query: @escaping ([String]) -> String
  ) {
    self.name = name
    self.arguments = arguments
    self.result = result
    self.query = query
  }
}

/// A text as a literal in SQL, whatever `standard_conforming_strings` says.
func literal(_ text: String) -> String {
  let quoted = text.flatMap { $0 == "'" || $0 == "\\" ? [$0, $0] : [$0] }
  return "E'\(String(quoted))'"
}
