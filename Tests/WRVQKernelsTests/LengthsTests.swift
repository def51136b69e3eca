import CWRVQKernels
import TestSupport
import Testing
import WRVQ

/// Rows of very different lengths: neither the scale nor what is learnt of the others depends on them.
@Suite struct LengthsTests {
  private static func scale(_ rows: [Float], _ d: Int, _ level: KernelLevel) -> Float {
    let input = GuardedBuffer(rows), count = rows.count / d
    let keys = GuardedBuffer<UInt64>(count: count).spoil(), training = level.training
    return withExtendedLifetime(input) {
      training.length_keys(input.pointer, count, d, keys.pointer)
      return training.median_scale(keys.pointer, count)
    }
  }

  private static func prepared(
    _ rows: [Float], _ d: Int, _ metric: wrvq_metric, _ scale: Float, _ level: KernelLevel
  ) -> [Float] {
    let sample = GuardedBuffer(rows)
    let kept = level.training.prepare_sample(
      sample.pointer, rows.count / d, d, Int32(metric.rawValue), scale)
    return Array(sample.elements.prefix(kept * d))
  }

  /// The median, worked out by sorting.
  @Test(arguments: KernelLevel.available, [1, 2, 3, 10, 501])
  func theScaleBringsTheMedianLengthNearOne(_ level: KernelLevel, _ count: Int) {
    for (seed, factor) in [Float(1e-36), 1e-9, 0.3, 1, 5, 1e8, 1e30].enumerated() {
      var numbers = TestNumbers(seed: UInt64(seed))
      let rows = (0..<count).flatMap { _ -> [Float] in
        let length = factor * (0.1 + numbers.uniform())
        return numbers.normals(5).map { $0 * length }
      }
      let scale = Self.scale(rows, 5, level)
      let lengths = (0..<count).map { row in
        length(rows[row * 5..<row * 5 + 5].map { Double($0) })
      }
      let median = lengths.sorted()[count / 2] * Double(scale)
      #expect(scale.significand == 1 && median > 0.7071 && median < 1.4143, "\(median)")
    }
  }

  @Test(arguments: KernelLevel.available)
  func aMinorityDoesNotMoveTheScale(_ level: KernelLevel) {
    let ordinary = SeededVectors.clustered(61, 7)
    let expected = Self.scale(ordinary, 7, level)
    for factor in [Float(1e-45), 1e-30, 1e-7, 30, 1e7, 1e30, 1e37] {
      var rows = ordinary
      for row in 0..<3 { for i in 0..<7 { rows[row * 7 + i] *= factor } }
      let scale = Self.scale(rows, 7, level)
      #expect(scale == expected || scale == 2 * expected || scale == expected / 2)
    }
    // Most rows zero: the others tell.
    #expect(Self.scale([Float](repeating: 0, count: 7 * 200) + ordinary, 7, level) == expected)
    #expect(Self.scale([Float](repeating: 0, count: 21), 7, level) == 1)
    let tiny = [Float.leastNonzeroMagnitude, 0], huge = [Float.greatestFiniteMagnitude, 1]
    #expect(Self.scale(tiny, 2, level) == Float(sign: .plus, exponent: 126, significand: 1))
    #expect(Self.scale(huge, 2, level) == Float(sign: .plus, exponent: -126, significand: 1))
  }

  /// A sample is prepared as rows are that are encoded, and as queries are.
  @Test(arguments: KernelLevel.available, [WRVQ_L2, WRVQ_IP, WRVQ_COSINE])
  func outliersBecomeShorterAndKeepTheirDirection(_ level: KernelLevel, _ metric: wrvq_metric) {
    let factors = [Float(1), 100, 1e4, 1e7, 1e30, 1e-30]
    let d = 6, directions = SeededVectors.clustered(factors.count, d)
    let rows = factors.enumerated().flatMap { row, factor in
      directions[row * d..<(row + 1) * d].map { $0 * factor }
    }
    let most = metric == WRVQ_L2 ? 128.0 : 8192
    let prepared = Self.prepared(rows, d, metric, metric == WRVQ_COSINE ? 1 : 0.5, level)
    #expect(prepared.count == rows.count && prepared.allSatisfy(\.isFinite))
    for (row, factor) in factors.enumerated() {
      let before = directions[row * d..<(row + 1) * d].map(Double.init)
      let after = prepared[row * d..<(row + 1) * d].map(Double.init)
      let expected =
        metric == WRVQ_COSINE ? 1 : min(most, 0.5 * Double(factor) * length(before))
      #expect(abs(length(after) - expected) <= 1e-5 * expected)
      #expect(abs(dot(before, after) / length(before) - expected) <= 1e-5 * expected)
    }
  }

  @Test(arguments: KernelLevel.available)
  func cosineDropsRowsWithoutADirection(_ level: KernelLevel) {
    let rows: [Float] = [3, 4, 0, 0, 0, -2e-30, 0, 0]
    #expect(Self.prepared(rows, 2, WRVQ_COSINE, 1, level) == [0.6, 0.8, 0, -1])
    #expect(Self.prepared(rows, 2, WRVQ_L2, 1, level).count == 8)
  }

  /// Codebooks trained with and without a few outliers encode the other rows equally well.
  @Test(arguments: [Codebook.Metric.l2, .ip], [Float(50), 1e7, 1e30])
  func aFewOutliersDoNotSpoilACodebook(_ metric: Codebook.Metric, _ factor: Float) throws {
    let level = KernelLevel.available.last!
    let d = 16, ordinary = SeededVectors.clustered(1500, d, clusters: 40)
    var rows = ordinary
    for row in [7, 500, 1100] { for i in 0..<d { rows[row * d + i] *= factor } }
    var configuration = TrainingConfiguration(
      metric: metric, levels: try LevelSpecification.parse("flat:40,flat:16,product:4"))
    configuration.threads = 2
    func loss(_ sample: [Float]) throws -> Double {
      let codebook = try CodebookTrainer.train(
        sample: sample, dimensions: d, configuration: configuration, kernels: Kernels(level))
      let encoder = try Codebook.Encoder(codebook, kernels: Kernels(level))
      let decoder = try Codebook.Decoder(codebook, kernels: Kernels(level))
      let decoded = try decoder.decode(try encoder.encode(ordinary))
      return zip(ordinary, decoded).reduce(0) { $0 + Double($1.0 - $1.1) * Double($1.0 - $1.1) }
    }
    #expect(try loss(rows) < 1.25 * loss(ordinary))
  }
}
