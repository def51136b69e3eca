import Foundation

/// A two-dimensional numpy array of `float16` or `float32` in C order, as `numpy.save` writes it.
///
/// - seealso: <https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html>
public struct NpyFile: VectorFile {
  public let rowCount: Int
  public let dimensions: Int
  private let elementBytes: Int
  private let dataOffset: Int
  private let source: ByteSource

  public init(path: String) throws(FileError) {
    try self.init(ByteSource(path: path))
  }

  public init(_ data: Data) throws(FileError) {
    try self.init(ByteSource(data))
  }

  private init(_ source: ByteSource) throws(FileError) {
    let (header, end) = try Self.header(of: source)
    switch header.elementType {
    case "<f2": elementBytes = 2
    case "<f4": elementBytes = 4
    default:
      throw .malformed(
        reason: "elements of type \"\(header.elementType)\"; expected \"<f2\" or \"<f4\"")
    }
    guard !header.isFortranOrder else {
      throw .malformed(reason: "Fortran order; expected C order (numpy.ascontiguousarray)")
    }
    guard header.shape.count == 2 else {
      throw .malformed(reason: "\(header.shape.count) axes; expected 2: rows and dimensions")
    }
    (rowCount, dimensions) = (header.shape[0], header.shape[1])
    guard dimensionsRange.contains(dimensions) else {
      throw .malformed(
        reason: "\(dimensions) dimensions; expected 1 to \(dimensionsRange.upperBound)")
    }
    let (bytes, overflow) = rowCount.multipliedReportingOverflow(by: dimensions * elementBytes)
    let available = source.byteCount - end
    guard !overflow, bytes <= available else {
      throw .truncated(
        expectedBytes: overflow || bytes > .max - end ? .max : end + bytes,
        actualBytes: source.byteCount)
    }
    guard bytes == available else {
      throw .malformed(reason: "\(available - bytes) bytes after the array")
    }
    dataOffset = end
    self.source = source
  }

  public func vectors(_ rows: Range<Int>) throws(FileError) -> [Float] {
    precondition(rows.lowerBound >= 0 && rows.upperBound <= rowCount)
    let rowBytes = dimensions * elementBytes
    let data = try source.read(
      at: dataOffset + rows.lowerBound * rowBytes, count: rows.count * rowBytes)
    let values =
      elementBytes == 2
      ? Halves.floats(littleEndianHalves: data) : Halves.floats(littleEndianFloats: data)
    try checkFinite(values, firstRow: rows.lowerBound, dimensions: dimensions)
    return values
  }
}

// MARK: - The header

extension NpyFile {
  private struct Header {
    var elementType: String
    var isFortranOrder: Bool
    var shape: [Int]
  }

  private static let magic = [0x93] + Array("NUMPY".utf8)

  /// Far more than `numpy.save` writes for a plain array.
  private static let maximumHeaderBytes = 65_536

  private static func header(of source: ByteSource) throws(FileError) -> (Header, end: Int) {
    guard source.byteCount >= 10, try source.read(at: 0, count: 6).elementsEqual(magic) else {
      throw foreign("it does not begin as one")
    }
    // Version 1 has two bytes of length, later ones four.
    let version = try source.read(at: 6, count: 1).first!
    guard (1...3).contains(version) else { throw foreign("format version \(version)") }
    let lengthBytes = try source.read(at: 8, count: version == 1 ? 2 : 4)
    let length = lengthBytes.reversed().reduce(0) { $0 << 8 | Int($1) }
    guard length <= maximumHeaderBytes else { throw foreign("a header of \(length) bytes") }
    let start = 8 + lengthBytes.count
    let text = String(decoding: try source.read(at: start, count: length), as: UTF8.self)
    return (try parse(text), start + length)
  }

  /// Reads the Python literal `{'descr': '<f4', 'fortran_order': False, 'shape': (3, 4), }`.
  private static func parse(_ text: String) throws(FileError) -> Header {
    guard let elementType = text.firstMatch(of: /'descr':\s*'([^']*)'/)?.1,
      let order = text.firstMatch(of: /'fortran_order':\s*(True|False)/)?.1,
      let shapeText = text.firstMatch(of: /'shape':\s*\(([0-9, ]*)\)/)?.1
    else { throw foreign("its header is not that of a plain array") }
    var shape: [Int] = []
    for extentText in shapeText.split(whereSeparator: { $0 == "," || $0 == " " }) {
      guard let extent = Int(extentText) else { throw foreign("an axis of \(extentText)") }
      shape.append(extent)
    }
    return Header(elementType: String(elementType), isFortranOrder: order == "True", shape: shape)
  }

  private static func foreign(_ reason: String) -> FileError {
    .foreign(expected: "a .npy file", reason: reason)
  }
}
