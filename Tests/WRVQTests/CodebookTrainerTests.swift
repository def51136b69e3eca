import TestSupport
import Testing
import WRVQ

@Suite struct CodebookTrainerTests {
  private static func configuration(
    _ levels: String = "flat:6,flat:8,product:4", _ metric: Codebook.Metric = .l2
  ) throws -> TrainingConfiguration {
    try TrainingConfiguration(
      metric: metric, levels: LevelSpecification.parse(levels), iterations: 3, threads: 1)
  }

  private static func train(
    _ sample: [Float], _ dimensions: Int, _ configuration: TrainingConfiguration
  ) throws -> Codebook {
    try CodebookTrainer.train(
      sample: sample, dimensions: dimensions, configuration: configuration)
  }

  @Test(arguments: Codebook.Metric.allCases)
  func aCodebookHasTheLevelsAskedFor(_ metric: Codebook.Metric) throws {
    let codebook = try Self.train(
      SeededVectors.clustered(120, 10), 10, Self.configuration("flat:6,flat:8,product:4", metric))
    #expect(codebook.metric == metric && codebook.dimensions == 10)
    #expect(
      codebook.levels.map(\.kind) == [
        .flat(count: 6), .flat(count: 8), .product(pieces: 3, pieceDimensions: 4),
      ])
    #expect(codebook.levels.map(\.weightRule) == [.one, .projection, .projection])
    #expect(codebook.levels.map(\.weightBits) == [16, 16, 16])
    #expect(codebook.levels.map(\.codewords.count) == [60, 80, 192])
    #expect(codebook.levels.map(\.transform?.count) == [nil, nil, 100])
    #expect(codebook.loss.count == 3)
    #expect(codebook.loss[0] >= codebook.loss[1] && codebook.loss[1] >= codebook.loss[2])
  }

  @Test func threadsDoNotChangeTheCodebook() throws {
    let sample = SeededVectors.clustered(150, 9)
    var configuration = try Self.configuration()
    let expected = try Self.train(sample, 9, configuration)
    for threads in [2, 5] {
      configuration.threads = threads
      #expect(try Self.train(sample, 9, configuration) == expected)
    }
  }

  @Test func theSeedDecides() throws {
    let sample = SeededVectors.clustered(150, 9)
    var configuration = try Self.configuration()
    let first = try Self.train(sample, 9, configuration)
    #expect(try Self.train(sample, 9, configuration) == first)
    configuration.seed = 2
    #expect(try Self.train(sample, 9, configuration) != first)
  }

  @Test func progressIsReportedInOrder() throws {
    var reports: [TrainingProgress] = []
    _ = try CodebookTrainer.train(
      sample: SeededVectors.clustered(150, 9), dimensions: 9, configuration: Self.configuration()
    ) { reports.append($0) }
    #expect(reports.first?.fraction == 0 && reports.last?.fraction == 1)
    #expect(reports.last?.level == 3 && reports.last?.losses.count == 3)
    #expect(reports.count <= 102)
    for (before, after) in zip(reports, reports.dropFirst()) {
      #expect(before.fraction <= after.fraction && before.level <= after.level)
    }
  }

  // MARK: Scale

  @Test(arguments: [Float(1e-20), 1e-3, 1, 7, 1e6, 1e25])
  func theScaleIsAPowerOfTwoThatBringsLengthsNearOne(_ size: Float) throws {
    let sample = SeededVectors.clustered(60, 6).map { $0 * size }
    let codebook = try Self.train(sample, 6, Self.configuration())
    #expect(codebook.scale.significand == 1)
    let lengths = stride(from: 0, to: sample.count, by: 6).map { start in
      length(sample[start..<start + 6].map { Double($0 * codebook.scale) })
    }
    let mean = lengths.reduce(0, +) / 60
    #expect(mean > 0.7 && mean < 1.42)
    #expect(codebook.loss.allSatisfy { $0.isFinite && $0 < 4 })
  }

  @Test func cosineIgnoresLengthsAndSkipsZeroRows() throws {
    let sample = SeededVectors.clustered(80, 6)
    let configuration = try Self.configuration("flat:6,flat:8,product:4", .cosine)
    let expected = try Self.train(sample, 6, configuration)
    #expect(expected.scale == 1)
    var other: [Float] = []
    for (row, start) in stride(from: 0, to: sample.count, by: 6).enumerated() {
      if row % 7 == 3 { other += [0, 0, 0, 0, 0, 0] }
      other += sample[start..<start + 6].map { $0 * (row % 2 == 0 ? 8 : 0.5) }
    }
    #expect(try Self.train(other, 6, configuration) == expected)
  }

  // MARK: Odd samples

  /// Duplicates, constant dimensions, zeros, fewer rows than codewords, seven dimensions for pieces of
  /// four: each gives a codebook that encodes them, and others.
  @Test(arguments: [16, 8, 2], Codebook.Metric.allCases)
  func oddSamplesMakeCodebooksToo(_ bits: Int, _ metric: Codebook.Metric) throws {
    let constant = (0..<150).flatMap { row -> [Float] in
      [1, Float(row % 7), 0, 0, Float(row % 5), 0, 2]
    }
    let zeros = [Float](repeating: 0, count: 7 * 40)
    let others = SeededVectors.clustered(20, 7)
    for sample in [
      SeededVectors.repeated([3, 1, 0, 0, 2, 0, 1], 60), constant, constant + zeros, zeros,
      Array(constant.prefix(7)), Array(constant.prefix(21)),
    ] where metric != .cosine || sample != zeros {
      var configuration = try Self.configuration("flat:9,flat:9,product:4", metric)
      configuration.weightBits = bits
      let codebook = try Self.train(sample, 7, configuration)
      try codebook.validate()
      #expect(codebook.loss.allSatisfy { $0.isFinite })
      for rows in [sample, others] {
        let encoded = try Codebook.Encoder(codebook).encode(rows)
        #expect(encoded.weights.allSatisfy(\.isFinite) && encoded.loss.allSatisfy(\.isFinite))
        #expect(try Codebook.Decoder(codebook).decode(encoded).allSatisfy(\.isFinite))
      }
    }
  }

  // MARK: Errors

  @Test(arguments: [Float.nan, .infinity, -.infinity])
  func whatIsNotFiniteIsLocated(_ value: Float) throws {
    var sample = SeededVectors.clustered(20, 6)
    sample[13 * 6 + 4] = value
    let configuration = try Self.configuration()
    #expect(throws: TrainingError.notFinite(row: 13, dimension: 4)) {
      try Self.train(sample, 6, configuration)
    }
  }

  @Test func zeroVectorsHaveNoCosine() throws {
    let configuration = try Self.configuration("flat:6", .cosine)
    #expect(throws: TrainingError.zeroVector(row: 0)) {
      try Self.train([Float](repeating: 0, count: 12), 3, configuration)
    }
  }

  @Test func wrongSizesAreRefused() throws {
    let configuration = try Self.configuration()
    #expect(throws: TrainingError.emptySample) { try Self.train([], 6, configuration) }
    #expect(throws: TrainingError.sampleSize(values: 7, dimensions: 6)) {
      try Self.train([1, 2, 3, 4, 5, 6, 7], 6, configuration)
    }
    #expect(throws: TrainingError.dimensions(0, expected: 1...16000)) {
      try Self.train([1], 0, configuration)
    }
    #expect(throws: TrainingError.dimensions(16001, expected: 1...16000)) {
      try Self.train([1], 16001, configuration)
    }
    for pieces in [4, 7] {
      #expect(throws: TrainingError.pieceTooLarge(pieceDimensions: pieces, dimensions: 3)) {
        try Self.train([1, 2, 3], 3, Self.configuration("flat:2,product:\(pieces)"))
      }
    }
  }

  @Test func badConfigurationsAreRefused() throws {
    func expect(_ error: TrainingError, _ change: (inout TrainingConfiguration) -> Void) throws {
      var configuration = try Self.configuration()
      change(&configuration)
      #expect(throws: error) { try Self.train([1, 2, 3, 4], 4, configuration) }
    }
    try expect(.iterations(0, expected: 1...100)) { $0.iterations = 0 }
    try expect(.iterations(101, expected: 1...100)) { $0.iterations = 101 }
    try expect(.threads(0)) { $0.threads = 0 }
    try expect(.levelCount(0, expected: 1...16)) { $0.levels = [] }
    try expect(.firstLevelNotFlat("product:2")) {
      $0.levels = [LevelSpecification(.product(pieceDimensions: 2))]
    }
  }
}
