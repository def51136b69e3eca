import CWRVQKernels

/// Optimized product quantization (OPQ): product quantization behind a rotation that is trained
/// with it.
///
/// It starts from the principal axes dealt out to the pieces so that all carry as much, then takes
/// turns: codes, codewords, and the rotation that fits them best (Procrustes).
/// - seealso: Ge, He, Ke, Sun, "Optimized product quantization", TPAMI 2014, §3 and §4.
public struct RotatedProductQuantizer: VectorQuantizer {
  /// Row-major orthogonal `dimensions × dimensions`, `z = R·x`.
  public private(set) var rotation: [Float]
  private var quantizer: ProductQuantizer
  private let kernels: wrvq_kernels

  public var dimensions: Int { quantizer.dimensions }
  public var codeBits: Int { quantizer.codeBits }
  public var weightBits: Int { 0 }
  public var levelCount: Int { 1 }

  /// Trains on vectors.
  ///
  /// - Parameters:
  ///   - rows: `n × dimensions`, finite.
  ///   - configuration: A piece for each number of codewords; no more than dimensions.
  ///   - rounds: How often the rotation is fitted anew, at least 0.
  ///   - progress: Told the share of the work that is done.
  /// - Throws: `BaselineError` or `TrainingError`.
  /// - Complexity: O(rows × dimensions × (dimensions + codewords)) for each round.
  public init(
    training rows: [Float], dimensions: Int, _ configuration: BaselineConfiguration,
    rounds: Int = 20, progress: ((Double) -> Void)? = nil
  ) throws {
    precondition(rounds >= 0)
    try configuration.check(rows, dimensions: dimensions)
    kernels = configuration.kernels.table
    rotation = try Self.principalAxes(rows, dimensions, configuration)
    let threads = configuration.threads
    var rotated = rotate(
      rows, rotation, dimensions: dimensions, inverse: false, threads: threads, kernels)
    quantizer = try ProductQuantizer(
      training: rotated, dimensions: dimensions, configuration,
      progress: { progress?($0 / Double(rounds + 1)) })
    for round in 0..<rounds {
      progress?(Double(round + 1) / Double(rounds + 1))
      let codes = try quantizer.encode(rotated)
      quantizer.refit(rotated, codes)
      let decoded = try quantizer.decode(codes, levels: 1)
      let moments = crossMoments(
        decoded, rows, dimensions: dimensions, threads: threads, kernels)
      rotation = nearestRotation(
        to: moments, startingFrom: rotation, dimensions: dimensions, threads: threads, kernels)
      rotated = rotate(
        rows, rotation, dimensions: dimensions, inverse: false, threads: threads, kernels)
    }
    // The codewords that belong to the last rotation.
    if rounds > 0 { quantizer.refit(rotated, try quantizer.encode(rotated)) }
  }

  /// The balanced principal axes of the kernels' trainer, for pieces as long as ours.
  private static func principalAxes(
    _ rows: [Float], _ dimensions: Int, _ configuration: BaselineConfiguration
  ) throws -> [Float] {
    let pieces = configuration.codewordCounts.count
    guard pieces <= dimensions else {
      throw BaselineError.codeCount(pieces, expected: 1...dimensions)
    }
    let length = (dimensions + pieces - 1) / pieces
    let codebook = try CodebookTrainer.train(
      sample: rows, dimensions: dimensions,
      configuration: TrainingConfiguration(
        metric: .l2,
        levels: [
          LevelSpecification(.flat(1)), LevelSpecification(.product(pieceDimensions: length)),
        ],
        weightRule: .one, iterations: configuration.iterations, seed: configuration.seed,
        threads: configuration.threads), kernels: configuration.kernels)
    guard let transform = codebook.levels[1].transform else {
      preconditionFailure("a product level without a transform")
    }
    return transform
  }

  /// Rotates, and takes the nearest codeword for every piece.
  ///
  /// - Throws: `EncodingError`.
  /// - Complexity: O(rows × dimensions × (dimensions + codewords)).
  public func encode(_ rows: [Float]) throws -> QuantizerCodes {
    _ = try checkedRowCount(rows)
    return try quantizer.encode(turned(rows, inverse: false))
  }

  public func decode(_ encoded: QuantizerCodes, levels: Int) throws -> [Float] {
    turned(try quantizer.decode(encoded, levels: levels), inverse: true)
  }

  private func turned(_ rows: [Float], inverse: Bool) -> [Float] {
    rotate(
      rows, rotation, dimensions: dimensions, inverse: inverse, threads: quantizer.threads, kernels)
  }
}

extension ProductQuantizer {
  /// Moves every piece's codewords to the means of their rows.
  fileprivate mutating func refit(_ rows: [Float], _ codes: QuantizerCodes) {
    let n = codes.rowCount, d = dimensions, sets = pieces, ranges = pieces.indices.map(range)
    let fitted = [CodewordSet](unsafeUninitializedCapacity: sets.count) { buffer, initialized in
      initialized = sets.count
      let out = SharedMemory(base: buffer.baseAddress!)
      concurrently(sets.count, threads: threads) { index in
        let range = ranges[index]
        withUnsafeTemporaryAllocation(of: Float.self, capacity: n * range.count) { part in
          rows.withUnsafeBufferPointer {
            gather($0.baseAddress!, n, d, range, part.baseAddress!)
          }
          codes.values.withUnsafeBufferPointer {
            let means = sets[index].means(
              part.baseAddress!, n, $0.baseAddress! + index, stride: sets.count)
            (out.base + index).initialize(to: means)
          }
        }
      }
    }
    pieces = fitted
  }
}
