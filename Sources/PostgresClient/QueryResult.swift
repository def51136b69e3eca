import CLibPQ

/// The rows of a query, in the format asked for.
public final class QueryResult {
  private let handle: OpaquePointer

  /// Takes over `handle`, a `PGresult`.
  init(owning handle: OpaquePointer) {
    self.handle = handle
  }

  deinit {
    PQclear(handle)
  }

  public var rowCount: Int { Int(PQntuples(handle)) }

  /// The bytes of a value, nil for NULL.
  ///
  /// Text columns are UTF-8 in either format; `bytea` is itself in the binary one.
  public func bytes(row: Int, column: Int) -> [UInt8]? {
    withBytes(row: row, column: column) { $0.map(Array.init) }
  }

  /// A value as text, nil for NULL.
  public func text(row: Int, column: Int) -> String? {
    withBytes(row: row, column: column) { $0.map { String(decoding: $0, as: UTF8.self) } }
  }

  /// A value that the query never leaves NULL.
  public func requiredText(row: Int, column: Int) throws -> String {
    guard let text = text(row: row, column: column) else {
      throw PostgresError.malformedResponse(message: "NULL in column \(column + 1)")
    }
    return text
  }

  /// An integer given as text.
  public func integer(row: Int, column: Int) throws -> Int {
    let text = try requiredText(row: row, column: column)
    guard let integer = Int(text) else {
      throw PostgresError.malformedResponse(message: "\"\(text)\" is not an integer")
    }
    return integer
  }

  /// A value in place; the bytes are valid during the call only.
  func withBytes<Value>(
    row: Int, column: Int, _ body: (UnsafeRawBufferPointer?) throws -> Value
  ) rethrows -> Value {
    precondition((0..<rowCount).contains(row) && (0..<Int(PQnfields(handle))).contains(column))
    let (row, column) = (Int32(row), Int32(column))
    if PQgetisnull(handle, row, column) != 0 { return try body(nil) }
    let length = Int(PQgetlength(handle, row, column))
    return try body(UnsafeRawBufferPointer(start: PQgetvalue(handle, row, column), count: length))
  }
}
