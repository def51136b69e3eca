extension CodewordSet {
  /// Trains `count` codewords by k-means (Lloyd) on all rows.
  ///
  /// It starts from random rows drawn in to a fifth of their distance from the mean: residuals have
  /// no clusters, and of whole rows most would be too far out for anything but themselves.  That
  /// takes as much off the loss of residual quantization as k-means in more and more principal axes.
  ///
  /// - Parameter rows: `n × dimensions`, finite, at least one.
  /// - Complexity: O(n × dimensions × count × iterations)
  static func train(
    _ rows: [Float], dimensions d: Int, count: Int, seed: UInt64,
    _ configuration: BaselineConfiguration
  ) -> CodewordSet {
    let n = rows.count / d, kernels = configuration.kernels.table
    let chunks = RowChunks(rowCount: n, dimensions: d, threads: configuration.threads)
    var set = CodewordSet(start(rows, d, count, seed: seed), dimensions: d, kernels: kernels)
    for _ in 0..<configuration.iterations {
      let codes = chunks.map(1) { [set] (chunk, codes: UnsafeMutablePointer<UInt16>) in
        rows.withUnsafeBufferPointer {
          set.assign($0.baseAddress! + chunk.lowerBound * d, chunk.count, codes, stride: 1)
        }
      }
      let counts = set.counts(codes, n, stride: 1)
      set = rows.withUnsafeBufferPointer { set.means($0.baseAddress!, n, codes, stride: 1) }
      set = set.splitting(counts, kernels: configuration.kernels)
    }
    return set
  }

  private static func start(_ rows: [Float], _ d: Int, _ count: Int, seed: UInt64) -> [Float] {
    let n = rows.count / d
    var mean = [Double](repeating: 0, count: d)
    for i in rows.indices { mean[i % d] += Double(rows[i]) }
    var numbers = BaselineNumbers(seed: seed)
    var order = Array(0..<n)
    var codewords: [Float] = []
    codewords.reserveCapacity(count * d)
    for code in 0..<count {
      // Every row once before any comes again.
      let place = code % n
      order.swapAt(place, place + numbers.below(n - place))
      for k in 0..<d {
        let center = Float(mean[k] / Double(n))
        codewords.append(center + 0.2 * (rows[order[place] * d + k] - center))
      }
    }
    return codewords
  }

  /// Puts codewords that have no rows beside those that have the most.
  private func splitting(_ counts: [Int], kernels: Kernels) -> CodewordSet {
    if !counts.contains(0) { return self }
    var counts = counts, moved = rows
    for code in 0..<count where counts[code] == 0 {
      guard let largest = counts.indices.max(by: { counts[$0] < counts[$1] }), counts[largest] > 1
      else { break }
      for k in 0..<dimensions {
        let value = moved[largest * dimensions + k]
        moved[code * dimensions + k] = value * (1 + 0x1p-10)
        moved[largest * dimensions + k] = value * (1 - 0x1p-10)
      }
      counts[code] = counts[largest] / 2
      counts[largest] -= counts[code]
    }
    return CodewordSet(moved, dimensions: dimensions, kernels: kernels.table)
  }
}
