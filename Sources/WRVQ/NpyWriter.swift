import Foundation

/// Writes a .npy file of `float32` in C order, some rows at a time; whole or not at all.
public final class NpyWriter {
  private let file: OutputFile
  private let dimensions: Int
  private var missingRows: Int

  public init(path: String, rowCount: Int, dimensions: Int) throws(FileError) {
    file = try OutputFile(path: path)
    self.dimensions = dimensions
    missingRows = rowCount
    try file.append(Self.header(rowCount: rowCount, dimensions: dimensions))
  }

  /// Adds rows: a multiple of `dimensions` values.
  public func append(_ rows: [Float]) throws(FileError) {
    missingRows -= rows.count / dimensions
    precondition(rows.count.isMultiple(of: dimensions) && missingRows >= 0)
    try file.append(Halves.littleEndian(floats: rows))
  }

  /// Ends the file and gives it its name; all rows must have been added.
  public func finish() throws(FileError) {
    precondition(missingRows == 0)
    try file.finish()
  }

  /// Version 1 of the format; the array begins at a multiple of 64 bytes.
  static func header(rowCount: Int, dimensions: Int) -> Data {
    var text =
      "{'descr': '<f4', 'fortran_order': False, 'shape': (\(rowCount), \(dimensions)), }"
    text += String(repeating: " ", count: 63 - (10 + text.utf8.count) % 64) + "\n"
    let length = UInt16(text.utf8.count)
    return Data([0x93] + Array("NUMPY".utf8) + [1, 0, UInt8(length & 0xff), UInt8(length >> 8)])
      + Data(text.utf8)
  }
}
