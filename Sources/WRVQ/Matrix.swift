import CWRVQKernels

/// A square matrix, row-major, with the products that keeping a transform orthogonal takes.
struct Matrix: Sendable, Equatable {
  let size: Int
  var values: [Float]

  init(size: Int, values: [Float]) {
    precondition(values.count == size * size)
    self.size = size
    self.values = values
  }

  init(zero size: Int) {
    self.init(size: size, values: [Float](repeating: 0, count: size * size))
  }

  var transposed: Matrix {
    var result = Matrix(zero: size)
    for i in 0..<size {
      for j in 0..<size { result.values[j * size + i] = values[i * size + j] }
    }
    return result
  }

  /// `self·otherᵀ`.
  func timesTransposed(_ other: Matrix, _ kernels: wrvq_kernels) -> Matrix {
    let width = paddedToPanels(size)
    let packed = packed(other.values, size, size, kernels)
    let products = [Float](unsafeUninitializedCapacity: size * width) { buffer, initialized in
      kernels.inner_products(values, size, size, packed, size, buffer.baseAddress!)
      initialized = size * width
    }
    if width == size { return Matrix(size: size, values: products) }
    return Matrix(
      size: size,
      values: (0..<size).flatMap { products[$0 * width..<$0 * width + size] })
  }

  /// `a·self + b·other`.
  func combined(_ a: Float, _ other: Matrix, _ b: Float) -> Matrix {
    var result = self
    for i in values.indices { result.values[i] = a * values[i] + b * other.values[i] }
    return result
  }

  /// The largest element of the difference from the unit matrix by magnitude.
  var distanceFromUnit: Float {
    var distance: Float = 0
    for i in 0..<size {
      for j in 0..<size {
        distance = max(distance, abs(values[i * size + j] - (i == j ? 1 : 0)))
      }
    }
    return distance
  }

  /// The nearest orthogonal matrix, the factor `U` of the polar decomposition `M = U·S`, by
  /// Newton and Schulz's iteration `X ← 1.5·X − 0.5·XXᵀX`; nil if it does not converge, as for a
  /// singular matrix.
  ///
  /// Each singular value below √3 grows towards one, a small one by a half each time.
  func orthogonalized(_ kernels: wrvq_kernels, iterations: Int = 40) -> Matrix? {
    // Within a factor of the square root of the size of the largest singular value, from above.
    let bound =
      (0..<size).map { i in
        values[i * size..<(i + 1) * size].reduce(0) { $0 + abs($1) }
      }.max() ?? 0
    let columnBound = transposed.values.withUnsafeBufferPointer { v in
      (0..<size).map { i in (0..<size).reduce(Float(0)) { $0 + abs(v[i * size + $1]) } }.max() ?? 0
    }
    let norm = (bound * columnBound).squareRoot()
    guard norm.isFinite, norm > 0 else { return nil }
    // What is nearly orthogonal is left at its size: the iteration then takes few steps.
    var x = self
    let gram = timesTransposed(self, kernels)
    if !(gram.distanceFromUnit < 0.05) { x = combined(1 / norm, self, 0) }
    for _ in 0..<iterations {
      let square = x.timesTransposed(x, kernels)
      let deviation = square.distanceFromUnit
      if deviation < 1e-5 { return x }
      guard deviation.isFinite else { return nil }
      x = x.combined(1.5, square.timesTransposed(x.transposed, kernels), -0.5)
    }
    let rest = x.timesTransposed(x, kernels).distanceFromUnit
    return rest < 1e-3 ? x : nil
  }
}
