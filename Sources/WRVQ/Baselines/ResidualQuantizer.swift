import CWRVQKernels

/// Residual vector quantization (RVQ): k-means on what the levels before have left; no weights.
///
/// - seealso: Chen, Guan, Wang, "Approximate nearest neighbor search by residual vector
///   quantization", Sensors 2010; eq. 4 of the WRVQ paper.
public struct ResidualQuantizer: VectorQuantizer {
  let levels: [CodewordSet]
  public let dimensions: Int
  private let threads: Int

  public var codeBits: Int { levels.reduce(0) { $0 + WRVQ.codeBits($1.count) } }
  public var weightBits: Int { 0 }
  public var levelCount: Int { levels.count }

  /// Trains on vectors.
  ///
  /// - Parameters:
  ///   - rows: `n × dimensions`, finite.
  ///   - configuration: A level for each number of codewords.
  ///   - progress: Told the share of the work that is done.
  /// - Throws: `BaselineError` or `TrainingError`.
  /// - Complexity: O(rows × dimensions × codewords × iterations) for each level.
  public init(
    training rows: [Float], dimensions: Int, _ configuration: BaselineConfiguration,
    progress: ((Double) -> Void)? = nil
  ) throws {
    try configuration.check(rows, dimensions: dimensions)
    self.dimensions = dimensions
    threads = configuration.threads
    var residuals = rows
    var levels: [CodewordSet] = []
    for (index, count) in configuration.codewordCounts.enumerated() {
      progress?(Double(index) / Double(configuration.codewordCounts.count))
      let level = CodewordSet.train(
        residuals, dimensions: dimensions, count: count, seed: configuration.seed &+ UInt64(index),
        configuration)
      residuals = level.residuals(of: residuals, threads: threads)
      levels.append(level)
    }
    self.levels = levels
  }

  /// Takes the nearest codeword level by level.
  ///
  /// - Throws: `EncodingError`.
  /// - Complexity: O(rows × dimensions × codewords).
  public func encode(_ rows: [Float]) throws -> QuantizerCodes {
    let n = try checkedRowCount(rows), d = dimensions, m = levels.count
    let codes = RowChunks(rowCount: n, dimensions: d, threads: threads).map(m) {
      (chunk, codes: UnsafeMutablePointer<UInt16>) in
      withUnsafeTemporaryAllocation(of: Float.self, capacity: chunk.count * d) { memory in
        let residuals = memory.baseAddress!
        rows.withUnsafeBufferPointer {
          residuals.initialize(
            from: $0.baseAddress! + chunk.lowerBound * d, count: chunk.count * d)
        }
        for (index, level) in levels.enumerated() {
          level.takeNearest(residuals, chunk.count, codes + index, stride: m)
        }
      }
    }
    return QuantizerCodes(codesPerRow: m, values: codes)
  }

  public func decode(_ encoded: QuantizerCodes, levels count: Int) throws -> [Float] {
    precondition((1...levelCount).contains(count))
    return try levels.sums(of: encoded, leading: count, threads: threads)
  }
}

extension CodewordSet {
  /// Chooses codes, and replaces vectors by what their codewords leave.
  fileprivate func takeNearest(
    _ x: UnsafeMutablePointer<Float>, _ n: Int, _ codes: UnsafeMutablePointer<UInt16>, stride: Int
  ) {
    assign(x, n, codes, stride: stride)
    rows.withUnsafeBufferPointer { rows in
      for row in 0..<n {
        let values = x + row * dimensions
        let codeword = rows.baseAddress! + Int(codes[row * stride]) * dimensions
        for i in 0..<dimensions { values[i] -= codeword[i] }
      }
    }
  }

  /// What the nearest codewords leave of vectors.
  fileprivate func residuals(of x: [Float], threads: Int) -> [Float] {
    let n = x.count / dimensions
    return RowChunks(rowCount: n, dimensions: dimensions, threads: threads).map(dimensions) {
      (chunk, out: UnsafeMutablePointer<Float>) in
      x.withUnsafeBufferPointer {
        out.initialize(
          from: $0.baseAddress! + chunk.lowerBound * dimensions, count: chunk.count * dimensions)
      }
      withUnsafeTemporaryAllocation(of: UInt16.self, capacity: chunk.count) {
        takeNearest(out, chunk.count, $0.baseAddress!, stride: 1)
      }
    }
  }
}

extension [CodewordSet] {
  /// The sums of the codewords of each row's leading codes.
  func sums(of codes: QuantizerCodes, leading: Int, threads: Int) throws(EncodingError) -> [Float] {
    try codes.check(map(\.count))
    let d = self[0].dimensions, m = count
    let chunks = RowChunks(rowCount: codes.rowCount, dimensions: d, threads: threads)
    return chunks.map(d) { (chunk, out: UnsafeMutablePointer<Float>) in
      out.initialize(repeating: 0, count: chunk.count * d)
      for (index, set) in prefix(leading).enumerated() {
        set.rows.withUnsafeBufferPointer { rows in
          for (i, row) in chunk.enumerated() {
            let codeword = rows.baseAddress! + Int(codes.values[row * m + index]) * d
            let sum = out + i * d
            for k in 0..<d { sum[k] += codeword[k] }
          }
        }
      }
    }
  }
}
