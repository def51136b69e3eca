import TestSupport
import Testing
import WRVQ

@Suite struct BeamEncoderTests {
  private static func encode(
    _ rows: [Float], _ codebook: Codebook, beam: Int, refit: Bool = false, threads: Int = 2,
    kernels: Kernels = .best
  ) throws -> EncodedVectors {
    try Codebook.Encoder(
      codebook, beam: beam, refitsWeights: refit, threads: threads, kernels: kernels
    ).encode(rows)
  }

  private static func row(_ rows: [Float], _ row: Int, _ d: Int = 10) -> ArraySlice<Float> {
    rows[row * d..<(row + 1) * d]
  }

  // MARK: The twin

  @Test(arguments: Codebook.WeightRule.allCases, Codebook.Metric.allCases)
  func theBestPathIsFound(_ rule: Codebook.WeightRule, _ metric: Codebook.Metric) throws {
    for (seed, bits) in Codebook.Level.weightBitsChoices.enumerated() {
      let codebook = EncoderSample.codebook(
        metric: metric, rule: rule, bits: bits, seed: UInt64(seed))
      let rows = EncoderSample.rows(7), width = [2, 3, 5, 8, 4][seed]
      let encoded = try Self.encode(rows, codebook, beam: width, refit: false)
      let twin = BeamTwin(codebook: codebook, width: width)
      for row in 0..<7 {
        let x = Self.row(rows, row)
        let expected = twin.paths(x)[0].loss
        let found = twin.loss(x, encoded.codes(row: row), encoded.weights(row: row))
        #expect(abs(found - expected) <= 2e-3 * expected + 1e-6, "\(bits) bits, row \(row)")
      }
    }
  }

  @Test(arguments: [1, 2, 3, 5, 8, 13, 33]) func anyNumberOfDimensionsWorks(d: Int) throws {
    for kernels in Kernels.supported {
      let codebook = EncoderSample.codebook(dimensions: d, bits: 4)
      let rows = EncoderSample.rows(9, dimensions: d)
      let encoded = try Self.encode(rows, codebook, beam: 4, refit: true, kernels: kernels)
      let twin = BeamTwin(codebook: codebook, width: 4)
      for row in 0..<9 {
        let x = Self.row(rows, row, d)
        let found = twin.loss(x, encoded.codes(row: row), encoded.weights(row: row))
        #expect(found <= twin.paths(x)[0].loss * 1.002 + 1e-6)
      }
    }
  }

  // MARK: Refit

  /// Weights of 16 bits lose nothing to rounding: what is left is what must be.
  @Test(arguments: [Codebook.WeightRule.projection, .norm], Codebook.Metric.allCases)
  func refittedWeightsAreTheBest(_ rule: Codebook.WeightRule, _ metric: Codebook.Metric) throws {
    let codebook = EncoderSample.codebook(metric: metric, rule: rule)
    let rows = EncoderSample.rows(30)
    let twin = BeamTwin(codebook: codebook, width: 1)
    for beam in [1, 4] {
      let encoded = try Self.encode(rows, codebook, beam: beam, refit: true)
      for row in 0..<30 {
        let x = Self.row(rows, row), codes = encoded.codes(row: row)
        let found = twin.loss(x, codes, encoded.weights(row: row))
        #expect(found <= twin.leastLoss(x, codes) * 1.01 + 1e-5, "row \(row)")
      }
    }
  }

  /// Of two weights of two bits all sixteen pairs can be tried.
  @Test func roundedWeightsAreNearlyTheBest() throws {
    let sample = SeededVectors.clustered(400, 12)
    let codebook = try CodebookTrainer.train(
      sample: sample, dimensions: 12,
      configuration: TrainingConfiguration(
        metric: .l2, levels: LevelSpecification.parse("flat:5,flat:9,flat:9"), weightBits: 2,
        iterations: 4))
    let encoded = try Self.encode(sample, codebook, beam: 1, refit: true)
    let twin = BeamTwin(codebook: codebook, width: 1)
    let grids = try codebook.levels.dropFirst().map { try #require($0.weights).map(Double.init) }
    var best = 0
    for row in 0..<400 {
      let x = Self.row(sample, row, 12), codes = encoded.codes(row: row)
      let found = twin.loss(x, codes, encoded.weights(row: row))
      let least = grids[0].flatMap { a in grids[1].map { twin.loss(x, codes, [1, a, $0]) } }.min()!
      #expect(encoded.weights(row: row)[0] == 1 && found <= least * 1.3 + 1e-6)
      best += found <= least * 1.0001 + 1e-6 ? 1 : 0
    }
    #expect(best >= 380)
  }

  /// With nothing but a refit the codes are the greedy ones, and no row gets worse.
  @Test(arguments: Codebook.Level.weightBitsChoices) func aRefitNeverHarms(_ bits: Int) throws {
    let sample = SeededVectors.clustered(300, 14)
    let codebook = try CodebookTrainer.train(
      sample: sample, dimensions: 14,
      configuration: TrainingConfiguration(
        metric: .l2, levels: LevelSpecification.parse("flat:6,flat:9,flat:9,product:4"),
        weightBits: bits, iterations: 4))
    let greedy = try Codebook.Encoder(codebook).encode(sample)
    let refitted = try Self.encode(sample, codebook, beam: 1, refit: true)
    let twin = BeamTwin(codebook: codebook, width: 1)
    for row in 0..<300 where greedy.codes(row: row) == refitted.codes(row: row) {
      let x = Self.row(sample, row, 14), codes = greedy.codes(row: row)
      #expect(
        twin.loss(x, codes, refitted.weights(row: row))
          <= twin.loss(x, codes, greedy.weights(row: row)) * (1 + 1e-5) + 1e-6)
    }
    let same = (0..<300).count { greedy.codes(row: $0) == refitted.codes(row: $0) }
    #expect(same >= 290)
    #expect(refitted.loss[3] < greedy.loss[3])
  }

  // MARK: What is promised

  @Test func widerBeamsLoseLess() throws {
    let sample = SeededVectors.clustered(500, 16)
    let codebook = try CodebookTrainer.train(
      sample: sample, dimensions: 16,
      configuration: TrainingConfiguration(
        metric: .l2, levels: LevelSpecification.parse("flat:6,flat:12,flat:12,flat:12,flat:12"),
        iterations: 4))
    let greedy = try Codebook.Encoder(codebook).encode(sample)
    var before = greedy.loss[4]
    for beam in [2, 4, 16] {
      let encoded = try Self.encode(sample, codebook, beam: beam)
      #expect(encoded.loss[4] < before && encoded.codes[0] == greedy.codes[0])
      let refitted = try Self.encode(sample, codebook, beam: beam, refit: true)
      #expect(refitted.loss[4] < encoded.loss[4] && refitted.codes[0] == greedy.codes[0])
      before = encoded.loss[4]
    }
  }

  @Test func theReportedLossIsThatOfDecodedVectors() throws {
    for bits in [16, 3] {
      let codebook = EncoderSample.codebook(bits: bits)
      let rows = EncoderSample.rows(70)
      let encoded = try Self.encode(rows, codebook, beam: 3, refit: true)
      for levels in 1...codebook.levels.count {
        let decoded = try Codebook.Decoder(codebook, levels: levels).decode(encoded)
        let errors = zip(rows, decoded).map { Double($0 - $1) * Double(codebook.scale) }
        #expect(abs(dot(errors, errors) / 70 - encoded.loss[levels - 1]) < 1e-4)
      }
    }
  }

  @Test func threadsAndNeighboursDoNotChangeARow() throws {
    let codebook = EncoderSample.codebook(bits: 4), rows = EncoderSample.rows(300)
    let expected = try Self.encode(rows, codebook, beam: 4, refit: true, threads: 1)
    for threads in [2, 5] {
      let encoded = try Self.encode(rows, codebook, beam: 4, refit: true, threads: threads)
      #expect(encoded == expected)
    }
    var parts = EncodedVectors(for: codebook)
    for part in [0..<1, 1..<6, 6..<100, 100..<300] {
      let some = Array(rows[part.lowerBound * 10..<part.upperBound * 10])
      parts.append(try Self.encode(some, codebook, beam: 4, refit: true))
    }
    #expect(parts.codes == expected.codes && parts.weights == expected.weights)
  }

  @Test func extremesAreEncoded() throws {
    let codebook = EncoderSample.codebook(metric: .l2)
    let largest = Float.greatestFiniteMagnitude
    let rows = [Float](repeating: 0, count: 20) + [Float](repeating: largest, count: 20)
    let encoded = try Self.encode(rows, codebook, beam: 3, refit: true)
    #expect(encoded.weights.allSatisfy { $0.isFinite })
    _ = try Codebook.Decoder(codebook).decode(encoded)
    let none = try Self.encode([], codebook, beam: 3)
    #expect(none == EncodedVectors(for: codebook))
    // One level, and more paths than codewords.
    var single = codebook
    single.levels = [codebook.levels[0]]
    let rest = EncoderSample.rows(5)
    let expected = try Codebook.Encoder(single).encode(rest)
    let found = try Self.encode(rest, single, beam: 64, refit: true)
    #expect(found.codes == expected.codes)
  }
}
