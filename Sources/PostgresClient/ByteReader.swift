/// Reads big-endian integers, PostgreSQL's byte order on the wire; nil past the end.
struct ByteReader {
  private let bytes: UnsafeRawBufferPointer
  private(set) var offset = 0

  init(_ bytes: UnsafeRawBufferPointer) {
    self.bytes = bytes
  }

  var remaining: Int { bytes.count - offset }

  mutating func int16() -> Int16? { integer() }

  mutating func int32() -> Int32? { integer() }

  mutating func uint16() -> UInt16? { integer() }

  /// The next `count` bytes, in place.
  mutating func bytes(_ count: Int) -> UnsafeRawBufferPointer? {
    guard count <= remaining else { return nil }
    defer { offset += count }
    return UnsafeRawBufferPointer(rebasing: bytes[offset..<offset + count])
  }

  private mutating func integer<Integer: FixedWidthInteger>() -> Integer? {
    let size = MemoryLayout<Integer>.size
    guard size <= remaining else { return nil }
    defer { offset += size }
    return Integer(bigEndian: bytes.loadUnaligned(fromByteOffset: offset, as: Integer.self))
  }
}
