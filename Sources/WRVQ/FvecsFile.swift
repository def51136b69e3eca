import Foundation

/// Vectors as in the TEXMEX collections: each is a little-endian 32-bit number of
/// dimensions, the same for all, and as many `float32`.
///
/// - seealso: <http://corpus-texmex.irisa.fr>
public struct FvecsFile: VectorFile {
  public let rowCount: Int
  public let dimensions: Int
  private let source: ByteSource

  private var rowBytes: Int { 4 + 4 * dimensions }

  public init(path: String) throws(FileError) {
    try self.init(ByteSource(path: path))
  }

  public init(_ data: Data) throws(FileError) {
    try self.init(ByteSource(data))
  }

  private init(_ source: ByteSource) throws(FileError) {
    guard source.byteCount >= 4 else {
      throw .foreign(expected: "an .fvecs file", reason: "only \(source.byteCount) bytes")
    }
    let dimensions = Self.integer(try source.read(at: 0, count: 4))
    guard dimensionsRange.contains(dimensions) else {
      throw .foreign(
        expected: "an .fvecs file",
        reason: "\(dimensions) dimensions, where 1 to \(dimensionsRange.upperBound) are possible")
    }
    self.dimensions = dimensions
    self.source = source
    let rowBytes = 4 + 4 * dimensions
    rowCount = source.byteCount / rowBytes
    guard rowCount * rowBytes == source.byteCount else {
      throw .truncated(expectedBytes: (rowCount + 1) * rowBytes, actualBytes: source.byteCount)
    }
  }

  public func vectors(_ rows: Range<Int>) throws(FileError) -> [Float] {
    precondition(rows.lowerBound >= 0 && rows.upperBound <= rowCount)
    let data = try source.read(at: rows.lowerBound * rowBytes, count: rows.count * rowBytes)
    var values: [Float] = []
    values.reserveCapacity(rows.count * dimensions)
    for row in rows {
      let start = data.startIndex + (row - rows.lowerBound) * rowBytes
      let found = Self.integer(data[start..<start + 4])
      guard found == dimensions else {
        throw .malformed(
          reason: "row \(row) has \(found) dimensions; expected \(dimensions) as in row 0")
      }
      values += Halves.floats(littleEndianFloats: data[start + 4..<start + rowBytes])
    }
    try checkFinite(values, firstRow: rows.lowerBound, dimensions: dimensions)
    return values
  }

  private static func integer(_ data: Data) -> Int {
    Int(Int32(bitPattern: data.reversed().reduce(UInt32(0)) { $0 << 8 | UInt32($1) }))
  }
}
