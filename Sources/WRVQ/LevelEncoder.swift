import CWRVQKernels

/// One step of the quantizer: from residuals to codes, weights and smaller residuals.
struct LevelEncoder: Sendable {
  private let level: Codebook.Level
  private let dimensions: Int
  private let kernels: wrvq_kernels
  private let directions: LevelDirections
  private let quantizer: WeightQuantizer
  private let rotation: BlockRotation?
  /// Of a flat level packed.
  private let codewords: [Float]
  /// Half the codewords' squared lengths, or zero where only directions compete; +∞ in padding.
  private let halfNorms: [Float]
  /// Of the codewords of a flat level that residuals are compared with as they are.
  private let squaredNorms: [Float]

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
          ? [Float](repeating: 0, count: count) : codewordHalfNorms(rows, dimensions))
        + [Float](repeating: .infinity, count: padding)
    case .product(_, let size):
      codewords = rows
      halfNorms = codewordHalfNorms(rows, size)
    }
    if case .flat = level.kind, level.transform == nil, level.weightRule != .norm {
      squaredNorms = codewordHalfNorms(rows, dimensions).map { 2 * $0 }
    } else {
      squaredNorms = []
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
    if case .flat(let count) = level.kind, !squaredNorms.isEmpty {
      return encode(residuals, n, codewords: count, codes, weights, stride: stride)
    }
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

  /// `encode` for a flat level whose choice and weight follow from products with the residuals.
  private func encode<Code: FixedWidthInteger>(
    _ residuals: UnsafeMutablePointer<Float>, _ n: Int, codewords count: Int,
    _ codes: UnsafeMutablePointer<Code>, _ weights: UnsafeMutablePointer<Float16>, stride: Int
  ) -> Double {
    withAssignmentScratch(n) { scratch, numbers, scores in
      kernels.assign(
        residuals, n, dimensions, codewords, halfNorms, count, scratch, numbers, scores)
      var loss = 0.0
      level.codewords.withUnsafeBufferPointer { rows in
        for row in 0..<n {
          let code = Int(numbers[row]), r = residuals + row * dimensions
          codes[row] = Code(code)
          let weight: Float16 =
            level.weightRule == .one
            ? 1 : quantizer.stored(scores[row] / max(squaredNorms[code], 1e-30))
          weights[row * stride] = weight
          subtract(Float(weight), rows.baseAddress! + code * dimensions, from: r)
          loss += kernels.inner_product(r, r, dimensions)
        }
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
    let tile = TileEncoder.rows
    withUnsafeTemporaryAllocation(of: Float.self, capacity: tile * (dimensions + 2)) { floats in
      withUnsafeTemporaryAllocation(of: UInt8.self, capacity: tile * pieces) { bytes in
        let packed = floats.baseAddress!
        for first in stride(from: 0, to: n, by: tile) {
          let count = min(tile, n - first)
          kernels.pack(z + first * dimensions, count, dimensions, packed)
          kernels.encode_tile(
            packed, dimensions, codewords, halfNorms, pieces, size, bytes.baseAddress!,
            packed + tile * dimensions)
          for i in 0..<count * pieces { out[first * pieces + i] = Code(bytes[i]) }
        }
      }
    }
  }

  private func withAssignmentScratch<Result>(
    _ n: Int,
    _ body: (
      UnsafeMutablePointer<Float>, UnsafeMutablePointer<UInt32>, UnsafeMutablePointer<Float>
    ) -> Result
  ) -> Result {
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

/// Half the squared length of each codeword.
func codewordHalfNorms(_ rows: [Float], _ size: Int) -> [Float] {
  stride(from: 0, to: rows.count, by: size).map { start in
    Float(0.5 * rows[start..<start + size].reduce(0.0) { $0 + Double($1) * Double($1) })
  }
}
