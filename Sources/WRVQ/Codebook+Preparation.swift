extension Codebook {
  /// Brings a vector to the codebook's space: scaled, and normalised under cosine, where a vector
  /// of length zero stays as it is.
  ///
  /// - Parameters:
  ///   - x: `[dimensions]`.
  ///   - out: `[dimensions]`.
  func prepare(_ x: UnsafePointer<Float>, _ out: UnsafeMutablePointer<Float>) {
    if metric != .cosine {
      for i in 0..<dimensions { out[i] = x[i] * scale }
      return
    }
    // Double precision, so that no length under- or overflows.
    var square = 0.0
    for i in 0..<dimensions { square += Double(x[i]) * Double(x[i]) }
    let factor = square > 0 ? 1 / square.squareRoot() : 0
    for i in 0..<dimensions { out[i] = Float(Double(x[i]) * factor) }
  }

  /// Throws unless `rows` is a whole number of finite vectors.
  func checkVectors(_ rows: [Float]) throws(EncodingError) {
    guard rows.count.isMultiple(of: dimensions) else {
      throw .rowSize(values: rows.count, dimensions: dimensions)
    }
    if let bad = firstNotFinite(rows) {
      throw .notFinite(row: bad / dimensions, dimension: bad % dimensions)
    }
  }
}
