import CWRVQKernels
import Foundation

extension Codebook {
  /// Turns codes and weights back into vectors: `x̂ = Σ wᵢ·Tᵢᵀcᵢ` (WRVQ paper, eq. 9).
  public struct Decoder: Sendable {
    public let codebook: Codebook
    /// Levels that are summed up: all, or only the first ones, for a rougher vector.
    public let levelCount: Int
    private let directions: [LevelDirections]
    private let threads: Int
    private let kernels: wrvq_kernels

    /// - Parameters:
    ///   - levels: How many levels to sum up, 1 to all; nil for all.
    ///   - threads: At least 1.
    ///   - kernels: Instruction set; the results of two differ by rounding.
    /// - Throws: `CodebookError` if the codebook is not valid, `EncodingError` if it does not have
    ///   as many levels.
    public init(
      _ codebook: Codebook, levels: Int? = nil,
      threads: Int = ProcessInfo.processInfo.activeProcessorCount, kernels: Kernels = .best
    ) throws {
      precondition(threads >= 1)
      try codebook.validate()
      let all = codebook.levels.count
      guard (1...all).contains(levels ?? all) else {
        throw EncodingError.badLevels(levels ?? all, expected: 1...all)
      }
      self.codebook = codebook
      self.threads = threads
      self.kernels = kernels.table
      levelCount = levels ?? all
      directions = codebook.levels.prefix(levelCount).map {
        LevelDirections($0, dimensions: codebook.dimensions, kernels: kernels.table)
      }
    }

    /// Decodes rows.
    ///
    /// - Parameters:
    ///   - encoded: Of this codebook; codes that cannot be are an error.
    ///   - rows: Within `0..<encoded.rowCount`; nil for all.
    /// - Returns: `rows × dimensions`, in the scale of the vectors that were encoded; under cosine
    ///   of the normalised ones.
    /// - Complexity: O(rows × dimensions × (levels + block size of the transforms)).
    public func decode(
      _ encoded: EncodedVectors, rows: Range<Int>? = nil
    ) throws(EncodingError) -> [Float] {
      let rows = rows ?? 0..<encoded.rowCount
      precondition(rows.lowerBound >= 0 && rows.upperBound <= encoded.rowCount)
      try encoded.validate(for: codebook, rows: rows)
      let d = codebook.dimensions, n = rows.count
      return [Float](unsafeUninitializedCapacity: n * d) { buffer, initialized in
        initialized = n * d
        guard let base = buffer.baseAddress, n > 0 else { return }
        let out = SharedRows(base: base)
        let size = 64
        concurrently((n + size - 1) / size, threads: threads) { chunk in
          let first = chunk * size, count = min(size, n - first)
          decode(encoded, rows.lowerBound + first, count, out.base + first * d)
        }
      }
    }

    /// The squared lengths of the decoded vectors in the codebook's space: times the square of
    /// its scale, or under cosine of vectors of about unit length.
    ///
    /// What `DistanceTables` want beside codes and weights.
    ///
    /// - Parameter encoded: Of this codebook; codes that cannot be are an error.
    /// - Complexity: That of decoding.
    public func squaredNorms(of encoded: EncodedVectors) throws(EncodingError) -> [Float] {
      try encoded.validate(for: codebook, rows: 0..<encoded.rowCount)
      let d = codebook.dimensions, n = encoded.rowCount
      return [Float](unsafeUninitializedCapacity: n) { buffer, initialized in
        initialized = n
        guard let base = buffer.baseAddress, n > 0 else { return }
        let out = SharedRows(base: base)
        let size = 64
        concurrently((n + size - 1) / size, threads: threads) { chunk in
          let first = chunk * size, count = min(size, n - first)
          withUnsafeTemporaryAllocation(of: Float.self, capacity: count * d) { memory in
            let vectors = memory.baseAddress!
            sum(encoded, first, count, vectors)
            for row in 0..<count {
              let x = vectors + row * d
              out.base[first + row] = Float(kernels.inner_product(x, x, d))
            }
          }
        }
      }
    }

    private func decode(
      _ encoded: EncodedVectors, _ first: Int, _ n: Int, _ out: UnsafeMutablePointer<Float>
    ) {
      sum(encoded, first, n, out)
      for i in 0..<n * codebook.dimensions { out[i] /= codebook.scale }
    }

    /// Decoded vectors in the codebook's space.
    private func sum(
      _ encoded: EncodedVectors, _ first: Int, _ n: Int, _ out: UnsafeMutablePointer<Float>
    ) {
      let d = codebook.dimensions, all = codebook.levels.count
      out.initialize(repeating: 0, count: n * d)
      withUnsafeTemporaryAllocation(of: Float.self, capacity: n * d) { memory in
        let vectors = memory.baseAddress!
        for (level, directions) in directions.enumerated() {
          switch encoded.codes[level] {
          case .flat(let codes):
            codes.withUnsafeBufferPointer { directions.fill($0.baseAddress! + first, n, vectors) }
          case .product(let codes, let pieces):
            codes.withUnsafeBufferPointer {
              directions.fill($0.baseAddress! + first * pieces, n, vectors)
            }
          }
          for row in 0..<n {
            let weight = Float(encoded.weights[(first + row) * all + level])
            let x = out + row * d, v = vectors + row * d
            for i in 0..<d { x[i] += weight * v[i] }
          }
        }
      }
    }
  }
}

/// Rows that threads write to, each its own.
private struct SharedRows: @unchecked Sendable {
  let base: UnsafeMutablePointer<Float>
}
