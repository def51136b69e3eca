import TestSupport
import Testing
import WRVQ

/// Distances by look-ups against those from the decoded vectors, in double precision.
@Suite struct DistanceTablesTests {
  private static let dimensions = 10
  private static let rowCount = 23

  /// The distance as the metric's operator defines it.
  private static func distance(_ metric: Codebook.Metric, _ a: [Double], _ b: [Double]) -> Double {
    switch metric {
    case .l2: length(sum(a, -1, b))
    case .ip: -dot(a, b)
    case .cosine: 1 - dot(a, b) / (length(a) * length(b))
    }
  }

  private static func row(_ vectors: [Float], _ row: Int) -> [Double] {
    vectors[row * dimensions..<(row + 1) * dimensions].map(Double.init)
  }

  /// Is it the expected one, but for 1e-4 of itself, or of the square of a length?
  private static func agrees(
    _ found: Float, _ metric: Codebook.Metric, _ a: [Double], _ b: [Double]
  ) -> Bool {
    let expected = distance(metric, a, b), found = Double(found)
    if expected.isNaN { return found.isNaN }
    if abs(found - expected) <= 1e-4 * max(1, abs(expected)) { return true }
    // Where a distance nearly vanishes, its square is what is right to the digits of the terms.
    let scale = max(1, dot(a, a) + dot(b, b))
    return metric == .l2 && abs(found * found - expected * expected) <= 1e-6 * scale
  }

  private static func sample(
    _ metric: Codebook.Metric, _ rule: Codebook.WeightRule, _ bits: Int
  ) throws -> (codebook: Codebook, rows: [Float], encoded: EncodedVectors) {
    let codebook = EncoderSample.codebook(metric: metric, rule: rule, bits: bits)
    let rows = EncoderSample.rows(rowCount)
    return (codebook, rows, try Codebook.Encoder(codebook, threads: 1).encode(rows))
  }

  @Test(arguments: Codebook.Metric.allCases, Codebook.WeightRule.allCases)
  func vectorsAgainstCodes(_ metric: Codebook.Metric, _ rule: Codebook.WeightRule) throws {
    for bits in Codebook.Level.weightBitsChoices {
      let (codebook, rows, encoded) = try Self.sample(metric, rule, bits)
      for kernels in Kernels.supported {
        let decoder = try Codebook.Decoder(codebook, kernels: kernels)
        let decoded = try decoder.decode(encoded)
        let norms = try decoder.squaredNorms(of: encoded)
        let distance = try Codebook.AsymmetricDistance(codebook, kernels: kernels)
        for query in 0..<Self.rowCount {
          let q = rows[query * Self.dimensions..<(query + 1) * Self.dimensions]
          let found = try distance.tables(for: Array(q)).distances(
            to: encoded, squaredNorms: norms)
          for row in 0..<Self.rowCount {
            // Under cosine lengths do not matter; vectors of length zero have no distance.
            #expect(
              Self.agrees(found[row], metric, Self.row(rows, query), Self.row(decoded, row)),
              "\(bits) bits, query \(query), row \(row)")
          }
        }
      }
    }
  }

  @Test(arguments: Codebook.Metric.allCases, Codebook.WeightRule.allCases)
  func codesAgainstCodes(_ metric: Codebook.Metric, _ rule: Codebook.WeightRule) throws {
    for bits in Codebook.Level.weightBitsChoices {
      let (codebook, _, encoded) = try Self.sample(metric, rule, bits)
      let decoder = try Codebook.Decoder(codebook)
      let decoded = try decoder.decode(encoded)
      let norms = try decoder.squaredNorms(of: encoded)
      let distance = try Codebook.SymmetricDistance(codebook, threads: 2)
      for x in 0..<Self.rowCount {
        let found = try distance.tables(for: encoded, row: x).distances(
          to: encoded, squaredNorms: norms)
        for y in 0..<Self.rowCount {
          #expect(
            Self.agrees(found[y], metric, Self.row(decoded, x), Self.row(decoded, y)),
            "\(bits) bits, rows \(x) and \(y)")
        }
      }
    }
  }

  /// A trained codebook of the shape that indexes have, in more dimensions than a panel.
  @Test func trainedCodebooksAgreeToo() throws {
    let d = 37, rows = SeededVectors.clustered(300, d)
    let codebook = try CodebookTrainer.train(
      sample: rows, dimensions: d,
      configuration: TrainingConfiguration(
        metric: .l2, levels: LevelSpecification.parse("flat:20,flat:5,product:4"), iterations: 3))
    let encoded = try Codebook.Encoder(codebook).encode(rows)
    let decoder = try Codebook.Decoder(codebook)
    let decoded = try decoder.decode(encoded), norms = try decoder.squaredNorms(of: encoded)
    let asymmetric = try Codebook.AsymmetricDistance(codebook)
    let symmetric = try Codebook.SymmetricDistance(codebook)
    for x in [0, 77, 299] {
      let q = Array(rows[x * d..<(x + 1) * d])
      let adc = try asymmetric.tables(for: q).distances(to: encoded, squaredNorms: norms)
      let sdc = try symmetric.tables(for: encoded, row: x).distances(
        to: encoded, squaredNorms: norms)
      for y in 0..<300 {
        let b = decoded[y * d..<(y + 1) * d].map(Double.init)
        #expect(abs(Double(adc[y]) - length(sum(q.map(Double.init), -1, b))) < 1e-4)
        let a = decoded[x * d..<(x + 1) * d].map(Double.init)
        let expected = length(sum(a, -1, b))
        #expect(abs(Double(sdc[y]) - expected) < (x == y ? 1e-2 : 1e-4))
      }
    }
  }

  @Test func someRowsAreLikeAll() throws {
    let (codebook, rows, encoded) = try Self.sample(.l2, .projection, 4)
    let norms = try Codebook.Decoder(codebook).squaredNorms(of: encoded)
    let tables = try Codebook.AsymmetricDistance(codebook).tables(
      for: Array(rows.prefix(Self.dimensions)))
    let all = tables.distances(to: encoded, squaredNorms: norms)
    #expect(tables.distances(to: encoded, squaredNorms: norms, rows: 5..<9) == Array(all[5..<9]))
    #expect(tables.distances(to: encoded, squaredNorms: norms, rows: 7..<7) == [])
  }

  @Test func whatHasNoDistanceIsNamed() throws {
    let codebook = EncoderSample.codebook()
    let distance = try Codebook.AsymmetricDistance(codebook)
    #expect(throws: EncodingError.dimensions(9, expected: 10)) {
      try distance.tables(for: [Float](repeating: 1, count: 9))
    }
    #expect(throws: EncodingError.notFinite(row: 0, dimension: 4)) {
      try distance.tables(for: [0, 1, 2, 3, .nan, 5, 6, 7, 8, 9])
    }
    let large = Codebook(
      dimensions: 1, metric: .l2,
      levels: [
        Codebook.Level(
          kind: .flat(count: 16385), weightRule: .one,
          codewords: [Float](repeating: 0, count: 16385))
      ])
    #expect(throws: EncodingError.codewordCount(16385, maximum: 16384)) {
      try Codebook.SymmetricDistance(large)
    }
    var encoded = try Codebook.Encoder(codebook).encode(EncoderSample.rows(2))
    encoded.codes[0] = .flat([0, 7])
    let symmetric = try Codebook.SymmetricDistance(codebook)
    #expect(throws: EncodingError.codeOutOfRange(level: 0, row: 1, code: 7, 7)) {
      try symmetric.tables(for: encoded, row: 1)
    }
  }
}
