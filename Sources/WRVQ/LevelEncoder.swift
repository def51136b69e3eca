import CWRVQKernels

/// One step of the quantizer: from residuals to codes, weights and smaller residuals.
struct LevelEncoder: Sendable {
  private let level: Codebook.Level
  private let dimensions: Int
  private let kernels: wrvq_kernels
  private let directions: LevelDirections
  private let quantizer: WeightQuantizer
  private let rotation: BlockRotation?
  /// Packed codewords; of a product level piece by piece.
  private let codewords: [Float]
  /// Half the codewords' squared lengths, or zero where only directions compete; +∞ in padding.
  private let halfNorms: [Float]

  init(_ level: Codebook.Level, dimensions: Int, kernels: wrvq_kernels) {
    self.level = level
    self.dimensions = dimensions
    self.kernels = kernels
    directions = LevelDirections(level, dimensions: dimensions, kernels: kernels)
    quantizer = WeightQuantizer(level)
    rotation = level.transform.map {
      BlockRotation($0, dimensions: dimensions, inverse: false, kernels: kernels)
    }
    let rows = level.codewords
    switch level.kind {
    case .flat(let count):
      codewords = packed(rows, count, dimensions, kernels)
      let padding = paddedToPanels(count) - count
      halfNorms =
        (level.weightRule == .projection
          ? [Float](repeating: 0, count: count) : Self.halfNorms(rows, dimensions))
        + [Float](repeating: .infinity, count: padding)
    case .product(let pieces, let size):
      codewords = (0..<pieces).flatMap { piece in
        packed(Array(rows[piece * 16 * size..<(piece + 1) * 16 * size]), 16, size, kernels)
      }
      halfNorms = Self.halfNorms(rows, size)
    }
  }

  private static func halfNorms(_ rows: [Float], _ size: Int) -> [Float] {
    stride(from: 0, to: rows.count, by: size).map { start in
      Float(0.5 * rows[start..<start + size].reduce(0.0) { $0 + Double($1) * Double($1) })
    }
  }

  /// Encodes `n` residuals, and leaves what is still missing of them.
  ///
  /// - Parameters:
  ///   - residuals: `[n × dimensions]`.
  ///   - codes: Output, `[n]`, or `[n × pieces]`.
  ///   - weights: Output, `[n]`, every `stride`-th.
  /// - Returns: The sum of the new residuals' squared lengths.
  func encode<Code: FixedWidthInteger>(
    _ residuals: UnsafeMutablePointer<Float>, _ n: Int, codes: UnsafeMutablePointer<Code>,
    weights: UnsafeMutablePointer<Float16>, stride: Int
  ) -> Double {
    let d = dimensions
    return withUnsafeTemporaryAllocation(of: Float.self, capacity: n * (d + 1)) { memory in
      let vectors = memory.baseAddress!, lengths = vectors + n * d
      for row in 0..<n { lengths[row] = unit(residuals + row * d, vectors + row * d) }
      rotation?.apply(vectors, n, vectors)
      switch level.kind {
      case .flat(let count): assign(vectors, n, codewords: count, codes)
      case .product(let pieces, let size): assign(vectors, n, pieces: pieces, size, codes)
      }
      directions.fill(codes, n, vectors)
      var loss = 0.0
      for row in 0..<n {
        let r = residuals + row * d, v = vectors + row * d
        let weight = quantizer.stored(weight(r, v, length: lengths[row]))
        let stored = level.weightRule == .one ? 1 : weight
        weights[row * stride] = stored
        subtract(Float(stored), v, from: r)
        loss += kernels.inner_product(r, r, d)
      }
      return loss
    }
  }

  /// The direction that competes for codewords; the residual itself where the weight is one.
  ///
  /// - Returns: The residual's length, or 1.
  private func unit(
    _ residual: UnsafePointer<Float>, _ out: UnsafeMutablePointer<Float>
  ) -> Float {
    if level.weightRule == .one {
      out.initialize(from: residual, count: dimensions)
      return 1
    }
    let length = kernels.inner_product(residual, residual, dimensions).squareRoot()
    let factor = 1 / max(length, 1e-30)
    for i in 0..<dimensions { out[i] = Float(Double(residual[i]) * factor) }
    return Float(length)
  }

  /// The best codeword for each row: `max ⟨z,c⟩ − ½‖c‖²`, or `max ⟨z,c⟩` under projection.
  private func assign<Code: FixedWidthInteger>(
    _ z: UnsafePointer<Float>, _ n: Int, codewords count: Int, _ out: UnsafeMutablePointer<Code>
  ) {
    withAssignmentScratch(n) { scratch, codes, scores in
      kernels.assign(z, n, dimensions, codewords, halfNorms, count, scratch, codes, scores)
      for row in 0..<n { out[row] = Code(codes[row]) }
    }
  }

  /// The nearest codeword for each piece of each row.
  private func assign<Code: FixedWidthInteger>(
    _ z: UnsafePointer<Float>, _ n: Int, pieces: Int, _ size: Int,
    _ out: UnsafeMutablePointer<Code>
  ) {
    withUnsafeTemporaryAllocation(of: Float.self, capacity: n * size) { memory in
      let part = memory.baseAddress!
      withAssignmentScratch(n) { scratch, codes, scores in
        codewords.withUnsafeBufferPointer { codewords in
          halfNorms.withUnsafeBufferPointer { halfNorms in
            for piece in 0..<pieces {
              gather(z, n, first: piece * size, size, part)
              kernels.assign(
                part, n, size, codewords.baseAddress! + piece * 16 * size,
                halfNorms.baseAddress! + piece * 16, 16, scratch, codes, scores)
              for row in 0..<n { out[row * pieces + piece] = Code(codes[row]) }
            }
          }
        }
      }
    }
  }

  /// A piece of `n` rows, padded with zeros beyond the dimensions.
  private func gather(
    _ z: UnsafePointer<Float>, _ n: Int, first: Int, _ size: Int, _ out: UnsafeMutablePointer<Float>
  ) {
    let used = min(size, dimensions - first)
    for row in 0..<n {
      let source = z + row * dimensions + first, target = out + row * size
      for i in 0..<used { target[i] = source[i] }
      for i in used..<size { target[i] = 0 }
    }
  }

  private func withAssignmentScratch(
    _ n: Int,
    _ body: (
      UnsafeMutablePointer<Float>, UnsafeMutablePointer<UInt32>, UnsafeMutablePointer<Float>
    ) -> Void
  ) {
    withUnsafeTemporaryAllocation(of: Float.self, capacity: 33 * n) { floats in
      withUnsafeTemporaryAllocation(of: UInt32.self, capacity: n) { codes in
        body(floats.baseAddress!, codes.baseAddress!, floats.baseAddress! + 32 * n)
      }
    }
  }

  private func weight(
    _ residual: UnsafePointer<Float>, _ direction: UnsafePointer<Float>, length: Float
  ) -> Float {
    switch level.weightRule {
    case .one: return 1
    case .norm: return length
    case .projection:
      let product = kernels.inner_product(residual, direction, dimensions)
      let square = kernels.inner_product(direction, direction, dimensions)
      return Float(product / max(square, 1e-30))
    }
  }

  private func subtract(
    _ weight: Float, _ v: UnsafePointer<Float>, from r: UnsafeMutablePointer<Float>
  ) {
    for i in 0..<dimensions { r[i] -= weight * v[i] }
  }
}
