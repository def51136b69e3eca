import CLibPQ

/// A connection to a PostgreSQL server; one thread at a time.
public final class Connection {
  /// A parameter of a query.
  public enum Parameter {
    /// Sent as a `text`, whatever the search path, for the statement to cast.
    case text(String?)
    /// Sent as a `bytea` in binary.
    case bytes([UInt8]?)
  }

  /// How values come back.
  public enum Format: Int32 {
    case text = 0
    case binary = 1
  }

  private let handle: OpaquePointer
  private var isCommitting = false

  /// The schemas in which the user's settings let names be looked up.
  private var userSearchPath = ""

  /// Connects, and waits until that succeeded or failed.
  ///
  /// From then on names are looked up in `pg_catalog` only: anybody may put functions, operators and
  /// types into other schemas, which would run with our user's rights where they fit better.
  public init(_ parameters: ConnectionParameters) throws {
    let pairs = parameters.keywordsAndValues
    let handle = withCStrings(pairs.map(\.keyword)) { keywords in
      withCStrings(pairs.map(\.value)) { values in
        PQconnectdbParams(keywords, values, 1)
      }
    }
    guard let handle else {
      throw PostgresError.connectionFailed(message: "out of memory")
    }
    self.handle = handle
    guard PQstatus(handle) == CONNECTION_OK else {
      throw PostgresError.connectionFailed(message: lastMessage)
    }
    // The owner of a database may have set any path: this resolves under all of them.
    userSearchPath = try query("SELECT pg_catalog.current_setting('search_path')")
      .requiredText(row: 0, column: 0)
    // Not named, the schema of temporary objects would come first.
    try query("SELECT pg_catalog.set_config('search_path', 'pg_catalog, pg_temp', false)")
  }

  deinit {
    PQfinish(handle)
  }

  /// The number of the server process that serves this connection.
  public var serverProcess: Int { Int(PQbackendPID(handle)) }

  /// Runs one statement and returns its rows.
  ///
  /// Values never become part of the SQL text: it refers to them as `$1`, `$2`, …
  @discardableResult
  public func query(
    _ sql: String, _ parameters: [Parameter] = [], format: Format = .text
  ) throws -> QueryResult {
    var lengths: [Int32] = []
    var types: [Oid] = []
    var formats: [Int32] = []
    var values: [[UInt8]?] = []
    for parameter in parameters {
      switch parameter {
      case .text(let text):
        // Text parameters are read up to a zero byte.
        guard text?.utf8.contains(0) != true else {
          throw PostgresError.malformedResponse(message: "a zero byte in a text parameter")
        }
        values.append(text.map { Array($0.utf8) + [0] })
        types.append(textType)
        formats.append(0)
      case .bytes(let bytes):
        values.append(bytes)
        types.append(byteaType)
        formats.append(1)
      }
      lengths.append(Int32(clamping: values[values.count - 1]?.count ?? 0))
    }
    let result = withPointers(values) { pointers in
      PQexecParams(
        handle, sql, Int32(parameters.count), types, pointers, lengths, formats, format.rawValue)
    }
    return QueryResult(owning: try check(result, PGRES_TUPLES_OK, PGRES_COMMAND_OK))
  }

  /// Runs one statement that looks for a name of the user's, under the user's search path.
  ///
  /// All other names in it have to say their schema, types and operators, too.
  func queryAsUser(_ sql: String, _ parameters: [Parameter]) throws -> QueryResult {
    try transaction {
      try query("SELECT pg_catalog.set_config('search_path', $1, true)", [.text(userSearchPath)])
      return try query(sql, parameters)
    }
  }

  /// Runs `body` between `BEGIN` and `COMMIT`, or `ROLLBACK`; always `ROLLBACK` if it throws.
  ///
  /// - Parameters:
  ///   - characteristics: For example `ISOLATION LEVEL REPEATABLE READ READ ONLY`.
  ///   - undone: Whether nothing of it is to last.
  public func transaction<Value>(
    _ characteristics: String = "", undone: Bool = false, _ body: () throws -> Value
  ) throws -> Value {
    try query("BEGIN \(characteristics)")
    let value: Value
    do {
      value = try body()
    } catch {
      // On a broken connection this fails too; the first error is the one to tell.
      _ = try? query("ROLLBACK")
      throw error
    }
    if undone {
      try query("ROLLBACK")
      return value
    }
    isCommitting = true
    defer { isCommitting = false }
    try query("COMMIT")
    return value
  }

  /// Streams `COPY … TO STDOUT (FORMAT binary)`, a row at a time.
  ///
  /// - Parameters:
  ///   - sql: The whole `COPY` statement.
  ///   - row: Called with the fields of each row, nil for NULL; they are valid
  ///     during the call only.  If it throws, the statement is cancelled.
  public func copyOut(
    _ sql: String, row: ([UnsafeRawBufferPointer?]) throws -> Void
  ) throws {
    PQclear(try check(PQexec(handle, sql), PGRES_COPY_OUT))
    var decoder = BinaryCopyDecoder()
    do {
      while let chunk = try nextCopyChunk() {
        defer { PQfreemem(chunk.baseAddress) }
        try decoder.decode(UnsafeRawBufferPointer(chunk), row: row)
      }
    } catch {
      abandonCopy()
      throw error
    }
    // The rows have ended: because all were sent, or because the statement failed.
    while let result = PQgetResult(handle) {
      do {
        PQclear(try check(result, PGRES_COMMAND_OK))
      } catch {
        while let rest = PQgetResult(handle) { PQclear(rest) }
        throw error
      }
    }
    try decoder.finish()
  }

  /// What the server sent next, nil at the end; to be freed by `PQfreemem`.
  private func nextCopyChunk() throws -> UnsafeMutableRawBufferPointer? {
    var buffer: UnsafeMutablePointer<CChar>?
    let length = PQgetCopyData(handle, &buffer, 0)
    switch length {
    case 0...: return UnsafeMutableRawBufferPointer(start: buffer, count: Int(length))
    case -1: return nil
    default: throw currentError(nil)
    }
  }

  /// Cancels a `COPY` in progress and discards what is still under way.
  private func abandonCopy() {
    guard PQstatus(handle) == CONNECTION_OK else { return }
    if let cancel = PQgetCancel(handle) {
      var message = [CChar](repeating: 0, count: 256)
      _ = PQcancel(cancel, &message, Int32(message.count))
      PQfreeCancel(cancel)
    }
    var buffer: UnsafeMutablePointer<CChar>?
    while PQgetCopyData(handle, &buffer, 0) > 0 { PQfreemem(buffer) }
    while let result = PQgetResult(handle) { PQclear(result) }
  }

  /// The result if its status is among those expected, else the error.
  private func check(_ result: OpaquePointer?, _ expected: ExecStatusType...) throws
    -> OpaquePointer
  {
    if let result, expected.contains(PQresultStatus(result)) { return result }
    defer { PQclear(result) }
    throw currentError(result)
  }

  private func currentError(_ result: OpaquePointer?) -> PostgresError {
    let field = { (read: (OpaquePointer?) -> UnsafePointer<CChar>?) in
      result.flatMap { read($0) }.map { String(cString: $0) }
    }
    // After FATAL the server hangs up, even if libpq has not noticed yet.
    let severity = field(wrvq_pq_severity)
    if PQstatus(handle) != CONNECTION_OK || severity == "FATAL" || severity == "PANIC" {
      let message = field(wrvq_pq_message) ?? lastMessage
      return .connectionLost(message: message, duringCommit: isCommitting)
    }
    guard let sqlState = field(wrvq_pq_sqlstate), let message = field(wrvq_pq_message) else {
      return .malformedResponse(message: lastMessage)
    }
    return .server(
      ServerError(
        sqlState: sqlState, message: message, detail: field(wrvq_pq_detail),
        hint: field(wrvq_pq_hint)))
  }

  /// libpq's last message, on one line.
  private var lastMessage: String {
    oneLine(String(cString: PQerrorMessage(handle)))
  }
}

/// The type `bytea`; built-in types keep their number in all versions.
private let byteaType: Oid = 17
/// The type `text`.
private let textType: Oid = 25

/// libpq's messages run over several lines, explanations indented; the first says it.
///
/// When a server goes away, what it said last comes first, as `FATAL:  …`.
func oneLine(_ message: String) -> String {
  var line = message.split(whereSeparator: \.isNewline).first.map(String.init) ?? "unknown error"
  for severity in ["FATAL:  ", "ERROR:  ", "PANIC:  "] where line.hasPrefix(severity) {
    line.removeFirst(severity.count)
  }
  return line
}

/// Calls `body` with a null-terminated array of C strings.
private func withCStrings<Value>(
  _ strings: [String], _ body: (UnsafePointer<UnsafePointer<CChar>?>) -> Value
) -> Value {
  withPointers(strings.map { Array($0.utf8) + [0] } + [nil], body)
}

/// Calls `body` with pointers to the bytes of each value, null for nil.
private func withPointers<Value>(
  _ values: [[UInt8]?], _ body: (UnsafePointer<UnsafePointer<CChar>?>) -> Value
) -> Value {
  let copies = values.map { bytes in
    bytes.map { bytes in
      // At least one byte, so that an empty value is not taken for NULL.
      let copy = UnsafeMutableRawBufferPointer.allocate(
        byteCount: max(bytes.count, 1), alignment: 1)
      copy.copyBytes(from: bytes)
      return copy
    }
  }
  defer { for copy in copies { copy?.deallocate() } }
  let pointers = copies.map {
    $0.map { UnsafePointer($0.assumingMemoryBound(to: CChar.self).baseAddress!) }
  }
  return pointers.withUnsafeBufferPointer { body($0.baseAddress!) }
}
