/// Decodes the stream of `COPY … (FORMAT binary)`, however it was cut into messages.
///
/// The stream is a signature of eleven bytes, flags and an extension length
/// (four bytes each), then for each row the number of fields (two bytes) and for
/// each field its length (four; -1 for NULL) and its bytes; a row of -1 fields ends it.
/// - seealso: PostgreSQL's documentation of COPY, "Binary Format".
struct BinaryCopyDecoder {
  private static let signature: [UInt8] = Array("PGCOPY\n".utf8) + [0xff, 0x0d, 0x0a, 0x00]

  private enum State {
    case header
    case rows
    case ended
  }

  private var state = State.header
  /// What arrived and is not decoded yet: less than one row.
  private var pending: [UInt8] = []

  /// Decodes the rows that `chunk` completes.
  mutating func decode(
    _ chunk: UnsafeRawBufferPointer, row: ([UnsafeRawBufferPointer?]) throws -> Void
  ) throws {
    // As a rule a message holds whole rows, so nothing is copied.
    if pending.isEmpty {
      let consumed = try decodeWhole(chunk, row: row)
      pending.append(contentsOf: chunk[consumed...])
    } else {
      pending.append(contentsOf: chunk)
      let bytes = pending
      let consumed = try bytes.withUnsafeBytes { try decodeWhole($0, row: row) }
      pending.removeFirst(consumed)
    }
  }

  /// Throws if the stream stopped short.
  func finish() throws {
    guard case .ended = state else { throw malformed("the rows stop short") }
  }

  /// Decodes what is complete, and returns how many bytes that were.
  private mutating func decodeWhole(
    _ bytes: UnsafeRawBufferPointer, row: ([UnsafeRawBufferPointer?]) throws -> Void
  ) throws -> Int {
    var reader = ByteReader(bytes)
    while true {
      let start = reader.offset
      switch state {
      case .header:
        guard try header(&reader) else { return start }
        state = .rows
      case .rows:
        guard let count = reader.int16() else { return start }
        if count == -1 {
          state = .ended
          continue
        }
        guard count >= 0 else { throw malformed("a row of \(count) fields") }
        guard let fields = try fields(Int(count), &reader) else { return start }
        try row(fields)
      case .ended:
        guard reader.remaining == 0 else { throw malformed("bytes after the end of the rows") }
        return start
      }
    }
  }

  /// Whether the header is complete; it is skipped if so.
  private func header(_ reader: inout ByteReader) throws -> Bool {
    guard let signature = reader.bytes(Self.signature.count) else { return false }
    guard signature.elementsEqual(Self.signature) else {
      throw malformed("not PostgreSQL's binary COPY format")
    }
    guard let flags = reader.int32(), let extensionBytes = reader.int32() else { return false }
    // The upper half of the flags are those that a reader must know.
    guard UInt32(bitPattern: flags) >> 16 == 0, extensionBytes >= 0 else {
      throw malformed("an unknown variant of the binary COPY format")
    }
    return reader.bytes(Int(extensionBytes)) != nil
  }

  private func fields(
    _ count: Int, _ reader: inout ByteReader
  ) throws -> [UnsafeRawBufferPointer?]? {
    var fields: [UnsafeRawBufferPointer?] = []
    for _ in 0..<count {
      guard let length = reader.int32() else { return nil }
      guard length >= -1 else { throw malformed("a field of \(length) bytes") }
      if length == -1 {
        fields.append(nil)
      } else if let field = reader.bytes(Int(length)) {
        fields.append(field)
      } else {
        return nil
      }
    }
    return fields
  }

  private func malformed(_ message: String) -> PostgresError {
    .malformedResponse(message: message)
  }
}
