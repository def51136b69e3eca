import TestSupport
import Testing
import WRVQ

@Suite struct WeightBitsTests {
  private static func train(
    _ sample: [Float], _ levels: String, bits: Int, rule: Codebook.WeightRule = .projection,
    threads: Int = 1, kernels: Kernels = .best
  ) throws -> Codebook {
    try CodebookTrainer.train(
      sample: sample, dimensions: 8,
      configuration: TrainingConfiguration(
        metric: .l2, levels: LevelSpecification.parse(levels), weightRule: rule, weightBits: bits,
        iterations: 4, threads: threads),
      kernels: kernels)
  }

  private static let levels = "flat:5,flat:8,flat:8,product:4"

  @Test(arguments: [8, 4, 3, 2], [Codebook.WeightRule.projection, .norm])
  func everyLevelHasItsGrid(_ bits: Int, _ rule: Codebook.WeightRule) throws {
    let sample = SeededVectors.clustered(400, 8)
    for kernels in Kernels.supported {
      let codebook = try Self.train(sample, Self.levels, bits: bits, rule: rule, kernels: kernels)
      try codebook.validate()
      #expect(codebook.levels.map(\.weightBits) == [16, bits, bits, bits])
      #expect(codebook.levels[0].weights == nil)
      for level in codebook.levels.dropFirst() {
        let grid = try #require(level.weights)
        #expect(grid.count == 1 << bits && grid == grid.sorted())
        #expect(grid.allSatisfy { $0 == EncoderSample.half($0) && $0 > 0 && $0 < 5 })
      }
    }
  }

  /// Of one level with weights, so that all codebooks have the same codewords.
  @Test(arguments: ["flat:5,flat:8", "flat:5,product:4"]) func bitsCostLittle(
    _ levels: String
  ) throws {
    let sample = SeededVectors.clustered(2000, 8)
    let codebooks = try [16, 8, 4, 3, 2].map { try Self.train(sample, levels, bits: $0) }
    for (codebook, most) in zip(codebooks, [1, 1.001, 1.02, 1.1, 1.4]) {
      #expect(codebook.levels.map(\.codewords) == codebooks[0].levels.map(\.codewords))
      #expect(codebook.loss[1] <= most * codebooks[0].loss[1])
    }
    let losses = codebooks.map { $0.loss[1] }
    #expect(losses[1] < losses[2] && losses[2] < losses[3] && losses[3] < losses[4])
  }

  @Test func theFirstLevelsDoNotDependOnBits() throws {
    let sample = SeededVectors.clustered(300, 8)
    let one = try Self.train(sample, Self.levels, bits: 2)
    let other = try Self.train(sample, Self.levels, bits: 16)
    for level in 0...1 {
      #expect(one.levels[level].codewords == other.levels[level].codewords)
    }
    // But from the second residual on they do: the loop is closed.
    #expect(one.levels[2].codewords != other.levels[2].codewords)
  }

  /// Weights of four values make a grid of two bits exactly, and lose nothing.
  @Test func aGridFindsTheValuesThatThereAre() throws {
    var sample: [Float] = []
    for row in 0..<64 {
      var x = [Float](repeating: 0, count: 8)
      x[row % 8] = [0.5, 1, 1.25, 2][row / 8 % 4] * (row < 32 ? 1 : -1)
      sample += x
    }
    let codebook = try Self.train(sample, "flat:1,flat:16", bits: 2)
    #expect(codebook.loss[1] < 1e-6)
    let grid = try #require(codebook.levels[1].weights)
    let scaled: [Float] = [0.5, 1, 1.25, 2].map { $0 * codebook.scale }
    #expect(zip(grid, scaled).allSatisfy { abs($0 - $1) < 1e-3 })
  }

  @Test func equalWeightsAreNoTrouble() throws {
    let sample = SeededVectors.repeated([3, 1, 0, 0, 2, 0, 0, 1], 20)
    let codebook = try Self.train(sample, Self.levels, bits: 8)
    try codebook.validate()
    #expect(codebook.loss.allSatisfy { $0 < 1e-6 })
    let one = try Self.train(Array(sample.prefix(8)), Self.levels, bits: 2)
    #expect(one.loss.allSatisfy { $0 < 1e-6 })
  }

  @Test func threadsDoNotChangeTheCodebook() throws {
    let sample = SeededVectors.clustered(700, 8)
    let expected = try Self.train(sample, Self.levels, bits: 4)
    for threads in [2, 5] {
      #expect(try Self.train(sample, Self.levels, bits: 4, threads: threads) == expected)
    }
  }

  @Test(arguments: [0, 1, 5, 7, 15, 17, -4]) func otherNumbersOfBitsAreRefused(_ bits: Int) {
    #expect(throws: TrainingError.weightBits(bits)) {
      try Self.train(SeededVectors.clustered(10, 8), "flat:2", bits: bits)
    }
  }
}
