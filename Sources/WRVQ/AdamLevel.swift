import CWRVQKernels

/// One level while it is trained by gradients: its parameters, not rounded yet, and their moments.
struct AdamLevel: Sendable, Equatable {
  var level: Codebook.Level
  var codewords: Adam
  /// One for each diagonal block of the transform.
  var transform: [Adam]
  let dimensions: Int

  init(_ level: Codebook.Level, dimensions: Int) {
    self.level = level
    self.dimensions = dimensions
    codewords = Adam(count: level.codewords.count)
    transform = []
    transform = blocks.map { Adam(count: $0.size * $0.size) }
  }

  /// The transform's diagonal blocks.
  private var blocks: [Matrix] {
    guard let transform = level.transform else { return [] }
    let parts = TransformBlocks(dense: transform, dimensions: dimensions)
    var start = 0
    return stride(from: 0, to: dimensions, by: parts.blockDimensions).map { first in
      let size = min(parts.blockDimensions, dimensions - first)
      defer { start += size * size }
      return Matrix(size: size, values: Array(parts.values[start..<start + size * size]))
    }
  }

  private mutating func setTransform(_ blocks: [Matrix]) {
    level.transform =
      TransformBlocks(
        blocks: blocks.flatMap(\.values), blockDimensions: blocks[0].size, dimensions: dimensions)!
      .dense
  }

  /// A step against the gradient of a mini-batch's loss.
  mutating func step(
    _ index: Int, _ encoded: EncodedVectors, _ residuals: UnsafePointer<Float>, rate: Float,
    steps: Int, _ kernels: wrvq_kernels
  ) {
    var sums = LevelSums(level, dimensions: dimensions, kernels: kernels)
    sums.add(level, index, encoded, residuals)
    sums.addOuter(level, index, encoded, residuals, whole: false)
    let scale = -2 / Float(encoded.rowCount)
    codewords.step(
      &level.codewords, sums.products, scale: scale, rate: rate, steps: steps)
    normalize()
    if sums.outer.isEmpty { return }
    var turned = blocks
    for (i, block) in blocks.enumerated() {
      // Only what is tangent to the orthogonal matrices: G − ½·(GTᵀ + TGᵀ)·T.
      let product = sums.outer[i].timesTransposed(block, kernels)
      let symmetric = product.combined(0.5, product.transposed, 0.5)
      let gradient = sums.outer[i].combined(
        1, symmetric.timesTransposed(block.transposed, kernels), -1)
      transform[i].step(
        &turned[i].values, gradient.values, scale: scale, rate: rate, steps: steps)
      turned[i] = turned[i].orthogonalized(kernels) ?? block
    }
    setTransform(turned)
  }

  /// Codewords, or else the transform, that leave the least with codes and weights given.
  ///
  /// The residuals become what the new codewords leave.
  mutating func refitCodewords(
    _ index: Int, _ encoded: EncodedVectors, _ residuals: UnsafeMutablePointer<Float>,
    _ kernels: wrvq_kernels
  ) {
    var sums = LevelSums(level, dimensions: dimensions, kernels: kernels)
    sums.add(level, index, encoded, residuals)
    let size = level.codewords.count / sums.squares.count
    let mean = sums.squares.reduce(0, +) / Float(sums.squares.count)
    var change = level
    for codeword in sums.squares.indices {
      // A codeword of few rows moves less.
      let square = sums.squares[codeword] + 0.02 * mean
      for i in codeword * size..<(codeword + 1) * size {
        change.codewords[i] = square > 0 ? sums.products[i] / square : 0
        level.codewords[i] += change.codewords[i]
      }
    }
    subtract(change, index, encoded, residuals, kernels)
  }

  mutating func refitTransform(
    _ index: Int, _ encoded: EncodedVectors, _ residuals: UnsafeMutablePointer<Float>,
    _ kernels: wrvq_kernels
  ) {
    if level.transform == nil { return }
    var sums = LevelSums(level, dimensions: dimensions, kernels: kernels)
    sums.addOuter(level, index, encoded, residuals, whole: true)
    // A little of the old transform decides where the rows say nothing.
    let turned = zip(sums.outer, blocks).map { outer, old in
      let size = outer.values.reduce(0) { max($0, abs($1)) }
      return outer.combined(1, old, 1e-3 * size).orthogonalized(kernels) ?? old
    }
    setTransform(turned)
  }

  /// Directions have unit length where weights are projections.
  mutating func normalize() {
    guard case .flat = level.kind, level.weightRule == .projection else { return }
    let d = dimensions
    level.codewords.withUnsafeMutableBufferPointer { codewords in
      for start in stride(from: 0, to: codewords.count, by: d) {
        var square: Float = 0
        for i in start..<start + d { square += codewords[i] * codewords[i] }
        guard square > 1e-20 else { continue }
        let factor = 1 / square.squareRoot()
        for i in start..<start + d { codewords[i] *= factor }
      }
    }
  }

  /// Takes from the residuals what a level's codewords make of the codes and weights.
  private func subtract(
    _ level: Codebook.Level, _ index: Int, _ encoded: EncodedVectors,
    _ residuals: UnsafeMutablePointer<Float>, _ kernels: wrvq_kernels
  ) {
    let d = dimensions, chunk = 256, levels = encoded.codes.count
    let directions = LevelDirections(level, dimensions: d, kernels: kernels)
    withUnsafeTemporaryAllocation(of: Float.self, capacity: chunk * d) { memory in
      let vectors = memory.baseAddress!
      for first in stride(from: 0, to: encoded.rowCount, by: chunk) {
        let count = min(chunk, encoded.rowCount - first)
        switch encoded.codes[index] {
        case .flat(let codes):
          codes.withUnsafeBufferPointer { directions.fill($0.baseAddress! + first, count, vectors) }
        case .product(let codes, let pieces):
          codes.withUnsafeBufferPointer {
            directions.fill($0.baseAddress! + first * pieces, count, vectors)
          }
        }
        for row in 0..<count {
          let weight = Float(encoded.weights[(first + row) * levels + index])
          let r = residuals + (first + row) * d, v = vectors + row * d
          for i in 0..<d { r[i] -= weight * v[i] }
        }
      }
    }
  }
}
