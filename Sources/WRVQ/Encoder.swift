import Foundation

extension Codebook {
  /// Turns vectors into codes and weights, greedily, level by level (WRVQ paper, eq. 8).
  ///
  /// A level's weight is rounded to what is stored of it before the next level
  /// looks at the residual, so that each level mends what the one before lost.  The result
  /// depends neither on the number of threads nor on the rows that a row is encoded with.
  public struct Encoder: Sendable {
    public let codebook: Codebook
    private let levels: [LevelEncoder]
    private let threads: Int

    /// - Parameters:
    ///   - threads: At least 1.
    ///   - kernels: Instruction set; the results of two differ by rounding.
    /// - Throws: `CodebookError` if the codebook is not valid.
    public init(
      _ codebook: Codebook, threads: Int = ProcessInfo.processInfo.activeProcessorCount,
      kernels: Kernels = .best
    ) throws(CodebookError) {
      precondition(threads >= 1)
      try codebook.validate()
      self.codebook = codebook
      self.threads = threads
      levels = codebook.levels.map {
        LevelEncoder($0, dimensions: codebook.dimensions, kernels: kernels.table)
      }
    }

    /// Encodes vectors.
    ///
    /// Under cosine a vector of length zero, which has no direction, is encoded as it is.
    ///
    /// - Parameter rows: `n × dimensions`, raw and finite.
    /// - Complexity: O(n × dimensions × codewords) for a flat level, O(n × dimensions × 16) for a
    ///   product level, and O(n × dimensions × block size) for a transform.
    public func encode(_ rows: [Float]) throws(EncodingError) -> EncodedVectors {
      let d = codebook.dimensions
      try codebook.checkVectors(rows)
      let n = rows.count / d
      var encoded = EncodedVectors(for: codebook)
      if n == 0 { return encoded }
      encoded.rowCount = n
      let size = chunkRows, chunks = (n + size - 1) / size
      let output = EncoderOutput(rows: n, chunks: chunks, codebook)
      defer { output.deallocate() }
      concurrently(chunks, threads: threads) { chunk in
        let first = chunk * size
        encode(rows, first..<min(first + size, n), chunk: chunk, into: output)
      }
      output.move(into: &encoded)
      return encoded
    }

    /// Rows that are encoded together: what a second-level cache holds.
    private var chunkRows: Int { max(12, min(96, 98304 / codebook.dimensions / 6 * 6)) }

    private func encode(
      _ rows: [Float], _ range: Range<Int>, chunk: Int, into output: EncoderOutput
    ) {
      let d = codebook.dimensions, n = range.count
      withUnsafeTemporaryAllocation(of: Float.self, capacity: n * d) { memory in
        let residuals = memory.baseAddress!
        rows.withUnsafeBufferPointer { rows in
          for (i, row) in range.enumerated() {
            codebook.prepare(rows.baseAddress! + row * d, residuals + i * d)
          }
        }
        for (i, level) in levels.enumerated() {
          let weights = output.weights + range.lowerBound * levels.count + i
          output.losses[chunk * levels.count + i] =
            switch output.codes[i] {
            case .flat(let codes):
              level.encode(
                residuals, n, codes: codes + range.lowerBound, weights: weights,
                stride: levels.count)
            case .product(let codes, let pieces):
              level.encode(
                residuals, n, codes: codes + range.lowerBound * pieces, weights: weights,
                stride: levels.count)
            }
        }
      }
    }
  }
}

/// Where the threads put what they encode, each its own rows.
private struct EncoderOutput: @unchecked Sendable {
  enum Codes {
    case flat(UnsafeMutablePointer<UInt16>)
    case product(UnsafeMutablePointer<UInt8>, pieces: Int)
  }

  let rows: Int
  let codes: [Codes]
  /// `[rows × levels]`.
  let weights: UnsafeMutablePointer<Float16>
  /// `[chunks × levels]`: sums over a chunk's rows.
  let losses: UnsafeMutablePointer<Double>
  private let chunks: Int
  private let levelCount: Int

  init(rows: Int, chunks: Int, _ codebook: Codebook) {
    self.rows = rows
    self.chunks = chunks
    levelCount = codebook.levels.count
    codes = codebook.levels.map { level in
      switch level.kind {
      case .flat: .flat(.allocate(capacity: rows))
      case .product(let pieces, _): .product(.allocate(capacity: rows * pieces), pieces: pieces)
      }
    }
    weights = .allocate(capacity: rows * levelCount)
    losses = .allocate(capacity: chunks * levelCount)
  }

  func move(into encoded: inout EncodedVectors) {
    encoded.codes = codes.map { codes in
      switch codes {
      case .flat(let codes): .flat(Array(UnsafeBufferPointer(start: codes, count: rows)))
      case .product(let codes, let pieces):
        .product(
          Array(UnsafeBufferPointer(start: codes, count: rows * pieces)), pieces: pieces)
      }
    }
    encoded.weights = Array(UnsafeBufferPointer(start: weights, count: rows * levelCount))
    // In the order of the chunks, so that the sum does not depend on who did which.
    encoded.loss = (0..<levelCount).map { level in
      (0..<chunks).reduce(0.0) { $0 + losses[$1 * levelCount + level] } / Double(rows)
    }
  }

  func deallocate() {
    for codes in codes {
      switch codes {
      case .flat(let codes): codes.deallocate()
      case .product(let codes, _): codes.deallocate()
      }
    }
    weights.deallocate()
    losses.deallocate()
  }
}
