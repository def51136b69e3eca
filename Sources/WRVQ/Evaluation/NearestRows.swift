import CWRVQKernels

/// The nearest rows of queries, by comparing each with all.
public struct NearestRows: Sendable {
  public let metric: Codebook.Metric
  public let dimensions: Int
  private let threads: Int
  private let kernels: wrvq_kernels

  public init(
    metric: Codebook.Metric, dimensions: Int, threads: Int, kernels: Kernels = .best
  ) {
    precondition(dimensions >= 1 && threads >= 1)
    self.metric = metric
    self.dimensions = dimensions
    self.threads = threads
    self.kernels = kernels.table
  }

  /// Finds them, in single precision; the lower number of two at the same distance comes first.
  ///
  /// - Parameters:
  ///   - count: How many for each query.
  ///   - queries: `m × dimensions`.
  ///   - rows: `n × dimensions`.  Under cosine a row of length zero is at distance 1 of all.
  ///   - excluded: For each query a row that does not count; nil for none.
  /// - Returns: For each query the nearest rows, nearest first; fewer where there are fewer.
  /// - Complexity: O(m × n × dimensions)
  public func find(
    _ count: Int, of queries: [Float], among rows: [Float], excluding excluded: [Int]? = nil
  ) -> [[Int]] {
    let d = dimensions
    precondition(queries.count.isMultiple(of: d) && rows.count.isMultiple(of: d))
    let m = queries.count / d, group = 64
    precondition(excluded == nil || excluded!.count == m)
    let terms = (0..<rows.count / d).map { row in
      rows.withUnsafeBufferPointer { term(of: $0.baseAddress! + row * d) }
    }
    return [[Int]](unsafeUninitializedCapacity: m) { buffer, initialized in
      initialized = m
      guard let base = buffer.baseAddress else { return }
      let out = SharedMemory(base: base)
      concurrently((m + group - 1) / group, threads: threads) { item in
        let range = item * group..<min(m, (item + 1) * group)
        let part = Array(queries[range.lowerBound * d..<range.upperBound * d])
        var nearest = range.map { NearestList(count, excluded: excluded?[$0]) }
        compare(part, range.count, rows, terms, &nearest)
        for (i, query) in range.enumerated() {
          (out.base + query).initialize(to: nearest[i].rows)
        }
      }
    }
  }

  /// What turns an inner product into something that ranks like the distance: `offset − factor·⟨x,q⟩`.
  private struct Term {
    var offset: Float
    var factor: Float
  }

  private func term(of row: UnsafePointer<Float>) -> Term {
    switch metric {
    case .l2:
      return Term(offset: Float(0.5 * kernels.inner_product(row, row, dimensions)), factor: 1)
    case .ip: return Term(offset: 0, factor: 1)
    case .cosine:
      let square = kernels.inner_product(row, row, dimensions)
      return Term(offset: 0, factor: square > 0 ? Float(1 / square.squareRoot()) : 0)
    }
  }

  private func compare(
    _ queries: [Float], _ m: Int, _ rows: [Float], _ terms: [Term], _ nearest: inout [NearestList]
  ) {
    let d = dimensions, width = paddedToPanels(m), chunk = 96
    let right = packed(queries, m, d, kernels)
    withUnsafeTemporaryAllocation(of: Float.self, capacity: chunk * width) { products in
      rows.withUnsafeBufferPointer { rows in
        for first in stride(from: 0, to: terms.count, by: chunk) {
          let n = min(chunk, terms.count - first)
          kernels.inner_products(
            rows.baseAddress! + first * d, n, d, right, m, products.baseAddress!)
          for row in 0..<n {
            let term = terms[first + row]
            for query in 0..<m {
              let value = term.offset - term.factor * products[row * width + query]
              if value < nearest[query].limit { nearest[query].add(first + row, value) }
            }
          }
        }
      }
    }
  }
}

/// The best rows so far of one query, which come in order of their numbers.
private struct NearestList {
  private let count: Int
  private let excluded: Int?
  private var entries: [(value: Float, row: Int)] = []
  /// What is not below it cannot be among the best.
  private(set) var limit = Float.infinity

  init(_ count: Int, excluded: Int?) {
    self.count = count
    self.excluded = excluded
    entries.reserveCapacity(2 * count + 1)
  }

  mutating func add(_ row: Int, _ value: Float) {
    if row == excluded { return }
    entries.append((value, row))
    if entries.count > 2 * count { keepBest() }
  }

  private mutating func keepBest() {
    entries.sort { ($0.value, $0.row) < ($1.value, $1.row) }
    entries.removeLast(max(0, entries.count - count))
    if entries.count == count { limit = entries.last?.value ?? -.infinity }
  }

  var rows: [Int] {
    var sorted = self
    sorted.keepBest()
    return sorted.entries.map(\.row)
  }
}
