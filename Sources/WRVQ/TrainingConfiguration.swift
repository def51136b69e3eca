import Foundation

/// How to train a codebook.
public struct TrainingConfiguration: Sendable {
  public var metric: Codebook.Metric
  /// The levels; the first is flat, a product level can only be the last.
  public var levels: [LevelSpecification]
  /// The weights of all levels but the first.  Projection loses least (DESIGN §2).
  public var weightRule: Codebook.WeightRule
  /// Bits of a stored weight: 16 (a half), 8, 4, 3 or 2.  With fewer than 16, every level gets
  /// `2^weightBits` values that its weights can take; four bits lose next to nothing (DESIGN §2).
  public var weightBits: Int
  /// k-means iterations a level, 1…100.  Ten are within one per cent of convergence.
  public var iterations: Int
  /// Train all levels together by gradients, once they are trained one by one; nil for not.
  public var adam: AdamConfiguration?
  /// The same sample, configuration and seed give the same codebook.
  public var seed: UInt64
  /// Threads to train with; the codebook does not depend on them.
  public var threads: Int

  /// Rows of a sample of `count` that codewords are trained on: all but those held out.
  public func trainingRows(of count: Int) -> Int {
    adam == nil ? count : count - AdamTrainer.heldRows(of: count)
  }

  public init(
    metric: Codebook.Metric, levels: [LevelSpecification],
    weightRule: Codebook.WeightRule = .projection, weightBits: Int = 16, iterations: Int = 10,
    adam: AdamConfiguration? = nil, seed: UInt64 = 1,
    threads: Int = ProcessInfo.processInfo.activeProcessorCount
  ) {
    self.metric = metric
    self.levels = levels
    self.weightRule = weightRule
    self.weightBits = weightBits
    self.iterations = iterations
    self.adam = adam
    self.seed = seed
    self.threads = threads
  }
}
