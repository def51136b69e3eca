import CWRVQKernels

/// Encodes rows by beam search: after each level the `width` best ways of coding a row so far are
/// kept, and the next level looks at the residual of each of them.
///
/// Level 0 does not branch: its code is the list of an index, which is always the nearest one.  A
/// product level does not either: piece by piece, the nearest codewords are the best of all.
struct BeamEncoder: Sendable {
  private enum Level: Sendable {
    case flat(BeamLevel)
    case product(LevelEncoder)
  }

  private let codebook: Codebook
  private let first: LevelEncoder
  /// From level 1.
  private let rest: [Level]
  private let directions: [LevelDirections]
  private let refit: WeightRefit?
  private let width: Int
  private let kernels: wrvq_kernels

  /// - Parameters:
  ///   - width: At least 1.
  ///   - refitsWeights: Fit the weights of all levels together once the codes are chosen.
  init(_ codebook: Codebook, width: Int, refitsWeights: Bool, kernels: wrvq_kernels) {
    precondition(width >= 1)
    self.codebook = codebook
    self.width = width
    self.kernels = kernels
    let d = codebook.dimensions
    first = LevelEncoder(codebook.levels[0], dimensions: d, kernels: kernels)
    rest = codebook.levels.dropFirst().map { level in
      if case .flat = level.kind {
        .flat(BeamLevel(level, dimensions: d, kernels: kernels))
      } else {
        .product(LevelEncoder(level, dimensions: d, kernels: kernels))
      }
    }
    directions = codebook.levels.map { LevelDirections($0, dimensions: d, kernels: kernels) }
    refit = refitsWeights ? WeightRefit(codebook.levels, dimensions: d, kernels: kernels) : nil
  }

  /// Rows that are encoded together, so that a second-level cache holds their paths.
  var chunkRows: Int { max(1, max(12, min(192, 196_608 / codebook.dimensions)) / width) }

  /// Encodes `n` rows, and leaves what is still missing of them.
  ///
  /// - Parameters:
  ///   - rows: Prepared, `[n × dimensions]`.
  ///   - losses: Output: for each level the sum of the residuals' squared lengths after it.
  func encode(
    _ rows: UnsafeMutablePointer<Float>, _ n: Int, into output: EncoderOutput, at position: Int,
    losses: UnsafeMutablePointer<Double>
  ) {
    var beam = Beam(codebook, rows: n, width: width)
    defer { beam.deallocate() }
    beam.begin(rows)
    encodeFirst(&beam)
    for (i, level) in rest.enumerated() {
      switch level {
      case .flat(let level): level.branch(&beam, level: i + 1)
      case .product(let encoder): encode(&beam, level: i + 1, encoder)
      }
    }
    refit?.refit(&beam, of: rows, directions)
    beam.storeBest(into: output, at: position)
    measure(rows, n, output, at: position, losses)
  }

  private func encodeFirst(_ beam: inout Beam) {
    let path = beam.extend(level: 0)
    _ = first.encode(
      beam.residuals, beam.rows, codes: path.codes, weights: path.weights, stride: 1)
    beam.measure(kernels)
  }

  /// Every path goes on by the nearest codes.
  private func encode(_ beam: inout Beam, level: Int, _ encoder: LevelEncoder) {
    let path = beam.extend(level: level)
    _ = encoder.encode(
      beam.residuals, beam.count, codes: path.codes, weights: path.weights, stride: 1)
    beam.measure(kernels)
  }

  /// Subtracts level by level what was stored.
  private func measure(
    _ rows: UnsafeMutablePointer<Float>, _ n: Int, _ output: EncoderOutput, at position: Int,
    _ losses: UnsafeMutablePointer<Double>
  ) {
    let d = codebook.dimensions
    withUnsafeTemporaryAllocation(of: Float.self, capacity: n * d) { memory in
      let vectors = memory.baseAddress!
      for (level, directions) in directions.enumerated() {
        switch output.codes[level] {
        case .flat(let codes): directions.fill(codes + position, n, vectors)
        case .product(let codes, let pieces):
          directions.fill(codes + position * pieces, n, vectors)
        }
        losses[level] = 0
        for row in 0..<n {
          let weight = Float(output.weights[(position + row) * self.directions.count + level])
          let r = rows + row * d, v = vectors + row * d
          for i in 0..<d { r[i] -= weight * v[i] }
          losses[level] += kernels.inner_product(r, r, d)
        }
      }
    }
  }
}
