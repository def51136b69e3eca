import Foundation

extension Codebook {
  /// Turns vectors into codes and weights, level by level (WRVQ paper, eq. 8).
  ///
  /// Greedy encoding takes the best codeword of each level and goes on.  Beam search keeps several
  /// ways of coding a vector, and in the end the one that leaves the least; level 0's code is the
  /// same.  A refit gives the codes that were chosen the weights that suit them together.
  ///
  /// A level's weight is rounded to what is stored of it before the next level
  /// looks at the residual, so that each level mends what the one before lost.  The result
  /// depends neither on the number of threads nor on the rows that a row is encoded with.
  public struct Encoder: Sendable {
    public let codebook: Codebook
    private let levels: [LevelEncoder]
    /// A faster encoder of the last level.
    private let tiles: TileEncoder?
    private let beam: BeamEncoder?
    private let threads: Int

    /// - Parameters:
    ///   - beam: Ways of coding a vector that are kept after each level, at least 1: greedy.
    ///   - refitsWeights: Fit all weights together once the codes are chosen.
    ///   - threads: At least 1.
    ///   - kernels: Instruction set; the results of two differ by rounding.
    /// - Throws: `CodebookError` if the codebook is not valid.
    public init(
      _ codebook: Codebook, beam: Int = 1, refitsWeights: Bool = false,
      threads: Int = ProcessInfo.processInfo.activeProcessorCount, kernels: Kernels = .best
    ) throws(CodebookError) {
      try codebook.validate()
      self.init(
        trusted: codebook, beam: beam, refitsWeights: refitsWeights, threads: threads,
        kernels: kernels)
    }

    /// An encoder of a codebook that is valid for certain.
    init(
      trusted codebook: Codebook, beam: Int, refitsWeights: Bool, threads: Int, kernels: Kernels
    ) {
      precondition(beam >= 1 && threads >= 1)
      self.codebook = codebook
      self.threads = threads
      self.beam =
        beam == 1 && !refitsWeights
        ? nil
        : BeamEncoder(
          codebook, width: beam, refitsWeights: refitsWeights, kernels: kernels.table)
      levels =
        self.beam == nil
        ? codebook.levels.map {
          LevelEncoder($0, dimensions: codebook.dimensions, kernels: kernels.table)
        } : []
      tiles =
        self.beam == nil
        ? codebook.levels.last.flatMap {
          TileEncoder($0, dimensions: codebook.dimensions, kernels: kernels.table)
        } : nil
    }

    /// Encodes vectors.
    ///
    /// Under cosine a vector of length zero, which has no direction, is encoded as it is.
    ///
    /// - Parameter rows: `n × dimensions`, raw and finite.
    /// - Complexity: O(n × dimensions × codewords) for a flat level, O(n × dimensions × 16) for a
    ///   product level, and O(n × dimensions × block size) for a transform; all of it but for
    ///   level 0 as many times as the beam is wide.
    public func encode(_ rows: [Float]) throws(EncodingError) -> EncodedVectors {
      try codebook.checkVectors(rows)
      let d = codebook.dimensions
      return encode(count: rows.count / d) { range, chunk, output in
        withUnsafeTemporaryAllocation(of: Float.self, capacity: range.count * d) { memory in
          let prepared = memory.baseAddress!
          rows.withUnsafeBufferPointer { rows in
            for (i, row) in range.enumerated() {
              codebook.prepare(rows.baseAddress! + row * d, prepared + i * d)
            }
          }
          encode(prepared, range, chunk, into: output, last: tiles)
        }
      }
    }

    /// Encodes vectors of the codebook's space, and leaves what is still missing of them.
    func encode(prepared rows: inout [Float]) -> EncodedVectors {
      rows.withUnsafeMutableBufferPointer { rows in
        let shared = SharedRows(base: rows.baseAddress)
        return encode(count: rows.count / codebook.dimensions) { range, chunk, output in
          encode(
            shared.base! + range.lowerBound * codebook.dimensions, range, chunk, into: output,
            last: nil)
        }
      }
    }

    /// Has the threads encode `n` rows, some at a time.
    ///
    /// - Parameter body: Encodes a range of rows, the chunk of that number.
    private func encode(
      count n: Int, _ body: @Sendable (Range<Int>, _ chunk: Int, EncoderOutput) -> Void
    ) -> EncodedVectors {
      var encoded = EncodedVectors(for: codebook)
      if n == 0 { return encoded }
      encoded.rowCount = n
      let size = chunkRows, chunks = (n + size - 1) / size
      let output = EncoderOutput(rows: n, chunks: chunks, codebook)
      defer { output.deallocate() }
      concurrently(chunks, threads: threads) { chunk in
        body(chunk * size..<min((chunk + 1) * size, n), chunk, output)
      }
      output.move(into: &encoded)
      return encoded
    }

    /// Rows that are encoded together: what a second-level cache holds.
    private var chunkRows: Int {
      beam?.chunkRows ?? max(12, min(192, 196_608 / codebook.dimensions / 6 * 6))
    }

    /// - Parameters:
    ///   - residuals: The range's rows, which become what is missing of them.
    ///   - last: Encodes the last level where nobody asks for that.
    private func encode(
      _ residuals: UnsafeMutablePointer<Float>, _ range: Range<Int>, _ chunk: Int,
      into output: EncoderOutput, last: TileEncoder?
    ) {
      let n = range.count, first = range.lowerBound, count = codebook.levels.count
      let losses = output.losses + chunk * count
      if let beam {
        beam.encode(residuals, n, into: output, at: first, losses: losses)
        return
      }
      for (i, level) in levels.enumerated() {
        let weights = output.weights + first * count + i
        switch output.codes[i] {
        case .flat(let codes):
          losses[i] = level.encode(
            residuals, n, codes: codes + first, weights: weights, stride: count)
        case .product(let codes, let pieces):
          let codes = codes + first * pieces
          losses[i] =
            i == count - 1 && last != nil
            ? last!.encode(residuals, n, codes: codes, weights: weights, stride: count)
            : level.encode(residuals, n, codes: codes, weights: weights, stride: count)
        }
      }
    }
  }
}

/// Rows that threads change, each its own.
private struct SharedRows: @unchecked Sendable {
  let base: UnsafeMutablePointer<Float>?
}
