import CWRVQKernels

/// Trains all levels of a codebook together by gradient descent (WRVQ paper, "T").
///
/// Every iteration encodes a mini-batch with the codebook as it is, by beam search and with weights
/// refitted; then codewords and transforms take a step of Adam against the gradient of what the
/// whole chain leaves of the rows, with codes and weights held (for weights that are the best ones
/// already, that is the gradient with them free).  Directions are brought back to unit length,
/// transforms to the nearest orthogonal matrix.  Every hundred iterations a linear refit replaces
/// codewords, level by level, by those that leave the least, and held-out rows judge.
struct AdamTrainer {
  /// Rows of a linear refit, at most; their residuals are kept.
  private static let refitRows = 32768
  private static let validationRows = 4096
  /// Looks at the held-out rows without a gain of a thousandth, after which training ends.
  private static let patience = 3

  private let configuration: AdamConfiguration
  private let rate: Float
  private let seed: UInt64
  private let threads: Int
  private let kernels: Kernels
  /// Prepared rows, `[rowCount × dimensions]`.
  private let rows: UnsafePointer<Float>
  private let dimensions: Int
  private let held: [Int]
  private let training: [Int]
  var state: AdamState

  /// - Parameters:
  ///   - codebook: What linear training made of the rows that `split` gives to train on.
  ///   - rows: Prepared, and kept by the caller while this is in use.
  init(
    _ codebook: Codebook, rows: UnsafePointer<Float>, count: Int,
    _ configuration: TrainingConfiguration, _ adam: AdamConfiguration, _ kernels: Kernels
  ) {
    self.configuration = adam
    rate = adam.rate(configuration.levels)
    (seed, threads) = (configuration.seed, configuration.threads)
    self.kernels = kernels
    self.rows = rows
    dimensions = codebook.dimensions
    (held, training) = Self.split(count, seed: configuration.seed)
    state = AdamState(
      levels: codebook.levels.map { level in
        var level = level
        (level.weightBits, level.weights) = (16, nil)
        return AdamLevel(level, dimensions: codebook.dimensions)
      })
  }

  /// Deals rows out at random: held out to judge by, and to train on; of a few none can be spared,
  /// and they judge themselves.
  static func split(_ count: Int, seed: UInt64) -> (held: [Int], training: [Int]) {
    var generator = SeededGenerator(seed: seed, stream: 0)
    let order = generator.shuffled(Array(0..<count))
    let held = heldRows(of: count)
    if held == 0 { return (order, order) }
    return (Array(order[..<held]), Array(order[held...]))
  }

  /// How many rows are held out; of fewer than a hundred none.
  static func heldRows(of count: Int) -> Int {
    count < 100 ? 0 : min(validationRows, count / 10)
  }

  /// Trains to the end.
  ///
  /// - Parameters:
  ///   - save: Called after every look at the held-out rows.
  ///   - progress: Called with the iterations done and the loss of the mini-batch.
  /// - Returns: The levels that did best, not rounded yet, with weights of 16 bits.
  mutating func train(
    save: (AdamState) throws -> Void, progress: (Int, Double) -> Void
  ) throws -> [Codebook.Level] {
    if state.iteration == 0 { judge() }
    while state.iteration < configuration.iterations && !isOnPlateau {
      let loss = iterate()
      state.iteration += 1
      progress(state.iteration, loss)
      let isLast = state.iteration == configuration.iterations
      if state.iteration % AdamConfiguration.checkInterval == 0 || isLast {
        state.checksWithoutGain += 1
        judge()
        refit()
        judge()
        try save(state)
      }
    }
    return state.best
  }

  private var isOnPlateau: Bool { state.checksWithoutGain >= Self.patience }

  /// From the whole rate to a hundredth of it, along a cosine.
  private var currentRate: Float {
    let share = Double(state.iteration) / Double(configuration.iterations)
    return rate * Float(0.01 + 0.99 * cosineFall(share))
  }

  // MARK: - Steps

  private func encoder() -> Codebook.Encoder {
    Codebook.Encoder(
      trusted: Codebook(dimensions: dimensions, metric: .l2, levels: state.levels.map(\.level)),
      beam: configuration.beam, refitsWeights: true, threads: threads, kernels: kernels)
  }

  private func gather(_ numbers: some Collection<Int>) -> [Float] {
    [Float](unsafeUninitializedCapacity: numbers.count * dimensions) { buffer, initialized in
      for (i, row) in numbers.enumerated() {
        (buffer.baseAddress! + i * dimensions).initialize(
          from: rows + row * dimensions, count: dimensions)
      }
      initialized = numbers.count * dimensions
    }
  }

  /// The rows of an iteration: every epoch deals all rows out in another order.
  private func batch() -> [Int] {
    let size = min(configuration.batchRows, training.count)
    let batches = training.count / size
    var generator = SeededGenerator(
      seed: seed, stream: UInt64(1 + state.iteration / batches))
    let first = state.iteration % batches * size
    return Array(generator.shuffled(training)[first..<first + size])
  }

  private mutating func iterate() -> Double {
    var residuals = gather(batch())
    let encoded = encoder().encode(prepared: &residuals)
    let rate = currentRate, steps = state.iteration, table = kernels.table
    state.levels.withUnsafeMutableBufferPointer { levels in
      residuals.withUnsafeBufferPointer { residuals in
        let shared = SharedBatch(levels: levels.baseAddress!, residuals: residuals.baseAddress!)
        concurrently(levels.count, threads: threads) { i in
          shared.levels[i].step(
            i, encoded, shared.residuals, rate: rate, steps: steps, table)
        }
      }
    }
    return encoded.loss.last!
  }

  /// Gauss and Seidel's sweep over the levels: each takes the codewords that leave the least while
  /// the others' stay.
  private mutating func refit() {
    var residuals = gather(training.prefix(Self.refitRows))
    let encoded = encoder().encode(prepared: &residuals)
    residuals.withUnsafeMutableBufferPointer { residuals in
      for i in state.levels.indices {
        state.levels[i].refitCodewords(i, encoded, residuals.baseAddress!, kernels.table)
      }
      for i in state.levels.indices {
        state.levels[i].refitTransform(i, encoded, residuals.baseAddress!, kernels.table)
      }
    }
    for i in state.levels.indices { state.levels[i].normalize() }
  }

  /// Measures the held-out rows, and keeps the levels if they never did better.
  private mutating func judge() {
    var rows = gather(held)
    let loss = encoder().encode(prepared: &rows).loss.last!
    if loss < state.bestLoss { (state.bestLoss, state.best) = (loss, state.levels.map(\.level)) }
    if loss < 0.999 * state.markedLoss {
      (state.markedLoss, state.checksWithoutGain) = (loss, 0)
    }
  }
}

/// What training by gradients goes on from.
struct AdamState: Sendable, Equatable {
  var levels: [AdamLevel]
  /// Iterations done.
  var iteration = 0
  /// The levels that did best on the held-out rows, and their loss.
  var best: [Codebook.Level] = []
  var bestLoss = Double.infinity
  /// The loss that has to be undercut by a thousandth, and how often it was not.
  var markedLoss = Double.infinity
  var checksWithoutGain = 0

  init(levels: [AdamLevel]) { self.levels = levels }
}

/// `½(1 + cos πx)` for x from 0 to 1, by a polynomial: libraries differ in the last digit.
private func cosineFall(_ x: Double) -> Double {
  let angle = (x - 0.5) * 3.141592653589793
  let square = angle * angle
  let sine =
    angle
    * (1 - square / 6 * (1 - square / 20 * (1 - square / 42 * (1 - square / 72))))
  return min(max(0.5 * (1 - sine), 0), 1)
}

/// What the threads of a step share: each changes a level of its own.
private struct SharedBatch: @unchecked Sendable {
  let levels: UnsafeMutablePointer<AdamLevel>
  let residuals: UnsafePointer<Float>
}
