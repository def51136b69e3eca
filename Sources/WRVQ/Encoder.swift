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
      let d = codebook.dimensions
      try codebook.checkVectors(rows)
      if rows.isEmpty { return EncodedVectors(for: codebook) }
      var prepared = [Float](unsafeUninitializedCapacity: rows.count) { buffer, initialized in
        let out = SharedRows(base: buffer.baseAddress!), n = rows.count / d, size = 256
        concurrently((n + size - 1) / size, threads: threads) { chunk in
          rows.withUnsafeBufferPointer { rows in
            for row in chunk * size..<min((chunk + 1) * size, n) {
              codebook.prepare(rows.baseAddress! + row * d, out.base + row * d)
            }
          }
        }
        initialized = rows.count
      }
      return encode(prepared: &prepared)
    }

    /// Encodes vectors of the codebook's space, and leaves what is still missing of them.
    func encode(prepared rows: inout [Float]) -> EncodedVectors {
      let n = rows.count / codebook.dimensions
      var encoded = EncodedVectors(for: codebook)
      if n == 0 { return encoded }
      encoded.rowCount = n
      let size = chunkRows, chunks = (n + size - 1) / size
      let output = EncoderOutput(rows: n, chunks: chunks, codebook)
      defer { output.deallocate() }
      rows.withUnsafeMutableBufferPointer { rows in
        let shared = SharedRows(base: rows.baseAddress!)
        concurrently(chunks, threads: threads) { chunk in
          let first = chunk * size
          encode(shared.base, first..<min(first + size, n), chunk: chunk, into: output)
        }
      }
      output.move(into: &encoded)
      return encoded
    }

    /// Rows that are encoded together: what a second-level cache holds.
    private var chunkRows: Int {
      beam?.chunkRows ?? max(12, min(96, 98304 / codebook.dimensions / 6 * 6))
    }

    private func encode(
      _ rows: UnsafeMutablePointer<Float>, _ range: Range<Int>, chunk: Int,
      into output: EncoderOutput
    ) {
      let n = range.count, count = codebook.levels.count
      let residuals = rows + range.lowerBound * codebook.dimensions
      let losses = output.losses + chunk * count
      if let beam {
        beam.encode(residuals, n, into: output, at: range.lowerBound, losses: losses)
        return
      }
      for (i, level) in levels.enumerated() {
        let weights = output.weights + range.lowerBound * count + i
        losses[i] =
          switch output.codes[i] {
          case .flat(let codes):
            level.encode(
              residuals, n, codes: codes + range.lowerBound, weights: weights, stride: count)
          case .product(let codes, let pieces):
            level.encode(
              residuals, n, codes: codes + range.lowerBound * pieces, weights: weights,
              stride: count)
          }
      }
    }
  }
}

/// Rows that threads change, each its own.
private struct SharedRows: @unchecked Sendable {
  let base: UnsafeMutablePointer<Float>
}
