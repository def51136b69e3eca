import CWRVQKernels

/// What the rows of a batch say of one level, with codes and weights given: sums over the rows of
/// each codeword, from which both a gradient step and a linear refit follow.
///
/// With r what the whole chain leaves of a row, the loss's gradient is `−2w·T·r` for the row's
/// codeword and `−2w·c·rᵀ` for the transform.
struct LevelSums: Sendable {
  /// Like the level's codewords: `Σ w·T·r`.
  private(set) var products: [Float]
  /// One for each codeword: `Σ w²`.
  private(set) var squares: [Float]
  /// `Σ w·c·rᵀ`, block by block, if the level has a transform; of the whole target
  /// `r + w·Tᵀc` instead of r for a refit.
  private(set) var outer: [Matrix] = []
  private let kernels: wrvq_kernels
  private let d: Int

  /// Rows whose vectors are turned at a time.
  private static let chunkRows = 256

  init(_ level: Codebook.Level, dimensions: Int, kernels: wrvq_kernels) {
    self.kernels = kernels
    d = dimensions
    products = [Float](repeating: 0, count: level.codewords.count)
    let size = if case .product(_, let size) = level.kind { size } else { dimensions }
    squares = [Float](repeating: 0, count: level.codewords.count / size)
  }

  /// Adds up codewords' sums.
  ///
  /// - Parameters:
  ///   - residuals: `[rows × dimensions]`.
  ///   - index: The level's, among `levels` ones.
  mutating func add(
    _ level: Codebook.Level, _ index: Int, _ encoded: EncodedVectors,
    _ residuals: UnsafePointer<Float>
  ) {
    let n = encoded.rowCount, levels = encoded.codes.count, d = d
    let rotation = level.transform.map {
      BlockRotation($0, dimensions: d, inverse: false, kernels: kernels)
    }
    withUnsafeTemporaryAllocation(of: Float.self, capacity: Self.chunkRows * d) { memory in
      let turned = memory.baseAddress!
      for first in stride(from: 0, to: n, by: Self.chunkRows) {
        let count = min(Self.chunkRows, n - first)
        rotation?.apply(residuals + first * d, count, turned)
        let z = rotation == nil ? residuals + first * d : UnsafePointer(turned)
        for row in 0..<count {
          let weight = Float(encoded.weights[(first + row) * levels + index])
          add(z + row * d, weight, encoded.codes[index], first + row, level.kind)
        }
      }
    }
  }

  private mutating func add(
    _ z: UnsafePointer<Float>, _ weight: Float, _ codes: EncodedVectors.Codes, _ row: Int,
    _ kind: Codebook.Kind
  ) {
    products.withUnsafeMutableBufferPointer { products in
      switch (codes, kind) {
      case (.product(let codes, let pieces), .product(_, let size)):
        for piece in 0..<pieces {
          let codeword = piece * 16 + Int(codes[row * pieces + piece]), first = piece * size
          let out = products.baseAddress! + codeword * size
          for i in 0..<min(size, d - first) { out[i] += weight * z[first + i] }
          squares[codeword] += weight * weight
        }
      case (.flat(let codes), .flat):
        let codeword = Int(codes[row]), out = products.baseAddress! + codeword * d
        for i in 0..<d { out[i] += weight * z[i] }
        squares[codeword] += weight * weight
      default: preconditionFailure("codes of another codebook")
      }
    }
  }

  /// Adds up the transform's sums.
  ///
  /// - Parameter whole: Of the target with the level's own part.
  mutating func addOuter(
    _ level: Codebook.Level, _ index: Int, _ encoded: EncodedVectors,
    _ residuals: UnsafePointer<Float>, whole: Bool
  ) {
    guard let transform = level.transform else { return }
    let blocks = TransformBlocks(dense: transform, dimensions: d).blockDimensions
    var plain = level
    plain.transform = nil
    let codewords = LevelDirections(plain, dimensions: d, kernels: kernels)
    let inverse = BlockRotation(transform, dimensions: d, inverse: true, kernels: kernels)
    if outer.isEmpty {
      outer = stride(from: 0, to: d, by: blocks).map { Matrix(zero: min(blocks, d - $0)) }
    }
    let levels = encoded.codes.count
    withUnsafeTemporaryAllocation(of: Float.self, capacity: 3 * Self.chunkRows * d) { memory in
      let c = memory.baseAddress!, r = c + Self.chunkRows * d, v = r + Self.chunkRows * d
      for first in stride(from: 0, to: encoded.rowCount, by: Self.chunkRows) {
        let count = min(Self.chunkRows, encoded.rowCount - first)
        switch encoded.codes[index] {
        case .flat(let codes):
          codes.withUnsafeBufferPointer { codewords.fill($0.baseAddress! + first, count, c) }
        case .product(let codes, let pieces):
          codes.withUnsafeBufferPointer {
            codewords.fill($0.baseAddress! + first * pieces, count, c)
          }
        }
        for row in 0..<count {
          let weight = Float(encoded.weights[(first + row) * levels + index])
          for i in row * d..<(row + 1) * d { c[i] *= weight }
        }
        r.update(from: residuals + first * d, count: count * d)
        if whole {
          inverse.apply(c, count, v)
          for i in 0..<count * d { r[i] += v[i] }
        }
        for (block, start) in stride(from: 0, to: d, by: blocks).enumerated() {
          outer[block].addProducts(c + start, r + start, count, stride: d, kernels)
        }
      }
    }
  }
}

extension Matrix {
  /// Adds `Σ a·bᵀ` over rows.
  fileprivate mutating func addProducts(
    _ a: UnsafePointer<Float>, _ b: UnsafePointer<Float>, _ n: Int, stride: Int,
    _ kernels: wrvq_kernels
  ) {
    let size = size, width = paddedToPanels(size)
    withUnsafeTemporaryAllocation(of: Float.self, capacity: n * (size + width) + size * width) {
      let columns = $0.baseAddress!, packed = columns + n * size, sums = packed + n * width
      for i in 0..<size {
        for row in 0..<n { columns[i * n + row] = a[row * stride + i] }
      }
      // The columns of b as packed codewords of n dimensions.
      for panel in 0..<width / 16 {
        for row in 0..<n {
          for lane in 0..<16 {
            let j = panel * 16 + lane
            packed[(panel * n + row) * 16 + lane] = j < size ? b[row * stride + j] : 0
          }
        }
      }
      kernels.inner_products(columns, size, n, packed, size, sums)
      for i in 0..<size {
        for j in 0..<size { values[i * size + j] += sums[i * width + j] }
      }
    }
  }
}
