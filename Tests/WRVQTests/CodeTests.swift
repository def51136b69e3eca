import CWRVQKernels
import TestSupport
import Testing
import WRVQ

/// Values of codes against the library's encoder and decoder, and against exact distances.
@Suite struct CodeTests {
  private static func split(_ rows: [Float], _ d: Int) -> [[Float]] {
    stride(from: 0, to: rows.count, by: d).map { Array(rows[$0..<$0 + d]) }
  }

  // MARK: Encoding

  @Test(arguments: Codebook.WeightRule.allCases, Codebook.Metric.allCases)
  func valuesAreTheCodesOfTheLibrary(_ rule: Codebook.WeightRule, _ metric: Codebook.Metric) throws
  {
    for (seed, bits) in Codebook.Level.weightBitsChoices.enumerated() {
      let codebook = EncoderSample.codebook(
        metric: metric, rule: rule, bits: bits, seed: UInt64(seed))
      let rows = EncoderSample.rows(40), vectors = Self.split(rows, 10)
      let library = try Codebook.Encoder(codebook).encode(rows)
      let decoder = try Codebook.Decoder(codebook)
      for level in KernelLevel.available {
        let sample = SampleCoder(codebook, level)
        let values = vectors.map(sample.encode)
        let found = sample.encodedVectors(values)
        let same = (0..<40).count { row in
          codebook.levels.indices.allSatisfy {
            found.codes(level: $0, row: row) == library.codes(level: $0, row: row)
          }
        }
        #expect(same >= 38, "\(same) of 40 rows have the library's codes")
        let decoded = try decoder.decode(found)
        for (row, value) in values.enumerated() {
          let expected = Array(decoded[row * 10..<row * 10 + 10])
          #expect(closeEnough(sample.decode(value)!, expected, 1e-5))
        }
      }
    }
  }

  @Test(arguments: Codebook.WeightRule.allCases) func everyChoiceIsTheBest(
    _ rule: Codebook.WeightRule
  ) throws {
    for (seed, bits) in Codebook.Level.weightBitsChoices.enumerated() {
      let codebook = EncoderSample.codebook(rule: rule, bits: bits, seed: UInt64(seed))
      let rows = EncoderSample.rows(30)
      for level in KernelLevel.available {
        let sample = SampleCoder(codebook, level)
        var encoded = sample.encodedVectors(Self.split(rows, 10).map(sample.encode))
        encoded.loss = try (1...codebook.levels.count).map { levels in
          let decoded = try Codebook.Decoder(codebook, levels: levels).decode(encoded)
          return zip(rows, decoded).reduce(0.0) {
            let error = Double($1.0 - $1.1) * Double(codebook.scale)
            return $0 + error * error / 30
          }
        }
        EncoderTwin(codebook: codebook).check(encoded, of: rows)
      }
    }
  }

  @Test(arguments: [1, 2, 3, 4, 5, 8, 13, 17, 33]) func anyNumberOfDimensionsWorks(d: Int) throws {
    let codebook = EncoderSample.codebook(dimensions: d, bits: 3)
    let rows = EncoderSample.rows(15, dimensions: d)
    for level in KernelLevel.available {
      let sample = SampleCoder(codebook, level)
      let values = Self.split(rows, d).map(sample.encode)
      let decoded = try Codebook.Decoder(codebook).decode(sample.encodedVectors(values))
      for (row, value) in values.enumerated() {
        let expected = Array(decoded[row * d..<row * d + d])
        #expect(closeEnough(sample.decode(value)!, expected, 1e-5))
      }
      let query = EncoderSample.rows(1, dimensions: d, seed: 9)
      for metric in Codebook.Metric.allCases {
        expectDistances(sample, values, from: query, metric)
      }
    }
  }

  @Test(arguments: KernelLevel.available) func blocksOfATransformWork(_ level: KernelLevel) throws {
    let codebook = EncoderSample.blockCodebook()
    let sample = SampleCoder(codebook, level)
    let rows = EncoderSample.rows(3, dimensions: codebook.dimensions)
    let values = Self.split(rows, codebook.dimensions).map(sample.encode)
    let decoded = try Codebook.Decoder(codebook).decode(sample.encodedVectors(values))
    #expect(closeEnough(values.flatMap { sample.decode($0)! }, decoded, 1e-5))
    expectDistances(sample, values, from: Array(rows.prefix(codebook.dimensions)), .l2)
  }

  @Test(arguments: KernelLevel.available) func fewerLevelsAreTheLibrarysToo(_ level: KernelLevel)
    throws
  {
    let codebook = EncoderSample.codebook(bits: 4)
    let sample = SampleCoder(codebook, level)
    let value = sample.encode(EncoderSample.rows(1))
    for levels in 1...codebook.levels.count {
      let expected = try Codebook.Decoder(codebook, levels: levels).decode(
        sample.encodedVectors([value]))
      #expect(closeEnough(sample.decode(value, levels: levels)!, expected, 1e-5))
    }
  }

  // MARK: Distances

  @Test(arguments: Codebook.Metric.allCases, Codebook.Metric.allCases)
  func distancesAreThoseOfTheDecodedVectors(_ trained: Codebook.Metric, _ metric: Codebook.Metric) {
    for (bits, rule) in [(16, Codebook.WeightRule.projection), (4, .norm), (2, .one)] {
      let codebook = EncoderSample.codebook(metric: trained, rule: rule, bits: bits)
      for level in KernelLevel.available {
        let sample = SampleCoder(codebook, level)
        let vectors = Self.split(EncoderSample.rows(30), 10)
        let values = vectors.map(sample.encode)
        for query in [vectors[7], vectors[0].map { -2 * $0 }, [Float](repeating: 0, count: 10)] {
          expectDistances(sample, values, from: query, metric)
        }
        // A decoded vector itself, and one next to it: the terms cancel.
        let decoded = sample.decode(values[5])!
        expectDistances(sample, values, from: decoded, metric)
        expectDistances(sample, values, from: decoded.map { $0 * 1.001 }, metric)
      }
    }
  }

  @Test(arguments: KernelLevel.available, [1e-30, 1e-3, 1e18, 1e30, 3e37] as [Float])
  func queriesOfAnyMagnitudeWork(_ level: KernelLevel, _ magnitude: Float) {
    let sample = SampleCoder(EncoderSample.codebook(), level)
    let values = Self.split(EncoderSample.rows(10), 10).map(sample.encode)
    let query = EncoderSample.rows(1, seed: 8).map { $0 * magnitude / 10 }
    for metric in Codebook.Metric.allCases { expectDistances(sample, values, from: query, metric) }
  }

  @Test(arguments: KernelLevel.available) func farFromTheOriginDistancesKeepTheirPrecision(
    _ level: KernelLevel
  ) throws {
    let d = 24, rows = SeededVectors.clustered(400, d).map { $0 + 200 }
    let codebook = try CodebookTrainer.train(
      sample: rows, dimensions: d,
      configuration: TrainingConfiguration(
        metric: .l2, levels: LevelSpecification.parse("flat:6,flat:9,product:4"), iterations: 4,
        threads: 2))
    let sample = SampleCoder(codebook, level)
    let vectors = Self.split(rows, d)
    let values = vectors.prefix(50).map(sample.encode)
    for query in vectors[300..<305] {
      for metric in Codebook.Metric.allCases {
        expectDistances(sample, values, from: query, metric)
      }
    }
  }

  // MARK: Damage

  @Test(arguments: KernelLevel.available) func whatNoVectorIsEncodedAsIsRefused(
    _ level: KernelLevel
  ) {
    let sample = SampleCoder(EncoderSample.codebook(), level)
    let good = sample.encode(EncoderSample.rows(1))
    var bad: [[UInt8]] = []
    func damage(_ change: (inout [UInt8]) -> Void) {
      bad.append(good)
      change(&bad[bad.count - 1])
    }
    damage { $0[4] = 7 }  // level 0 has 7 codewords
    damage { $0[5] = 20 }
    // Level 3, after two of pieces in two bytes, has 300.
    damage {
      $0[8] = UInt8(300 % 256)
      $0[9] = UInt8(300 / 256)
    }
    damage {
      // An infinite weight.
      $0[$0.count - 2] = 0
      $0[$0.count - 1] = 0x7c
    }
    for value in bad {
      #expect(sample.decode(value) == nil)
      for metric in Codebook.Metric.allCases {
        #expect(sample.distances([value], from: EncoderSample.rows(1), metric) == [nil])
      }
    }
    #expect(sample.decode(good) != nil)
  }

  @Test func noBytesAreReadStrangely() {
    for bits in Codebook.Level.weightBitsChoices {
      let codebook = EncoderSample.codebook(rule: .norm, bits: bits)
      for level in KernelLevel.available {
        let sample = SampleCoder(codebook, level)
        var numbers = TestNumbers(seed: 4)
        for _ in 0..<300 {
          let value = (0..<sample.codeBytes).map { _ in UInt8(numbers.below(256)) }
          let decoded = sample.decode(value)
          let distances = sample.distances([value], from: EncoderSample.rows(1), .cosine)
          #expect((decoded == nil) == (distances[0] == nil))
        }
      }
    }
  }

  @Test func badShapesAreRefused() {
    let check = Kernels.best.codes.coder_check
    func expectRefusal(_ change: (inout wrvq_coder) -> Void) {
      var coder = SampleCoder.shape(of: EncoderSample.codebook())
      #expect(check(&coder) == WRVQ_OK)
      change(&coder)
      #expect(check(&coder) == WRVQ_BAD_SHAPE)
    }
    expectRefusal { $0.dimensions = 0 }
    expectRefusal { $0.dimensions = 16_001 }
    expectRefusal { $0.metric = 3 }
    expectRefusal { $0.level_count = 17 }
    expectRefusal { $0.scale = .infinity }
    expectRefusal { $0.levels.1.transform_block_dimensions = 11 }
    expectRefusal { $0.levels.1.shape.weight_bits = 5 }
    expectRefusal { $0.levels.2.shape.piece_count = 4 }
    expectRefusal { $0.levels.3.shape.codeword_count = 65_537 }
    expectRefusal { $0.levels.0.shape.kind = 1 }
  }

  // MARK: Comparing

  private func closeEnough(_ a: [Float], _ b: [Float], _ tolerance: Float) -> Bool {
    a.count == b.count
      && zip(a, b).allSatisfy { abs($0 - $1) <= tolerance * max(1, abs($1)) }
  }

  /// The operator's values against those of the decoded vectors, in double precision.
  private func expectDistances(
    _ sample: SampleCoder, _ values: [[UInt8]], from query: [Float], _ metric: Codebook.Metric,
    at location: SourceLocation = #_sourceLocation
  ) {
    for (value, found) in zip(values, sample.distances(values, from: query, metric)) {
      let x = sample.decode(value)!
      let expected: Double
      var tolerance = 0.0
      switch metric {
      case .l2:
        expected = KernelReference.l2Distance(x, query)
        tolerance = 1e-4 * expected
      case .ip:
        expected = -KernelReference.innerProduct(x, query)
        tolerance = 1e-5 * KernelReference.magnitude(x, query)
      case .cosine:
        expected = KernelReference.cosineDistance(x, query)
        tolerance = 1e-5
      }
      let isClose = found.map { abs($0 - expected) <= tolerance || expected.isNaN && $0.isNaN }
      #expect(
        isClose == true, "\(metric): \(String(describing: found)), expected \(expected)",
        sourceLocation: location)
    }
  }
}
