/// The column types that hold vectors, and how they look on the wire.
enum VectorFormat: String, CaseIterable {
  /// `real[]`: dimensions, a NULL flag and the element type (four bytes each),
  /// length and lower bound of each dimension, then every element with its length.
  case realArray = "real[]"
  /// pgvector's `vector`: the number of dimensions and an unused number (two bytes
  /// each), then floats.
  case vector
  /// pgvector's `halfvec`: likewise, with halves.
  case halfvec

  /// The type `real[]`; built-in types keep their number in all versions.
  static let realArrayType = 1021

  /// Why a value is not a vector that can be used.
  enum Defect: Error, Equatable {
    case empty
    case malformed
    case multidimensional(Int)
    case notFinite(element: Int)
    case nullElement(Int)
    case tooManyDimensions(Int)
  }

  /// More dimensions than any index takes, and far fewer than a lying length could claim.
  static let maximumDimensions = 16_000

  /// Replaces what `vector` holds by the elements of a value in binary.
  ///
  /// Elements are numbered from 1 in errors, as in SQL.
  func decode(_ value: UnsafeRawBufferPointer, into vector: inout [Float]) throws(Defect) {
    vector.removeAll(keepingCapacity: true)
    var reader = ByteReader(value)
    switch self {
    case .realArray: try Self.decodeArray(&reader, into: &vector)
    case .vector: try Self.decodeVector(&reader, into: &vector) { $0.int32().map(Self.float) }
    case .halfvec: try Self.decodeVector(&reader, into: &vector) { $0.uint16().map(Self.float) }
    }
    guard reader.remaining == 0 else { throw .malformed }
    if let index = vector.firstIndex(where: { !$0.isFinite }) {
      throw .notFinite(element: index + 1)
    }
  }

  private static func decodeArray(
    _ reader: inout ByteReader, into vector: inout [Float]
  ) throws(Defect) {
    guard let axes = reader.int32(), reader.int32() != nil, let elementType = reader.int32(),
      elementType == realType
    else { throw .malformed }
    guard axes != 0 else { throw .empty }
    guard axes == 1 else { throw .multidimensional(Int(axes)) }
    guard let count = reader.int32(), reader.int32() != nil, count > 0 else { throw .malformed }
    guard count <= maximumDimensions else { throw .tooManyDimensions(Int(count)) }
    vector.reserveCapacity(Int(count))
    for element in 1...Int(count) {
      guard let length = reader.int32() else { throw .malformed }
      guard length != -1 else { throw .nullElement(element) }
      guard length == 4, let bits = reader.int32() else { throw .malformed }
      vector.append(float(bits))
    }
  }

  private static func decodeVector(
    _ reader: inout ByteReader, into vector: inout [Float],
    element: (inout ByteReader) -> Float?
  ) throws(Defect) {
    guard let count = reader.int16(), reader.int16() != nil, count >= 0 else { throw .malformed }
    guard count > 0 else { throw .empty }
    guard count <= maximumDimensions else { throw .tooManyDimensions(Int(count)) }
    vector.reserveCapacity(Int(count))
    for _ in 0..<count {
      guard let value = element(&reader) else { throw .malformed }
      vector.append(value)
    }
  }

  private static func float(_ bits: Int32) -> Float {
    Float(bitPattern: UInt32(bitPattern: bits))
  }

  private static func float(_ bits: UInt16) -> Float {
    Float(Float16(bitPattern: bits))
  }

  /// The type `real`; built-in types keep their number in all versions.
  private static let realType: Int32 = 700
}
