import Foundation

/// Vectors that quantizers are judged by: rows, queries, and the queries' true neighbours.
public struct EvaluationSet: Sendable {
  /// A share of true neighbours that a ranking finds: of the `k` nearest among its first `among`.
  public struct Depth: Sendable, Hashable {
    public var k: Int
    public var among: Int

    public init(_ k: Int, among: Int? = nil) { (self.k, self.among) = (k, among ?? k) }
  }

  public static let depths = [
    Depth(1), Depth(10), Depth(100), Depth(10, among: 20), Depth(10, among: 50),
  ]

  public let dimensions: Int
  /// `n × dimensions`: what is encoded.
  public let rows: [Float]
  /// `m × dimensions`.
  public let queries: [Float]
  /// Where queries are rows themselves: which ones.
  private let ownRows: [Int]?
  private let search: NearestRows
  /// The depths that there are enough rows for.
  public let depths: [Depth]
  private let truth: [[Int]]

  public var rowCount: Int { rows.count / dimensions }
  public var queryCount: Int { queries.count / dimensions }

  /// - Parameters:
  ///   - rows: `n × dimensions`, finite, at least one; under cosine of unit length.
  ///   - queries: Likewise, or the numbers of rows that are queries themselves: they do not count
  ///     among their own neighbours.
  /// - Complexity: O(rows × queries × dimensions)
  public init(
    rows: [Float], queries: Queries, dimensions: Int, metric: Codebook.Metric, threads: Int,
    kernels: Kernels = .best
  ) {
    self.rows = rows
    self.dimensions = dimensions
    search = NearestRows(
      metric: metric, dimensions: dimensions, threads: threads, kernels: kernels)
    var candidates = rows.count / dimensions
    switch queries {
    case .vectors(let vectors): (self.queries, ownRows) = (vectors, nil)
    case .rows(let numbers):
      self.queries = numbers.flatMap { rows[$0 * dimensions..<($0 + 1) * dimensions] }
      ownRows = numbers
      candidates -= 1
    }
    depths = Self.depths.filter { $0.among <= candidates }
    let deepest = depths.map(\.k).max() ?? 0
    truth = search.find(deepest, of: self.queries, among: rows, excluding: ownRows)
  }

  public enum Queries: Sendable {
    case vectors([Float])
    case rows([Int])
  }

  /// What a ranking finds of the true neighbours.
  ///
  /// - Parameters:
  ///   - queries: The queries, or what encoding has made of them.
  ///   - rows: What encoding has made of the rows.
  /// - Returns: A share for each of `depths`.
  func recall(of queries: [Float], among rows: [Float]) -> [Double] {
    let deepest = depths.map(\.among).max() ?? 0
    let found = search.find(deepest, of: queries, among: rows, excluding: ownRows)
    return depths.map { depth in
      let hits = zip(truth, found).reduce(0) { sum, lists in
        sum + Set(lists.0.prefix(depth.k)).intersection(lists.1.prefix(depth.among)).count
      }
      return Double(hits) / Double(depth.k * truth.count)
    }
  }
}

/// How well a quantizer does on vectors that it was not trained on.
public struct QuantizerEvaluation: Sendable {
  /// Mean squared length of what each number of leading levels leaves of a row (paper, eq. 5).
  public var losses: [Double]
  /// For each depth of the set: the share found by ranking the decoded rows by their distance to the
  /// query itself (ADC, eq. 11), and to the decoded query (SDC, eq. 10).
  public var asymmetricRecall: [Double]
  public var symmetricRecall: [Double]
  /// Rows encoded in a second, by all threads.
  public var rowsPerSecond: Double

  /// Encodes and decodes all rows and queries of a set, and ranks.
  ///
  /// Look-up tables would give the same distances: both are sums of the same products.
  /// - Throws: What the quantizer throws.
  /// - Complexity: O(rows × dimensions × (levels² + queries)), and the encoding.
  public init<Quantizer: VectorQuantizer>(_ quantizer: Quantizer, on set: EvaluationSet) throws {
    precondition(quantizer.dimensions == set.dimensions && set.rowCount > 0)
    let start = ContinuousClock.now
    let encoded = try quantizer.encode(set.rows)
    let seconds = (ContinuousClock.now - start) / .seconds(1)
    rowsPerSecond = Double(set.rowCount) / max(seconds, 1e-9)
    losses = []
    var decoded: [Float] = []
    for level in 1...quantizer.levelCount {
      decoded = try quantizer.decode(encoded, levels: level)
      losses.append(meanSquaredDifference(set.rows, decoded, rows: set.rowCount))
    }
    asymmetricRecall = set.recall(of: set.queries, among: decoded)
    let queries = try quantizer.decode(
      quantizer.encode(set.queries), levels: quantizer.levelCount)
    symmetricRecall = set.recall(of: queries, among: decoded)
  }
}

/// `Σ (a − b)²` for each row, in double precision.
private func meanSquaredDifference(_ a: [Float], _ b: [Float], rows: Int) -> Double {
  precondition(a.count == b.count)
  var sum = 0.0
  a.withUnsafeBufferPointer { a in
    b.withUnsafeBufferPointer { b in
      for i in 0..<a.count {
        let difference = Double(a[i]) - Double(b[i])
        sum += difference * difference
      }
    }
  }
  return sum / Double(rows)
}
