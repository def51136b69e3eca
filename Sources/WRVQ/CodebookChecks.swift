import CWRVQKernels

extension Codebook {
  /// Throws `CodebookError` unless the codebook is complete, finite and consistent.
  ///
  /// - Complexity: O(dimensions × block size of the transforms × dimensions).
  public func validate() throws(CodebookError) {
    guard dimensionsRange.contains(dimensions) else { throw .badDimensions(dimensions) }
    guard scale.isFinite, scale > 0 else { throw .badScale(scale) }
    let maximum = Int(WRVQ_LEVELS_MAX)
    guard (1...maximum).contains(levels.count) else {
      throw .badLevelCount(levels.count, maximum: maximum)
    }
    guard case .flat = levels[0].kind, levels[0].weightRule == .one else { throw .badFirstLevel }
    for (index, level) in levels.enumerated() {
      try validateShape(of: level, index)
      try validateWeights(of: level, index)
      guard level.codewords.allSatisfy(\.isFinite) else {
        throw .notFinite(level: index, part: "codewords")
      }
      if let transform = level.transform { try validate(transform: transform, of: index) }
    }
    guard loss.isEmpty || loss.count == levels.count,
      loss.allSatisfy({ $0.isFinite && $0 >= 0 })
    else { throw .badLoss }
  }

  private func validateShape(of level: Level, _ index: Int) throws(CodebookError) {
    let expected: Int
    switch level.kind {
    case .flat(let count):
      let maximum = Int(WRVQ_LISTS_MAX)
      guard (1...maximum).contains(count) else {
        throw .badCodewordCount(level: index, count: count, maximum: maximum)
      }
      expected = count * dimensions
    case .product(let pieces, let pieceDimensions):
      guard (1...dimensions).contains(pieceDimensions),
        pieces == (dimensions + pieceDimensions - 1) / pieceDimensions
      else {
        throw .badPieces(
          level: index, pieces: pieces, pieceDimensions: pieceDimensions, dimensions: dimensions)
      }
      expected = pieces * 16 * pieceDimensions
    }
    guard level.codewords.count == expected else {
      throw .wrongCount(
        level: index, part: "codewords", expected: expected, actual: level.codewords.count)
    }
  }

  private func validateWeights(of level: Level, _ index: Int) throws(CodebookError) {
    guard Level.weightBitsChoices.contains(level.weightBits) else {
      throw .badWeightBits(level: index, bits: level.weightBits)
    }
    let expected = level.weightBits == 16 ? 0 : 1 << level.weightBits
    let weights = level.weights ?? []
    guard weights.count == expected else {
      throw .wrongCount(level: index, part: "weights", expected: expected, actual: weights.count)
    }
    guard weights.allSatisfy(\.isFinite) else { throw .notFinite(level: index, part: "weights") }
  }

  private func validate(transform: [Float], of level: Int) throws(CodebookError) {
    guard transform.count == dimensions * dimensions else {
      throw .wrongCount(
        level: level, part: "the transform", expected: dimensions * dimensions,
        actual: transform.count)
    }
    guard transform.allSatisfy(\.isFinite) else {
      throw .notFinite(level: level, part: "the transform's values")
    }
    let deviation = TransformBlocks(dense: transform, dimensions: dimensions).deviation
    guard deviation <= 1e-2 else { throw .notOrthogonal(level: level, deviation: deviation) }
  }
}

extension TransformBlocks {
  /// The largest element of `T·Tᵀ − 1` by magnitude: zero if orthogonal.
  var deviation: Float {
    let kernels = Kernels.best.table
    var deviation: Float = 0
    var start = 0
    for first in stride(from: 0, to: dimensions, by: blockDimensions) {
      let size = min(blockDimensions, dimensions - first)
      let block = Matrix(size: size, values: Array(values[start..<start + size * size]))
      deviation = max(deviation, block.timesTransposed(block, kernels).distanceFromUnit)
      start += size * size
    }
    return deviation
  }
}
