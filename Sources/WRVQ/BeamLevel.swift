import CWRVQKernels

/// A flat level of a beam search: finds the best codewords for the residuals of all paths.
struct BeamLevel: Sendable {
  /// Codewords whose products with the residuals are taken at a time.
  private static let blockCodewords = 512

  private let count: Int
  private let dimensions: Int
  private let weightRule: Codebook.WeightRule
  private let kernels: wrvq_kernels
  private let quantizer: WeightQuantizer
  /// What the codewords contribute for each unit of weight, `[count × dimensions]`, and packed.
  private let directions: [Float]
  private let packedDirections: [Float]
  private let squaredNorms: [Float]
  /// A codeword's score is its product with the residual times its `factor`, less `penalty`:
  /// the greater, the less the codeword leaves.
  private let factors: [Float]
  private let penalties: [Float]

  /// - Parameter level: A flat one.
  init(_ level: Codebook.Level, dimensions: Int, kernels: wrvq_kernels) {
    directions = LevelDirections(level, dimensions: dimensions, kernels: kernels).all
    count = directions.count / dimensions
    self.dimensions = dimensions
    self.kernels = kernels
    weightRule = level.weightRule
    quantizer = WeightQuantizer(level)
    packedDirections = packed(directions, count, dimensions, kernels)
    let rows = directions
    squaredNorms = (0..<count).map { c in
      rows.withUnsafeBufferPointer {
        let row = $0.baseAddress! + c * dimensions
        return Float(kernels.inner_product(row, row, dimensions))
      }
    }
    let isProjection = level.weightRule == .projection
    factors = squaredNorms.map { isProjection ? ($0 > 1e-30 ? 1 / $0.squareRoot() : 0) : 1 }
    penalties = squaredNorms.map { isProjection ? 0 : 0.5 * $0 }
  }

  /// A way for a path to go on.
  private struct Candidate {
    /// What is expected to be left, before the weight is rounded.
    var loss: Float
    var parent: Int32
    var code: Int32
    /// The residual's product with the codeword.
    var product: Float
  }

  /// Lets the best paths go on, at most as many for each row as the beam is wide.
  func branch(_ beam: inout Beam, level: Int) {
    let old = beam.width, width = min(beam.maximumWidth, old * count), rows = beam.rows
    withUnsafeTemporaryAllocation(of: Candidate.self, capacity: rows * width) { memory in
      let candidates = memory.baseAddress!
      for path in 0..<rows * width {
        candidates[path] = Candidate(
          loss: .infinity, parent: Int32(path / width * old), code: 0, product: 0)
      }
      for first in stride(from: 0, to: count, by: Self.blockCodewords) {
        find(first, beam, width, candidates)
      }
      let step = beam.branch(level: level, width: width)
      for path in 0..<rows * width { take(candidates[path], path, step, beam) }
    }
    beam.swapResiduals()
    beam.measure(kernels)
  }

  /// Compares all paths with a block of codewords.
  private func find(
    _ first: Int, _ beam: Beam, _ width: Int, _ candidates: UnsafeMutablePointer<Candidate>
  ) {
    let n = min(Self.blockCodewords, count - first), stride = paddedToPanels(n)
    withUnsafeTemporaryAllocation(of: Float.self, capacity: beam.count * stride) { memory in
      let products = memory.baseAddress!
      packedDirections.withUnsafeBufferPointer {
        kernels.inner_products(
          beam.residuals, beam.count, dimensions, $0.baseAddress! + first * dimensions, n, products)
      }
      for path in 0..<beam.count {
        let best = candidates + path / beam.width * width
        select(products + path * stride, first, n, path, beam.losses[path], width, best)
      }
    }
  }

  /// Keeps the best of a row's candidates and those of one path more, in order.
  private func select(
    _ products: UnsafePointer<Float>, _ first: Int, _ n: Int, _ path: Int, _ square: Float,
    _ width: Int, _ best: UnsafeMutablePointer<Candidate>
  ) {
    let length = weightRule == .norm ? square.squareRoot() : 1
    var threshold = score(ofGain: square - best[width - 1].loss, length)
    withUnsafeTemporaryAllocation(of: Float.self, capacity: n) { memory in
      let scores = memory.baseAddress!
      rate(products, first, n, length, scores)
      for c in 0..<n where scores[c] > threshold {
        let candidate = Candidate(
          loss: square - gain(ofScore: scores[c], length), parent: Int32(path),
          code: Int32(first + c), product: products[c])
        var i = width - 1
        while i > 0 && candidate.loss < best[i - 1].loss {
          best[i] = best[i - 1]
          i -= 1
        }
        best[i] = candidate
        threshold = score(ofGain: square - best[width - 1].loss, length)
      }
    }
  }

  /// The scores of `n` codewords; by itself, so that it becomes a loop over vectors.
  private func rate(
    _ products: UnsafePointer<Float>, _ first: Int, _ n: Int, _ length: Float,
    _ scores: UnsafeMutablePointer<Float>
  ) {
    factors.withUnsafeBufferPointer { factors in
      penalties.withUnsafeBufferPointer { penalties in
        let factors = factors.baseAddress! + first, penalties = penalties.baseAddress! + first
        for c in 0..<n { scores[c] = products[c] * factors[c] - length * penalties[c] }
      }
    }
  }

  /// How much less is left of a residual.
  private func gain(ofScore score: Float, _ length: Float) -> Float {
    // A weight below zero is possible, but comes last, as in greedy encoding.
    weightRule == .projection ? score * abs(score) : 2 * length * score
  }

  /// The inverse.
  private func score(ofGain gain: Float, _ length: Float) -> Float {
    if weightRule == .projection {
      return gain >= 0 ? gain.squareRoot() : -(-gain).squareRoot()
    }
    return gain / max(2 * length, 1e-30)
  }

  /// Goes on by a candidate.
  private func take(_ candidate: Candidate, _ path: Int, _ step: Beam.Step, _ beam: Beam) {
    let parent = Int(candidate.parent), code = Int(candidate.code)
    let weight =
      switch weightRule {
      case .one: Float16(1)
      case .norm: quantizer.stored(beam.losses[parent].squareRoot())
      case .projection: quantizer.stored(candidate.product / max(squaredNorms[code], 1e-30))
      }
    step.parents[path] = candidate.parent
    step.codes[path] = UInt16(code)
    step.weights[path] = weight
    let r = beam.residuals + parent * dimensions, out = beam.spare + path * dimensions
    directions.withUnsafeBufferPointer {
      let v = $0.baseAddress! + code * dimensions, w = Float(weight)
      for i in 0..<dimensions { out[i] = r[i] - w * v[i] }
    }
  }
}
