import CWRVQKernels

/// How far training is.
public struct TrainingProgress: Sendable {
  /// The level being trained, from 0; `levelCount` in the end.
  public var level: Int
  public var levelCount: Int
  /// The share of the whole work that is done, 0…1.
  public var fraction: Double
  /// Quantization loss after each level that is trained.
  public var losses: [Double]
  /// Once all levels are trained together: iterations done, of how many, and the loss of the last
  /// mini-batch.
  public var descent: (iteration: Int, count: Int, loss: Double)?
}

/// Trains codebooks by linear residual fine-tuning (WRVQ paper, "L"), level by level, and further by
/// gradients if so configured ("T").
public enum CodebookTrainer {
  /// Trains a codebook on a sample of vectors.
  ///
  /// - Parameters:
  ///   - sample: `rows × dimensions`, raw.  Rows of length zero are left out under cosine.
  ///   - dimensions: 1…16,000.
  ///   - configuration: Levels, weights, seed, threads.
  ///   - progress: Called from this thread, at most about a hundred times.
  ///   - kernels: Instruction set; the results of two differ by rounding.
  /// - Complexity: O(rows × dimensions × codewords × iterations) for each flat level (the square
  ///   root of the codewords above 4,096); O(rows × dimensions²) for a product level.
  public static func train(
    sample: [Float], dimensions: Int, configuration: TrainingConfiguration,
    progress: ((TrainingProgress) -> Void)? = nil, kernels: Kernels = .best
  ) throws -> Codebook {
    try checkSize(sample, dimensions: dimensions)
    try check(configuration, dimensions: dimensions)
    try checkFinite(sample, dimensions: dimensions, kernels: kernels)
    if let adam = configuration.adam {
      return try descend(
        sample, dimensions: dimensions, configuration, adam, progress, kernels)
    }
    let (rows, scale) = try prepared(
      sample, dimensions: dimensions, configuration.metric, kernels)
    return try linear(
      rows, dimensions: dimensions, scale: scale, configuration, progress, kernels)
  }

  /// Trains level by level, with rows that are prepared.
  static func linear(
    _ rows: consuming [Float], dimensions: Int, scale: Float,
    _ configuration: TrainingConfiguration, _ progress: ((TrainingProgress) -> Void)?,
    _ kernels: Kernels
  ) throws -> Codebook {
    let shape = shape(
      configuration, dimensions: dimensions, scale: scale,
      block: Int(kernels.training.default_transform_block(Int32(dimensions))))
    let run = try TrainerRun(shape, rows: rows.count / dimensions, configuration, kernels)
    return rows.withUnsafeMutableBufferPointer {
      run.train($0.baseAddress!, progress)
      return run.codebook(configuration)
    }
  }

  // MARK: - Checks

  private static func checkSize(_ sample: [Float], dimensions: Int) throws {
    guard (1...Int(WRVQ_DIMENSIONS_MAX)).contains(dimensions) else {
      throw TrainingError.dimensions(dimensions, expected: 1...Int(WRVQ_DIMENSIONS_MAX))
    }
    if sample.isEmpty { throw TrainingError.emptySample }
    guard sample.count.isMultiple(of: dimensions) else {
      throw TrainingError.sampleSize(values: sample.count, dimensions: dimensions)
    }
  }

  private static func check(_ configuration: TrainingConfiguration, dimensions: Int) throws {
    try LevelSpecification.check(configuration.levels, dimensions: dimensions)
    guard (1...100).contains(configuration.iterations) else {
      throw TrainingError.iterations(configuration.iterations, expected: 1...100)
    }
    guard Codebook.Level.weightBitsChoices.contains(configuration.weightBits) else {
      throw TrainingError.weightBits(configuration.weightBits)
    }
    try configuration.adam?.check()
    if configuration.threads < 1 { throw TrainingError.threads(configuration.threads) }
  }

  private static func checkFinite(_ sample: [Float], dimensions: Int, kernels: Kernels) throws {
    let bad = sample.withUnsafeBufferPointer {
      kernels.table.first_not_finite($0.baseAddress!, $0.count)
    }
    if bad >= 0 {
      throw TrainingError.notFinite(row: bad / dimensions, dimension: bad % dimensions)
    }
  }

  // MARK: - Preparation

  /// The rows in the codebook's space, and what they were multiplied by: as an index that trains
  /// itself prepares its own.
  static func prepared(
    _ sample: [Float], dimensions d: Int, _ metric: Codebook.Metric, _ kernels: Kernels
  ) throws -> ([Float], scale: Float) {
    let count = sample.count / d
    let scale = metric == .cosine ? 1 : medianScale(sample, dimensions: d, kernels)
    var rows = sample
    let kept = rows.withUnsafeMutableBufferPointer {
      kernels.training.prepare_sample($0.baseAddress!, count, d, metric.kernelMetric, scale)
    }
    if kept == 0 { throw TrainingError.zeroVector(row: 0) }
    rows.removeLast((count - kept) * d)
    return (rows, scale)
  }

  private static func medianScale(
    _ sample: [Float], dimensions d: Int, _ kernels: Kernels
  ) -> Float {
    let count = sample.count / d
    var keys = [UInt64](repeating: 0, count: count)
    return sample.withUnsafeBufferPointer { sample in
      keys.withUnsafeMutableBufferPointer {
        kernels.training.length_keys(sample.baseAddress!, count, d, $0.baseAddress!)
        return kernels.training.median_scale($0.baseAddress!, count)
      }
    }
  }

  // MARK: - Shape

  static func shape(
    _ configuration: TrainingConfiguration, dimensions: Int, scale: Float, block: Int
  ) -> wrvq_shape {
    var shape = wrvq_shape()
    shape.dimensions = Int32(dimensions)
    shape.metric = configuration.metric.kernelMetric
    shape.level_count = Int32(configuration.levels.count)
    shape.scale = scale
    withUnsafeMutableBytes(of: &shape.levels) {
      let levels = $0.bindMemory(to: wrvq_level_shape.self)
      for (i, specification) in configuration.levels.enumerated() {
        levels[i].weight_rule =
          i == 0 ? Int32(WRVQ_WEIGHT_ONE.rawValue) : kernelRule(configuration.weightRule)
        levels[i].weight_bits = i == 0 ? 16 : Int32(configuration.weightBits)
        switch specification.kind {
        case .flat(let count):
          levels[i].kind = Int32(WRVQ_FLAT.rawValue)
          levels[i].codeword_count = Int32(count)
        case .product(let p):
          levels[i].kind = Int32(WRVQ_PRODUCT.rawValue)
          levels[i].codeword_count = 16
          levels[i].piece_count = Int32((dimensions + p - 1) / p)
          levels[i].piece_dimensions = Int32(p)
        }
      }
    }
    if case .product? = configuration.levels.last?.kind {
      shape.transform_block_dimensions = Int32(block)
    }
    return shape
  }

  private static func kernelRule(_ rule: Codebook.WeightRule) -> Int32 {
    switch rule {
    case .one: Int32(WRVQ_WEIGHT_ONE.rawValue)
    case .norm: Int32(WRVQ_WEIGHT_NORM.rawValue)
    case .projection: Int32(WRVQ_WEIGHT_PROJECTION.rawValue)
    }
  }
}

/// One run of the kernels' trainer.
private final class TrainerRun {
  private let shape: wrvq_shape
  private let rows: Int
  private let threads: Int
  private let seed: UInt64
  private let iterations: Int32
  private let kernels: wrvq_training_kernels
  private let memory: UnsafeMutableRawPointer
  private var trainer: OpaquePointer?

  init(
    _ shape: wrvq_shape, rows: Int, _ configuration: TrainingConfiguration, _ kernels: Kernels
  ) throws {
    self.shape = shape
    self.rows = rows
    self.kernels = kernels.training
    (threads, seed) = (configuration.threads, configuration.seed)
    iterations = Int32(configuration.iterations)
    let bytes = withUnsafePointer(to: shape) { kernels.training.trainer_bytes($0, Int64(rows)) }
    guard bytes > 0 else {
      let levels = configuration.levels.map(\.description).joined(separator: ",")
      throw TrainingError.entryTooLarge(levels: levels, dimensions: Int(shape.dimensions))
    }
    memory = .allocate(byteCount: Int(bytes), alignment: 64)
  }

  deinit { memory.deallocate() }

  func train(_ sample: UnsafeMutablePointer<Float>, _ progress: ((TrainingProgress) -> Void)?) {
    let trainer = withUnsafePointer(to: shape) {
      kernels.trainer_begin($0, sample, Int64(rows), seed, iterations, memory)
    }
    self.trainer = trainer
    var reported = -1.0
    repeat {
      work(trainer)
      let fraction = Double(kernels.trainer_progress(trainer))
      if let progress, fraction >= reported + 0.01 {
        reported = fraction
        progress(self.progress(fraction))
      }
    } while kernels.trainer_advance(trainer) == WRVQ_MORE
    progress?(self.progress(1))
  }

  /// Does all units of the current step.
  private func work(_ trainer: OpaquePointer) {
    let units = Int(kernels.trainer_units(trainer))
    let shared = SharedStep(trainer: trainer, work: kernels.trainer_work)
    concurrently(units, threads: threads) { shared.work(shared.trainer, Int32($0)) }
  }

  private func progress(_ fraction: Double) -> TrainingProgress {
    guard let trainer else { preconditionFailure("progress before training") }
    let level = Int(kernels.trainer_level(trainer))
    return TrainingProgress(
      level: level, levelCount: Int(shape.level_count), fraction: fraction,
      losses: (0..<level).map { kernels.trainer_loss(trainer, Int32($0)) })
  }

  /// What was trained.
  func codebook(_ configuration: TrainingConfiguration) -> Codebook {
    guard let trainer else { preconditionFailure("result before training") }
    let d = Int(shape.dimensions)
    let levels = configuration.levels.enumerated().map { i, specification in
      let codewords = kernels.trainer_codewords(trainer, Int32(i))
      let kind: Codebook.Kind
      let values: Int
      var transform: [Float]?
      switch specification.kind {
      case .flat(let count):
        (kind, values) = (.flat(count: count), count * d)
      case .product(let p):
        let pieces = (d + p - 1) / p
        (kind, values) = (.product(pieces: pieces, pieceDimensions: p), pieces * 16 * p)
        transform = denseTransform(kernels.trainer_transform(trainer))
      }
      let rule = i == 0 ? Codebook.WeightRule.one : configuration.weightRule
      let bits = rule == .one ? 16 : configuration.weightBits
      let weights = kernels.trainer_weights(trainer, Int32(i))
      return Codebook.Level(
        kind: kind, weightRule: rule, weightBits: bits,
        codewords: Array(UnsafeBufferPointer(start: codewords, count: values)),
        transform: transform,
        weights: bits == 16 ? nil : Array(UnsafeBufferPointer(start: weights, count: 1 << bits)))
    }
    let losses = (0..<levels.count).map { kernels.trainer_loss(trainer, Int32($0)) }
    return Codebook(
      dimensions: d, metric: configuration.metric, scale: shape.scale, levels: levels,
      loss: losses)
  }

  /// The transform's diagonal blocks as one matrix.
  private func denseTransform(_ blocks: UnsafePointer<Float>) -> [Float] {
    let d = Int(shape.dimensions), b = Int(shape.transform_block_dimensions)
    var dense = [Float](repeating: 0, count: d * d)
    for start in stride(from: 0, to: d, by: b) {
      let width = min(b, d - start)
      for i in 0..<width {
        for j in 0..<width {
          dense[(start + i) * d + start + j] = blocks[start * b + i * width + j]
        }
      }
    }
    return dense
  }
}

extension Codebook.Metric {
  /// As the kernels number it.
  fileprivate var kernelMetric: Int32 {
    switch self {
    case .l2: Int32(WRVQ_L2.rawValue)
    case .ip: Int32(WRVQ_IP.rawValue)
    case .cosine: Int32(WRVQ_COSINE.rawValue)
    }
  }
}

/// What the threads of a step share: units write to disjoint memory.
private struct SharedStep: @unchecked Sendable {
  let trainer: OpaquePointer
  let work: @convention(c) (OpaquePointer, Int32) -> Void
}
