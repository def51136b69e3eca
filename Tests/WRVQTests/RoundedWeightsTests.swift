import TestSupport
import Testing

@testable import WRVQ

/// Whether rounding weights costs no more than `wrvq_reference.py check` allows, on rows that training
/// has not seen: against the same codewords with weights of 16 bits, whose choices twins test.
@Suite struct RoundedWeightsTests {
  private static let d = 24
  /// What weights of so many bits may cost.
  private static let slack = [16: 1.002, 8: 1.003, 4: 1.006, 3: 1.01, 2: 1.04]

  private static func train(
    _ rows: [Float], _ levels: String, _ metric: Codebook.Metric, _ rule: Codebook.WeightRule,
    _ bits: Int, _ adam: AdamConfiguration? = nil
  ) throws -> Codebook {
    try CodebookTrainer.train(
      sample: rows, dimensions: d,
      configuration: TrainingConfiguration(
        metric: metric, levels: LevelSpecification.parse(levels), weightRule: rule,
        weightBits: bits, iterations: 3, adam: adam, seed: 2, threads: 2))
  }

  /// What rounding multiplies the loss by.
  private static func cost(
    _ codebook: Codebook, _ rows: [Float], beam: Int = 1, refit: Bool = false
  ) throws -> Double {
    var exact = codebook
    for i in exact.levels.indices {
      (exact.levels[i].weightBits, exact.levels[i].weights) = (16, nil)
    }
    let reference = try Codebook.Encoder(exact).encode(rows).loss.last!
    let rounded = try Codebook.Encoder(codebook, beam: beam, refitsWeights: refit).encode(rows)
    return rounded.loss.last! / reference
  }

  /// Rows to train on and others, all of much the same length.
  private static let plain = rows(
    SeededVectors.spectrum(
      1400, deviations: (0..<d).map { 1 / Float(1 + $0 / 6) }, seed: 8))

  /// The same with lengths from a tenth to ten times that.
  private static let scaled = {
    var numbers = TestNumbers(seed: 9)
    let lengths = (0..<1400).map { _ in
      let x = numbers.normal()
      return (0..<64).reduce(Float(1)) { value, _ in value * (1 + x / 128) }
    }
    let all = plain.training + plain.test
    return rows(all.enumerated().map { $1 * lengths[$0 / d] })
  }()

  private static func rows(_ all: [Float]) -> (training: [Float], test: [Float]) {
    (Array(all[..<(1000 * d)]), Array(all[(1000 * d)...]))
  }

  @Test(
    arguments: [8, 4, 3, 2], [Codebook.WeightRule.projection, .norm])
  func roundingCostsLittle(_ bits: Int, _ rule: Codebook.WeightRule) throws {
    for levels in ["flat:8,flat:16,flat:16", "flat:8,flat:16,product:4"] {
      for metric in Codebook.Metric.allCases {
        let codebook = try Self.train(Self.plain.training, levels, metric, rule, bits)
        #expect(try Self.cost(codebook, Self.plain.test) <= Self.slack[bits]!)
        #expect(try Self.cost(codebook, Self.plain.test, beam: 3, refit: true) <= Self.slack[bits]!)
      }
      let adam = AdamConfiguration(iterations: 5, batchRows: 256)
      let codebook = try Self.train(Self.plain.training, levels, .l2, rule, bits, adam)
      #expect(try Self.cost(codebook, Self.plain.test) <= Self.slack[bits]!)
    }
  }

  /// Eight bits are enough for any lengths.
  @Test(arguments: [Codebook.WeightRule.projection, .norm])
  func lengthsMayDiffer(_ rule: Codebook.WeightRule) throws {
    for levels in ["flat:8,flat:16,flat:16", "flat:8,flat:16,product:4"] {
      for adam in [nil, AdamConfiguration(iterations: 5, batchRows: 256)] {
        let codebook = try Self.train(Self.scaled.training, levels, .l2, rule, 8, adam)
        #expect(try Self.cost(codebook, Self.scaled.test) <= Self.slack[8]!)
      }
    }
  }
}
