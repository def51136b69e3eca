/// How to train a codebook further by gradient descent (WRVQ paper, "T").
public struct AdamConfiguration: Sendable, Equatable {
  /// Mini-batches: 1…100,000; fewer if the loss on held-out rows stops falling.
  public var iterations: Int
  /// Of the first iteration, above 0 and at most 1; it falls to a hundredth along a cosine.
  public var learningRate: Float
  /// Rows of a mini-batch, at least 1.
  public var batchRows: Int
  /// Ways of coding a row that are kept while its codes are searched, 1…256.
  public var beam: Int
  /// A file that keeps the state every `checkInterval` iterations; one that is there is gone on
  /// from.
  public var checkpoint: String?

  /// Iterations between linear refits, each with a look at the held-out rows.
  static let checkInterval = 100

  public init(
    iterations: Int = 1000, learningRate: Float = 0.001, batchRows: Int = 4096, beam: Int = 2,
    checkpoint: String? = nil
  ) {
    self.iterations = iterations
    self.learningRate = learningRate
    self.batchRows = batchRows
    self.beam = beam
    self.checkpoint = checkpoint
  }

  func check() throws {
    guard (1...100_000).contains(iterations) else {
      throw TrainingError.iterations(iterations, expected: 1...100_000)
    }
    guard learningRate > 0, learningRate <= 1 else {
      throw TrainingError.learningRate(learningRate)
    }
    guard batchRows >= 1 else { throw TrainingError.batchRows(batchRows) }
    guard (1...256).contains(beam) else { throw TrainingError.beam(beam, expected: 1...256) }
  }
}
