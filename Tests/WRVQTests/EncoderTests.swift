import TestSupport
import Testing
import WRVQ

@Suite struct EncoderTests {
  private static func encode(
    _ rows: [Float], _ codebook: Codebook, threads: Int = 2, kernels: Kernels = .best
  ) throws -> EncodedVectors {
    try Codebook.Encoder(codebook, threads: threads, kernels: kernels).encode(rows)
  }

  // MARK: The twin

  @Test(arguments: Codebook.WeightRule.allCases, Codebook.Metric.allCases)
  func everyChoiceIsTheBest(_ rule: Codebook.WeightRule, _ metric: Codebook.Metric) throws {
    for (seed, bits) in Codebook.Level.weightBitsChoices.enumerated() {
      let codebook = EncoderSample.codebook(
        metric: metric, rule: rule, bits: bits, seed: UInt64(seed))
      let rows = EncoderSample.rows(40)
      EncoderTwin(codebook: codebook).check(try Self.encode(rows, codebook), of: rows)
    }
  }

  @Test(arguments: [1, 2, 3, 4, 5, 8, 13, 17, 33]) func anyNumberOfDimensionsWorks(d: Int) throws {
    for kernels in Kernels.supported {
      let codebook = EncoderSample.codebook(dimensions: d, bits: 4)
      let rows = EncoderSample.rows(15, dimensions: d)
      EncoderTwin(codebook: codebook).check(
        try Self.encode(rows, codebook, kernels: kernels), of: rows)
    }
  }

  @Test func blocksOfATransformWork() throws {
    let codebook = EncoderSample.blockCodebook()
    let rows = EncoderSample.rows(3, dimensions: codebook.dimensions)
    EncoderTwin(codebook: codebook).check(try Self.encode(rows, codebook), of: rows)
  }

  /// As training makes it: orthogonal, and nothing beyond the dimensions.
  @Test(arguments: Codebook.WeightRule.allCases) func aLastProductLevelIsTheBest(
    _ rule: Codebook.WeightRule
  ) throws {
    for (seed, bits) in Codebook.Level.weightBitsChoices.enumerated()
    where rule != .one || seed == 0 {
      for d in [1, 7, 16, 18] {
        var codebook = EncoderSample.codebook(dimensions: d, rule: rule, bits: bits)
        codebook.levels.removeLast(3)
        codebook.levels[2].clearPadding(dimensions: d)
        let rows = EncoderSample.rows(37, dimensions: d)
        EncoderTwin(codebook: codebook).check(try Self.encode(rows, codebook), of: rows)
      }
    }
    var blocks = EncoderSample.blockCodebook()
    blocks.levels[1].weightRule = rule
    blocks.levels[1].clearPadding(dimensions: blocks.dimensions)
    let rows = EncoderSample.rows(3, dimensions: blocks.dimensions)
    EncoderTwin(codebook: blocks).check(try Self.encode(rows, blocks), of: rows)
  }

  // MARK: Repeatability

  @Test func threadsAndNeighboursDoNotChangeARow() throws {
    let codebook = EncoderSample.codebook(bits: 4)
    let rows = EncoderSample.rows(500)
    let expected = try Self.encode(rows, codebook, threads: 1)
    for threads in [2, 5] {
      #expect(try Self.encode(rows, codebook, threads: threads) == expected)
    }
    var parts = EncodedVectors(for: codebook)
    for first in [0, 1, 6, 100, 333] {
      let last = [0: 1, 1: 6, 6: 100, 100: 333, 333: 500][first]!
      parts.append(try Self.encode(Array(rows[first * 10..<last * 10]), codebook))
    }
    #expect(parts.codes == expected.codes && parts.weights == expected.weights)
    #expect(zip(parts.loss, expected.loss).allSatisfy { abs($0 - $1) <= 1e-12 * $1 })
  }

  // MARK: Decoding

  @Test(arguments: Codebook.Metric.allCases) func decodingHasTheReportedLoss(
    _ metric: Codebook.Metric
  ) throws {
    for bits in Codebook.Level.weightBitsChoices {
      let codebook = EncoderSample.codebook(metric: metric, bits: bits)
      let rows = EncoderSample.rows(90)
      let encoded = try Self.encode(rows, codebook)
      let twin = EncoderTwin(codebook: codebook)
      for levels in 1...codebook.levels.count {
        let decoded = try Codebook.Decoder(codebook, levels: levels, threads: 2).decode(encoded)
        var loss = 0.0
        for start in stride(from: 0, to: rows.count, by: 10) {
          let x = twin.prepared(rows[start..<start + 10])
          let y = decoded[start..<start + 10].map { Double($0) * Double(codebook.scale) }
          let error = sum(x, -1, y)
          loss += dot(error, error) / 90
        }
        #expect(abs(loss - encoded.loss[levels - 1]) <= 1e-4 * loss)
      }
    }
  }

  @Test func rowsAreDecodedAlone() throws {
    let codebook = EncoderSample.codebook(bits: 3)
    let encoded = try Self.encode(EncoderSample.rows(150), codebook)
    let decoder = try Codebook.Decoder(codebook, threads: 3)
    let all = try decoder.decode(encoded)
    #expect(try decoder.decode(encoded, rows: 70..<149) == Array(all[700..<1490]))
    #expect(try decoder.decode(encoded, rows: 7..<7) == [])
  }

  @Test(arguments: Codebook.Level.weightBitsChoices) func moreLevelsNeverIncreaseTheLoss(
    _ bits: Int
  ) throws {
    let sample = SeededVectors.clustered(600, 14)
    for metric in Codebook.Metric.allCases {
      let codebook = try CodebookTrainer.train(
        sample: sample, dimensions: 14,
        configuration: TrainingConfiguration(
          metric: metric, levels: LevelSpecification.parse("flat:6,flat:9,flat:9,product:4"),
          weightBits: bits, iterations: 4, threads: 2))
      let loss = try Self.encode(sample, codebook).loss
      for (before, after) in zip(loss, loss.dropFirst()) { #expect(after < before) }
      // What training reported of its sample is what the encoder makes of it.
      for (found, expected) in zip(loss, codebook.loss) {
        #expect(abs(found - expected) <= 2e-3 * expected)
      }
    }
  }

  // MARK: Extremes

  @Test func oneRowAndNoneAreEncoded() throws {
    let codebook = EncoderSample.codebook(metric: .cosine)
    let rows = EncoderSample.rows(1)
    EncoderTwin(codebook: codebook).check(try Self.encode(rows, codebook), of: rows)
    let none = try Self.encode([], codebook)
    #expect(none == EncodedVectors(for: codebook))
    #expect(try Codebook.Decoder(codebook).decode(none) == [])
  }

  @Test func weightsBeyondHalvesSaturate() throws {
    let codebook = Codebook(
      dimensions: 2, metric: .l2,
      levels: [
        Codebook.Level(kind: .flat(count: 1), weightRule: .one, codewords: [0, 0]),
        Codebook.Level(kind: .flat(count: 2), weightRule: .projection, codewords: [1, 0, 0, 1]),
        Codebook.Level(kind: .flat(count: 2), weightRule: .norm, codewords: [1, 0, 0, 1]),
      ])
    let largest = Float.greatestFiniteMagnitude
    let encoded = try Self.encode([1e6, 0, -3, -70_000, largest, largest], codebook)
    #expect(encoded.codes[1] == .flat([0, 0, 0]))
    #expect(encoded.weights.allSatisfy { $0.isFinite })
    #expect(encoded.weights[1] == 65504 && encoded.weights[4] == -3)
  }

  // MARK: Errors

  @Test func whatCannotBeEncodedIsNamed() throws {
    let codebook = EncoderSample.codebook()
    var rows = EncoderSample.rows(9)
    rows[67] = .infinity
    #expect(throws: EncodingError.notFinite(row: 6, dimension: 7)) {
      try Self.encode(rows, codebook)
    }
    #expect(throws: EncodingError.rowSize(values: 11, dimensions: 10)) {
      try Self.encode(Array(rows.prefix(11)), codebook)
    }
    var bad = codebook
    bad.levels[1].codewords.removeLast()
    #expect(throws: CodebookError.self) { try Codebook.Encoder(bad) }
    #expect(throws: CodebookError.self) { try Codebook.Decoder(bad) }
  }

  @Test func whatCannotBeDecodedIsNamed() throws {
    let codebook = EncoderSample.codebook()
    let good = try Self.encode(EncoderSample.rows(9), codebook)
    let decoder = try Codebook.Decoder(codebook)
    func expect(_ error: EncodingError, _ change: (inout EncodedVectors) -> Void) {
      var encoded = good
      change(&encoded)
      #expect(throws: error) { try decoder.decode(encoded) }
    }
    expect(.levelCount(5, expected: 6)) { $0.codes.removeLast() }
    expect(.codeCount(level: 1, 8, expected: 9)) {
      $0.codes[1] = .flat([1, 2, 3, 4, 5, 6, 7, 8])
    }
    expect(.codeOutOfRange(level: 1, row: 2, code: 20, 20)) {
      $0.codes[1] = .flat([19, 0, 20, 1, 1, 1, 1, 1, 1])
    }
    expect(.codeOutOfRange(level: 2, row: 4, code: 16, 16)) {
      $0.codes[2] = .product([UInt8](repeating: 15, count: 12) + [UInt8](16..<31), pieces: 3)
    }
    expect(.otherKind(level: 0)) { $0.codes[0] = .product([], pieces: 3) }
    expect(.otherKind(level: 2)) { $0.codes[2] = .product([], pieces: 4) }
    expect(.weightCount(53, expected: 54)) { $0.weights.removeLast() }
    expect(.weightNotFinite(row: 1, level: 2)) { $0.weights[8] = .nan }
    for levels in [0, 7] {
      #expect(throws: EncodingError.badLevels(levels, expected: 1...6)) {
        try Codebook.Decoder(codebook, levels: levels)
      }
    }
  }
}
