import TestSupport
import Testing

@testable import WRVQ

/// A quantizer that rounds: what it decodes is known without it.
private struct Rounding: VectorQuantizer {
  var dimensions: Int
  var codeBits: Int { 8 * dimensions }
  var weightBits: Int { 0 }
  var levelCount: Int { 2 }
  var step: Float

  func encode(_ rows: [Float]) -> [Float] { rows }

  /// A little of the value itself keeps vectors apart that would round to the same.
  func decode(_ encoded: [Float], levels: Int) -> [Float] {
    encoded.map { value in
      if step == 0 { return value }
      return (0.9 * (value / step).rounded() * step + 0.1 * value) * (levels == 1 ? 0.5 : 1)
    }
  }
}

@Suite struct EvaluationTests {
  private static func distance(
    _ a: ArraySlice<Float>, _ b: ArraySlice<Float>, _ metric: Codebook.Metric
  ) -> Double {
    let x = a.map(Double.init), y = b.map(Double.init)
    switch metric {
    case .l2: return dot(sum(x, -1, y), sum(x, -1, y))
    case .ip: return -dot(x, y)
    case .cosine:
      let lengths = length(x) * length(y)
      return lengths > 0 ? 1 - dot(x, y) / lengths : 1
    }
  }

  /// All rows by distance, the lower number first.
  private static func ranking(
    _ query: ArraySlice<Float>, _ rows: [Float], _ d: Int, _ metric: Codebook.Metric
  ) -> [Int] {
    let distances = (0..<rows.count / d).map {
      distance(query, rows[$0 * d..<($0 + 1) * d], metric)
    }
    return distances.indices.sorted { (distances[$0], $0) < (distances[$1], $1) }
  }

  @Test(arguments: Codebook.Metric.allCases, [1, 7, 400])
  func theNearestRowsAreThoseOfTheTwin(metric: Codebook.Metric, count: Int) {
    let d = 5
    // Small whole numbers: many ties, no rounding except under cosine.
    var numbers = TestNumbers(seed: 2)
    let rows = (0..<300 * d).map { _ in Float(numbers.below(7)) - 3 }
    let queries =
      metric == .cosine
      ? numbers.normals(70 * d) : (0..<70 * d).map { _ in Float(numbers.below(7)) - 3 }
    let search = NearestRows(metric: metric, dimensions: d, threads: 2)
    let found = search.find(count, of: queries, among: rows)
    #expect(found.count == 70)
    for (query, list) in found.enumerated() {
      let x = queries[query * d..<(query + 1) * d]
      let expected = Array(Self.ranking(x, rows, d, metric).prefix(count))
      if metric != .cosine { #expect(list == expected) }
      for (a, b) in zip(list, expected) {
        let difference =
          Self.distance(x, rows[a * d..<(a + 1) * d], metric)
          - Self.distance(x, rows[b * d..<(b + 1) * d], metric)
        #expect(abs(difference) < 1e-5)
      }
    }
  }

  @Test func rowsThatDoNotCountAreLeftOut() {
    let rows: [Float] = [0, 1, 2, 3, 4]
    let search = NearestRows(metric: .l2, dimensions: 1, threads: 1)
    #expect(search.find(2, of: [2, 0], among: rows, excluding: [2, 4]) == [[1, 3], [0, 1]])
    #expect(search.find(3, of: [2], among: [5], excluding: [0]) == [[]])
    #expect(search.find(0, of: [2], among: rows) == [[]])
  }

  @Test func aPerfectQuantizerFindsAll() throws {
    let d = 4, rows = SeededVectors.clustered(150, d)
    let set = EvaluationSet(
      rows: rows, queries: .rows([3, 77, 149]), dimensions: d, metric: .l2, threads: 1)
    #expect(set.depths == EvaluationSet.depths && set.queryCount == 3)
    let evaluation = try QuantizerEvaluation(Rounding(dimensions: d, step: 0), on: set)
    #expect(evaluation.losses == [0, 0])
    #expect(evaluation.asymmetricRecall == [1, 1, 1, 1, 1])
    #expect(evaluation.symmetricRecall == [1, 1, 1, 1, 1])
  }

  @Test(arguments: Codebook.Metric.allCases) func recallIsThatOfTheTwin(metric: Codebook.Metric)
    throws
  {
    let d = 6, rows = SeededVectors.clustered(120, d),
      queries = SeededVectors.clustered(20, d, seed: 4)
    let set = EvaluationSet(
      rows: rows, queries: .vectors(queries), dimensions: d, metric: metric, threads: 2)
    let quantizer = Rounding(dimensions: d, step: 0.7)
    let evaluation = try QuantizerEvaluation(quantizer, on: set)
    let decoded = quantizer.decode(rows, levels: 2), asked = quantizer.decode(queries, levels: 2)
    for (index, depth) in EvaluationSet.depths.enumerated() {
      var asymmetric = 0, symmetric = 0
      for query in 0..<20 {
        let slice = query * d..<(query + 1) * d
        let truth = Set(Self.ranking(queries[slice], rows, d, metric).prefix(depth.k))
        let adc = Self.ranking(queries[slice], decoded, d, metric).prefix(depth.among)
        let sdc = Self.ranking(asked[slice], decoded, d, metric).prefix(depth.among)
        asymmetric += truth.intersection(adc).count
        symmetric += truth.intersection(sdc).count
      }
      let unit = 1 / Double(20 * depth.k)
      #expect(abs(evaluation.asymmetricRecall[index] - Double(asymmetric) * unit) < 1e-9)
      #expect(abs(evaluation.symmetricRecall[index] - Double(symmetric) * unit) < 1e-9)
    }
    for (level, loss) in evaluation.losses.enumerated() {
      let twin = zip(rows, quantizer.decode(rows, levels: level + 1)).reduce(0.0) {
        $0 + (Double($1.0) - Double($1.1)) * (Double($1.0) - Double($1.1))
      }
      #expect(abs(loss - twin / 120) < 1e-9)
    }
  }

  @Test func aCodebooksLossIsThatOfItsEncoder() throws {
    let d = 8, rows = SeededVectors.clustered(200, d)
    let codebook = try CodebookTrainer.train(
      sample: rows, dimensions: d,
      configuration: TrainingConfiguration(
        metric: .l2, levels: LevelSpecification.parse("flat:8,flat:8,product:4")))
    let set = EvaluationSet(
      rows: rows, queries: .rows([0]), dimensions: d, metric: .l2, threads: 1)
    let evaluation = try QuantizerEvaluation(CodebookQuantizer(codebook, threads: 1), on: set)
    let encoded = try Codebook.Encoder(codebook, threads: 1).encode(rows)
    let scale = Double(codebook.scale)
    for (found, expected) in zip(evaluation.losses, encoded.loss) {
      #expect(abs(found * scale * scale - expected) < 1e-4 * expected)
    }
  }
}
