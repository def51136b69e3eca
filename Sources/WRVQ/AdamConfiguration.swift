/// How to train a codebook further by gradient descent (WRVQ paper, "T").
public struct AdamConfiguration: Sendable, Equatable {
  /// Mini-batches: 1…100,000; fewer if the loss on held-out rows stops falling.
  public var iterations: Int
  /// Of the first iteration, above 0 and at most 1; it falls to a hundredth along a cosine.  nil: by
  /// the levels, see `rate`.
  public var learningRate: Float?
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
    iterations: Int = 1000, learningRate: Float? = nil, batchRows: Int = 4096, beam: Int = 2,
    checkpoint: String? = nil
  ) {
    self.iterations = iterations
    self.learningRate = learningRate
    self.batchRows = batchRows
    self.beam = beam
    self.checkpoint = checkpoint
  }

  /// The learning rate for these levels: from four flat ones of 256 codewords up 0.01, as the paper
  /// has it, else 0.001.
  ///
  /// On text embeddings 300 iterations for 4 × 256 end at a loss of .409 with 0.01 and .417 with
  /// 0.001, 200 for 16 × 256 at .197 and .222.
  func rate(_ levels: [LevelSpecification]) -> Float {
    let large = levels.filter { level in
      if case .flat(let codewords) = level.kind { codewords >= 256 } else { false }
    }
    return learningRate ?? (large.count >= 4 ? 0.01 : 0.001)
  }

  func check() throws {
    guard (1...100_000).contains(iterations) else {
      throw TrainingError.iterations(iterations, expected: 1...100_000)
    }
    if let learningRate, !(learningRate > 0 && learningRate <= 1) {
      throw TrainingError.learningRate(learningRate)
    }
    guard batchRows >= 1 else { throw TrainingError.batchRows(batchRows) }
    guard (1...256).contains(beam) else { throw TrainingError.beam(beam, expected: 1...256) }
  }
}
