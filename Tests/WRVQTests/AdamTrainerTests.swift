import Foundation
import TestSupport
import Testing

@testable import WRVQ

@Suite struct AdamTrainerTests {
  private static func configuration(
    _ levels: String = "flat:6,flat:8,flat:8,product:4", _ adam: AdamConfiguration? = nil,
    metric: Codebook.Metric = .l2, rule: Codebook.WeightRule = .projection, bits: Int = 16,
    threads: Int = 2
  ) throws -> TrainingConfiguration {
    try TrainingConfiguration(
      metric: metric, levels: LevelSpecification.parse(levels), weightRule: rule, weightBits: bits,
      iterations: 3, adam: adam, seed: 3, threads: threads)
  }

  private static func adam(_ iterations: Int = 30) -> AdamConfiguration {
    AdamConfiguration(iterations: iterations, learningRate: 0.01, batchRows: 128)
  }

  private static func train(
    _ sample: [Float], _ configuration: TrainingConfiguration, dimensions: Int = 14
  ) throws -> Codebook {
    try CodebookTrainer.train(
      sample: sample, dimensions: dimensions, configuration: configuration)
  }

  /// Vectors whose levels depend on each other, and others of the same kind.
  private static func vectors(_ rows: Int) -> (training: [Float], test: [Float]) {
    let all = SeededVectors.spectrum(
      rows + 500, deviations: (0..<14).map { 1 / Float(1 + $0 / 2) }, seed: 5)
    return (Array(all[..<(rows * 14)]), Array(all[(rows * 14)...]))
  }

  private static func loss(_ codebook: Codebook, _ rows: [Float]) throws -> Double {
    try Codebook.Encoder(codebook, beam: 4, refitsWeights: true).encode(rows).loss.last!
  }

  // MARK: It learns

  /// A single step of no length is the codebook that training by gradients begins with.
  private static let still = AdamConfiguration(iterations: 1, learningRate: 1e-9)

  @Test(arguments: [
    (Codebook.Metric.l2, Codebook.WeightRule.projection), (.ip, .norm), (.cosine, .projection),
  ]) func unseenVectorsLoseLess(_ metric: Codebook.Metric, _ rule: Codebook.WeightRule) throws {
    let (training, test) = Self.vectors(2000)
    // Of normal numbers a product level trained alone is as good as it gets.
    for (levels, most) in [
      ("flat:6,flat:8,flat:8,flat:8", 0.985), ("flat:6,flat:8,product:4", 1.02),
    ] {
      let before = try Self.train(
        training, Self.configuration(levels, Self.still, metric: metric, rule: rule))
      let after = try Self.train(
        training, Self.configuration(levels, Self.adam(200), metric: metric, rule: rule))
      try after.validate()
      #expect(after.levels.map(\.kind) == before.levels.map(\.kind))
      #expect(after.metric == before.metric && after.scale == before.scale)
      let (l, t) = (try Self.loss(before, test), try Self.loss(after, test))
      #expect(t < most * l, "\(levels): \(l) before, \(t) after")
    }
  }

  @Test(arguments: Codebook.Level.weightBitsChoices) func weightsAreRounded(
    _ bits: Int
  ) throws {
    let (training, test) = Self.vectors(1000)
    let codebook = try Self.train(
      training, Self.configuration("flat:6,flat:8,product:4", Self.adam(), bits: bits))
    try codebook.validate()
    #expect(codebook.levels.map(\.weightBits) == [16, bits, bits])
    #expect(
      codebook.levels.map { $0.weights?.count }
        == (bits == 16 ? [nil, nil, nil] : [nil, 1 << bits, 1 << bits]))
    // Rounding costs what it must; the codes that suit the rounded weights are found.
    let whole = try Self.train(
      training, Self.configuration("flat:6,flat:8,product:4", Self.adam()))
    let most = [16: 1.001, 8: 1.03, 4: 1.05, 3: 1.1, 2: 1.25][bits]!
    let (rounded, exact) = (try Self.loss(codebook, test), try Self.loss(whole, test))
    #expect(rounded <= most * exact, "\(exact) with 16 bits, \(rounded) with \(bits)")
  }

  @Test func directionsAreUnitAndTransformsOrthogonal() throws {
    let codebook = try Self.train(
      Self.vectors(600).training, Self.configuration("flat:6,flat:8,product:4", Self.adam(100)))
    for start in stride(from: 0, to: 8 * 14, by: 14) {
      let row = codebook.levels[1].codewords[start..<start + 14].map(Double.init)
      #expect(abs(length(row) - 1) < 1e-3)
    }
    let transform = try #require(codebook.levels[2].transform)
    #expect(TransformBlocks(dense: transform, dimensions: 14).deviation < 2e-3)
    for level in codebook.levels {
      #expect(level.codewords.allSatisfy { $0 == EncoderSample.half($0) })
    }
  }

  @Test func theReportedLossIsThatOfTheSample() throws {
    let sample = Self.vectors(700).training
    let codebook = try Self.train(
      sample, Self.configuration("flat:6,flat:8,product:4", Self.adam(), bits: 4))
    let found = try Codebook.Encoder(codebook).encode(sample).loss
    for (a, b) in zip(found, codebook.loss) { #expect(abs(a - b) < 1e-6 * a) }
  }

  // MARK: Repeatability

  @Test func threadsDoNotChangeTheCodebook() throws {
    let sample = Self.vectors(500).training
    let expected = try Self.train(
      sample, Self.configuration("flat:6,flat:8,product:4", Self.adam(), threads: 1))
    for threads in [2, 5] {
      let found = try Self.train(
        sample, Self.configuration("flat:6,flat:8,product:4", Self.adam(), threads: threads))
      #expect(found == expected)
    }
    var other = try Self.configuration("flat:6,flat:8,product:4", Self.adam())
    other.seed = 4
    #expect(try Self.train(sample, other) != expected)
  }

  /// Training that breaks off after its first hundred iterations ends as if it had not.
  @Test func aCheckpointIsGoneOnFrom() throws {
    let folder = URL(fileURLWithPath: NSTemporaryDirectory() + "wrvq-\(UUID().uuidString)")
    try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: false)
    defer { try? FileManager.default.removeItem(at: folder) }
    let path = folder.appendingPathComponent("state").path
    let sample = Self.vectors(400).training
    var adam = Self.adam(130)
    let expected = try Self.train(sample, Self.configuration("flat:6,flat:8,product:4", adam))
    adam.checkpoint = path
    // The process ends in the second hundred: the file is of the first.
    struct Broken: Error {}
    let configuration = try Self.configuration("flat:6,flat:8,product:4", adam)
    let interrupted = path + ".interrupted"
    _ = try CodebookTrainer.train(sample: sample, dimensions: 14, configuration: configuration) {
      if let descent = $0.descent, descent.iteration == 101 {
        try? FileManager.default.copyItem(atPath: path, toPath: interrupted)
      }
    }
    try FileManager.default.removeItem(atPath: path)
    try FileManager.default.moveItem(atPath: interrupted, toPath: path)
    var iterations: [Int] = []
    let resumed = try CodebookTrainer.train(
      sample: sample, dimensions: 14, configuration: configuration
    ) { iterations.append($0.descent?.iteration ?? -1) }
    #expect(resumed == expected)
    #expect(iterations.first == 101 && iterations.last == 130)
    // Of other vectors or options it is refused.
    var other = adam
    other.iterations = 131
    #expect(throws: TrainingError.otherCheckpoint("iterations 130; expected 131")) {
      try Self.train(sample, Self.configuration("flat:6,flat:8,product:4", other))
    }
    let fewer = Array(sample.dropLast(14))
    #expect(throws: TrainingError.self) {
      try Self.train(fewer, Self.configuration("flat:6,flat:8,product:4", adam))
    }
    try Data("no checkpoint".utf8).write(to: URL(fileURLWithPath: path))
    #expect(throws: FileError.self) {
      try Self.train(sample, Self.configuration("flat:6,flat:8,product:4", adam))
    }
  }

  // MARK: Bad and odd input

  @Test func oddSamplesMakeCodebooksToo() throws {
    let constant = (0..<300).flatMap { row -> [Float] in
      [1, Float(row % 7), 0, 0, Float(row % 5), 0, 2]
    }
    for sample in [
      SeededVectors.repeated([3, 1, 0, 0, 2, 0, 1], 150), constant, Array(constant.prefix(7)),
      [Float](repeating: 0, count: 7 * 120),
    ] {
      let codebook = try CodebookTrainer.train(
        sample: sample, dimensions: 7,
        configuration: Self.configuration("flat:9,flat:9,product:4", Self.adam(20)))
      try codebook.validate()
      #expect(codebook.loss.allSatisfy { $0.isFinite })
    }
  }

  @Test func badConfigurationsAreRefused() throws {
    func expect(_ error: TrainingError, _ change: (inout AdamConfiguration) -> Void) throws {
      var adam = Self.adam()
      change(&adam)
      let configuration = try Self.configuration("flat:2", adam)
      #expect(throws: error) { try Self.train([Float](repeating: 1, count: 14), configuration) }
    }
    try expect(.iterations(0, expected: 1...100_000)) { $0.iterations = 0 }
    try expect(.learningRate(0)) { $0.learningRate = 0 }
    try expect(.learningRate(1.5)) { $0.learningRate = 1.5 }
    try expect(.batchRows(0)) { $0.batchRows = 0 }
    try expect(.beam(257, expected: 1...256)) { $0.beam = 257 }
  }

  @Test(arguments: [
    ("flat:256,flat:256,flat:256,flat:256", Float(0.01)), ("flat:512,flat:256,flat:256", 0.001),
    ("flat:256,flat:256,flat:256,flat:256,product:4", 0.01),
    ("flat:256,flat:256,flat:256,flat:255", 0.001), ("flat:256,flat:256,product:4", 0.001),
  ])
  func theLearningRateSuitsTheLevels(_ levels: String, _ expected: Float) throws {
    let levels = try Self.configuration(levels, Self.adam()).levels
    #expect(AdamConfiguration().rate(levels) == expected)
    #expect(AdamConfiguration(learningRate: 0.5).rate(levels) == 0.5)
  }

  @Test func progressCountsIterations() throws {
    var iterations: [Int] = []
    _ = try CodebookTrainer.train(
      sample: Self.vectors(200).training, dimensions: 14,
      configuration: Self.configuration("flat:4,flat:4", Self.adam(12))
    ) { if let descent = $0.descent { iterations.append(descent.iteration) } }
    #expect(iterations == Array(1...12))
  }
}
