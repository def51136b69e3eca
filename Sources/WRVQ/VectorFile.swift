import Foundation

/// A file of vectors, all of the same dimensions, any of which can be read.
public protocol VectorFile {
  var rowCount: Int { get }
  var dimensions: Int { get }

  /// Vectors, row-major and finite.
  ///
  /// - Parameter rows: Within `0..<rowCount`.
  func vectors(_ rows: Range<Int>) throws(FileError) -> [Float]
}

/// Opens a file of vectors, by the end of its name: `.npy` or `.fvecs`.
public func openVectorFile(path: String) throws(FileError) -> any VectorFile {
  switch path.split(separator: ".").last?.lowercased() {
  case "npy": try NpyFile(path: path)
  case "fvecs": try FvecsFile(path: path)
  default: throw .unreadable(reason: "expected a name that ends in .npy or .fvecs")
  }
}

/// The dimensions a vector can have.
let dimensionsRange = 1...16_000

/// Throws if one of the values, of rows that begin with number `firstRow`, is not finite.
func checkFinite(_ values: [Float], firstRow: Int, dimensions: Int) throws(FileError) {
  if let index = firstNotFinite(values) {
    throw .notFinite(row: firstRow + index / dimensions, element: index % dimensions)
  }
}

/// Where the first value is that is not finite.
func firstNotFinite(_ values: [Float]) -> Int? {
  let index = values.withUnsafeBufferPointer { values in
    values.isEmpty ? -1 : Kernels.best.table.first_not_finite(values.baseAddress!, values.count)
  }
  return index < 0 ? nil : index
}
