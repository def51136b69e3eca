import TestSupport
import Testing

@testable import WRVQ

@Suite struct BaselineTests {
  private static func configuration(
    _ counts: [Int], threads: Int = 1, seed: UInt64 = 1
  ) -> BaselineConfiguration {
    BaselineConfiguration(codewordCounts: counts, iterations: 8, seed: seed, threads: threads)
  }

  /// One of each kind, trained on the same rows.
  private static func all(
    _ rows: [Float], _ d: Int, _ configuration: BaselineConfiguration
  ) throws -> [any VectorQuantizer] {
    [
      try ResidualQuantizer(training: rows, dimensions: d, configuration),
      try ProductQuantizer(training: rows, dimensions: d, configuration),
      try RotatedProductQuantizer(training: rows, dimensions: d, configuration, rounds: 3),
      try AdditiveQuantizer(
        training: rows, dimensions: d, configuration, rounds: 3, effort: .init(trials: 4)),
    ]
  }

  private static func decoded(
    _ quantizer: some VectorQuantizer, _ rows: [Float], levels: Int? = nil
  ) throws -> [Float] {
    try quantizer.decode(quantizer.encode(rows), levels: levels ?? quantizer.levelCount)
  }

  private static func loss(_ rows: [Float], _ decoded: [Float], _ d: Int) -> Double {
    zip(rows, decoded).reduce(0.0) {
      $0 + (Double($1.0) - Double($1.1)) * (Double($1.0) - Double($1.1))
    }
      / Double(rows.count / d)
  }

  @Test func moreCodesLoseLess() throws {
    let d = 12, rows = SeededVectors.clustered(400, d)
    let test = SeededVectors.clustered(400, d, seed: 1).suffix(100 * d)
    var before = [Double](repeating: .infinity, count: 4)
    for codes in [1, 2, 4] {
      let quantizers = try Self.all(rows, d, Self.configuration([Int](repeating: 8, count: codes)))
      for (kind, quantizer) in quantizers.enumerated() {
        let loss = Self.loss(Array(test), try Self.decoded(quantizer, Array(test)), d)
        #expect(loss < 0.97 * before[kind], "kind \(kind), \(codes) codes")
        before[kind] = loss
      }
    }
  }

  @Test func eachRefinementLosesLess() throws {
    let d = 12, rows = SeededVectors.spectrum(500, deviations: (1...d).map { 3 / Float($0) })
    let configuration = Self.configuration([8, 8, 8])
    func loss(_ quantizer: some VectorQuantizer) throws -> Double {
      Self.loss(rows, try Self.decoded(quantizer, rows), d)
    }
    let pieces = try loss(ProductQuantizer(training: rows, dimensions: d, configuration))
    let turned = try [0, 12].map {
      try loss(
        RotatedProductQuantizer(training: rows, dimensions: d, configuration, rounds: $0))
    }
    #expect(turned[1] < 0.99 * turned[0] && turned[0] < pieces)
    let residual = try loss(ResidualQuantizer(training: rows, dimensions: d, configuration))
    let sums = try loss(
      AdditiveQuantizer(training: rows, dimensions: d, configuration, rounds: 8))
    #expect(sums < 0.97 * residual)
  }

  @Test func leadingLevelsAreRoughVectors() throws {
    let d = 10, rows = SeededVectors.clustered(300, d)
    let quantizer = try ResidualQuantizer(
      training: rows, dimensions: d, Self.configuration([4, 8, 3]))
    let losses = try (1...3).map {
      Self.loss(rows, try Self.decoded(quantizer, rows, levels: $0), d)
    }
    #expect(quantizer.levelCount == 3 && losses[0] > losses[1] && losses[1] > losses[2])
    let one = try ResidualQuantizer(training: rows, dimensions: d, Self.configuration([4]))
    #expect(Self.loss(rows, try Self.decoded(one, rows), d) == losses[0])
  }

  @Test func residualCodesAreTheNearest() throws {
    let d = 7, rows = SeededVectors.clustered(120, d)
    let quantizer = try ResidualQuantizer(
      training: rows, dimensions: d, Self.configuration([20, 5]), progress: nil)
    let codes = try quantizer.encode(rows)
    for row in 0..<120 {
      var rest = rows[row * d..<(row + 1) * d].map(Double.init)
      for (level, set) in quantizer.levels.enumerated() {
        let differences = Twin.differences(rest, set)
        let code = Int(codes.values[row * 2 + level])
        let lengths = differences.map { dot($0, $0) }
        #expect(lengths[code] <= lengths.min()! + 1e-5)
        rest = differences[code]
      }
    }
  }

  @Test(arguments: [7, 12]) func piecesAreTheNearest(d: Int) throws {
    let rows = SeededVectors.clustered(120, d)
    let quantizer = try ProductQuantizer(
      training: rows, dimensions: d, Self.configuration([20, 5, 9]))
    let codes = try quantizer.encode(rows)
    #expect(quantizer.pieces.map(\.dimensions).reduce(0, +) == d)
    for row in 0..<120 {
      for (piece, set) in quantizer.pieces.enumerated() {
        let part = quantizer.range(piece).map { Double(rows[row * d + $0]) }
        let lengths = Twin.differences(part, set).map { dot($0, $0) }
        #expect(lengths[Int(codes.values[row * 3 + piece])] <= lengths.min()! + 1e-5)
      }
    }
  }

  @Test func codewordsAreMeansOfTheirRows() throws {
    let d = 5, rows = SeededVectors.clustered(200, d)
    // After many iterations k-means stands still.
    let configuration = BaselineConfiguration(codewordCounts: [6], iterations: 100, threads: 2)
    let quantizer = try ResidualQuantizer(training: rows, dimensions: d, configuration)
    let codes = try quantizer.encode(rows).values
    for code in 0..<6 {
      let members = codes.indices.filter { codes[$0] == code }
      #expect(!members.isEmpty)
      for k in 0..<d {
        let mean = members.reduce(0.0) { $0 + Double(rows[$1 * d + k]) } / Double(members.count)
        #expect(abs(mean - Double(quantizer.levels[0].rows[code * d + k])) < 1e-4)
      }
    }
  }

  @Test func neitherThreadsNorCompanyMatter() throws {
    let d = 9, rows = SeededVectors.clustered(250, d)
    let one = try Self.all(rows, d, Self.configuration([6, 6]))
    let many = try Self.all(rows, d, Self.configuration([6, 6], threads: 5))
    for (a, b) in zip(one, many) {
      let expected = try Self.decoded(a, rows)
      #expect(try Self.decoded(b, rows) == expected)
      #expect(try Self.decoded(a, Array(rows[17 * d..<20 * d])) == Array(expected[17 * d..<20 * d]))
    }
    let other = try Self.all(rows, d, Self.configuration([6, 6], seed: 2))
    #expect(try Self.decoded(other[0], rows) != Self.decoded(one[0], rows))
  }

  @Test func bitsAreCounted() throws {
    let rows = SeededVectors.clustered(50, 8)
    for quantizer in try Self.all(rows, 8, Self.configuration([1, 2, 3, 16])) {
      #expect(quantizer.codeBits == 0 + 1 + 2 + 4 && quantizer.weightBits == 0)
      #expect(quantizer.bytes == 7.0 / 8)
    }
    let codebook = try CodebookTrainer.train(
      sample: rows, dimensions: 8,
      configuration: TrainingConfiguration(
        metric: .l2, levels: LevelSpecification.parse("flat:5,flat:4,product:3"), weightBits: 4))
    let quantizer = try CodebookQuantizer(codebook, threads: 1)
    #expect(quantizer.codeBits == 3 + 2 + 3 * 4 && quantizer.weightBits == 2 * 4)
    #expect(quantizer.levelCount == 3)
  }

  @Test func poorVectorsDoNoHarm() throws {
    for rows in [
      SeededVectors.repeated([1, -2, 0, 0.5], 30), SeededVectors.repeated([0, 0, 0, 0], 30),
      [3, 1, 4, 1], SeededVectors.clustered(9, 4),
    ] as [[Float]] {
      for quantizer in try Self.all(rows, 4, Self.configuration([16, 16, 16])) {
        let decoded = try Self.decoded(quantizer, rows)
        #expect(decoded.allSatisfy(\.isFinite) && Self.loss(rows, decoded, 4) < 0.1)
        #expect(try Self.decoded(quantizer, []).isEmpty)
      }
    }
  }

  @Test func badInputIsNamed() throws {
    let rows = SeededVectors.clustered(20, 4)
    func train(_ rows: [Float], _ counts: [Int], _ d: Int = 4, iterations: Int = 3) throws {
      _ = try ProductQuantizer(
        training: rows, dimensions: d,
        BaselineConfiguration(codewordCounts: counts, iterations: iterations, threads: 1))
    }
    #expect(throws: BaselineError.codeCount(0, expected: 1...256)) { try train(rows, []) }
    #expect(throws: BaselineError.codeCount(5, expected: 1...4)) {
      try train(rows, [2, 2, 2, 2, 2])
    }
    #expect(throws: BaselineError.codewordCount(0, expected: 1...65_536)) { try train(rows, [0]) }
    #expect(throws: TrainingError.emptySample) { try train([], [2]) }
    #expect(throws: TrainingError.sampleSize(values: 80, dimensions: 3)) { try train(rows, [2], 3) }
    #expect(throws: TrainingError.iterations(0, expected: 1...100)) {
      try train(rows, [2], iterations: 0)
    }
    #expect(throws: TrainingError.notFinite(row: 1, dimension: 1)) {
      try train([0, 0, 0, 0, 0, .nan, 0, 0], [2])
    }
    #expect(throws: BaselineError.codeCount(33, expected: 1...32)) {
      _ = try AdditiveQuantizer(
        training: rows, dimensions: 4, Self.configuration([Int](repeating: 2, count: 33)))
    }
    for quantizer in try Self.all(rows, 4, Self.configuration([3])) {
      #expect(throws: EncodingError.rowSize(values: 3, dimensions: 4)) {
        try Self.decoded(quantizer, [1, 2, 3])
      }
      #expect(throws: EncodingError.notFinite(row: 0, dimension: 2)) {
        try Self.decoded(quantizer, [1, 2, .infinity, 4])
      }
    }
    let quantizer = try ResidualQuantizer(training: rows, dimensions: 4, Self.configuration([3]))
    #expect(throws: EncodingError.codeOutOfRange(level: 0, row: 1, code: 3, 3)) {
      try quantizer.decode(QuantizerCodes(codesPerRow: 1, values: [2, 3]), levels: 1)
    }
  }
}

/// Obvious twins of what baselines do.
enum Twin {
  /// A vector less each codeword of a set.
  static func differences(_ x: [Double], _ set: CodewordSet) -> [[Double]] {
    (0..<set.count).map { code in
      x.enumerated().map { $1 - Double(set.rows[code * set.dimensions + $0]) }
    }
  }
}
