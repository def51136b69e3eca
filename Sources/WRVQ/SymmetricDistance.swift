import CWRVQKernels
import Foundation

extension Codebook {
  /// Distances between encoded vectors (SDC; WRVQ paper, eq. 10), from the inner products of all
  /// codewords with each other.
  ///
  /// For one encoded vector, the rows of this Gram matrix that belong to its codes, times their
  /// weights, add up to tables of look-ups for all others.
  public struct SymmetricDistance: Sendable {
    /// The most codewords of all levels together, sixteen for each piece of a product level: a
    /// Gram matrix of 1 GiB.
    public static let maximumCodewords = 16384

    public let codebook: Codebook
    /// Where a level's codewords begin among all.
    private let offsets: [Int]
    private let codewordCount: Int
    /// `codewordCount × stride`.
    private let gram: [Float]
    private let stride: Int

    /// - Parameters:
    ///   - threads: At least 1.
    ///   - kernels: Instruction set; the results of two differ by rounding.
    /// - Throws: `CodebookError` if the codebook is not valid, `EncodingError` if it has more than
    ///   `maximumCodewords`.
    /// - Complexity: O(codewords² × dimensions), once; the memory is four bytes for each pair.
    public init(
      _ codebook: Codebook, threads: Int = ProcessInfo.processInfo.activeProcessorCount,
      kernels: Kernels = .best
    ) throws {
      precondition(threads >= 1)
      try codebook.validate()
      let counts = codebook.levels.map(\.kind.codewordCount)
      let count = counts.reduce(0, +), maximum = Self.maximumCodewords
      guard count <= maximum else { throw EncodingError.codewordCount(count, maximum: maximum) }
      self.codebook = codebook
      codewordCount = count
      stride = paddedToPanels(count)
      var end = 0
      offsets = counts.map { count in
        end += count
        return end - count
      }
      gram = Self.gram(
        codebook.levels.flatMap {
          LevelDirections($0, dimensions: codebook.dimensions, kernels: kernels.table).all
        }, count, codebook.dimensions, threads: threads, kernels.table)
    }

    private static func gram(
      _ vectors: [Float], _ count: Int, _ d: Int, threads: Int, _ kernels: wrvq_kernels
    ) -> [Float] {
      let packed = packed(vectors, count, d, kernels), stride = paddedToPanels(count)
      return [Float](unsafeUninitializedCapacity: count * stride) { buffer, initialized in
        let out = SharedProducts(base: buffer.baseAddress!), size = 96
        concurrently((count + size - 1) / size, threads: threads) { chunk in
          let first = chunk * size
          vectors.withUnsafeBufferPointer {
            kernels.inner_products(
              $0.baseAddress! + first * d, min(size, count - first), d, packed, count,
              out.base + first * stride)
          }
        }
        initialized = count * stride
      }
    }

    /// The tables of one encoded vector.
    ///
    /// - Parameters:
    ///   - encoded: Of this codebook; codes that cannot be are an error.
    ///   - row: `0..<encoded.rowCount`.
    /// - Complexity: O(codes × codewords)
    public func tables(
      for encoded: EncodedVectors, row: Int
    ) throws(EncodingError) -> DistanceTables {
      precondition((0..<encoded.rowCount).contains(row))
      try encoded.validate(for: codebook, rows: row..<row + 1)
      var products = [Float](repeating: 0, count: codewordCount)
      for (level, offset) in offsets.enumerated() {
        let weight = Float(encoded.weights[row * offsets.count + level])
        for codeword in encoded.codes[level].codewords(ofRow: row) {
          let start = (offset + codeword) * stride
          for i in 0..<codewordCount { products[i] += weight * gram[start + i] }
        }
      }
      var tables = DistanceTables(
        metric: codebook.metric, scale: Double(codebook.scale), squaredNorm: 0,
        products: products, offsets: offsets)
      tables.squaredNorm = tables.innerProducts(with: encoded, rows: row..<row + 1)[0]
      return tables
    }
  }
}

extension Codebook.Kind {
  /// Of a product level those of all pieces.
  fileprivate var codewordCount: Int {
    switch self {
    case .flat(let count): count
    case .product(let pieces, _): pieces * 16
    }
  }
}

extension EncodedVectors.Codes {
  /// The codewords that a row chose, those of a level's pieces numbered on.
  fileprivate func codewords(ofRow row: Int) -> [Int] {
    switch self {
    case .flat(let codes): [Int(codes[row])]
    case .product(let codes, let pieces):
      (0..<pieces).map { 16 * $0 + Int(codes[row * pieces + $0]) }
    }
  }
}

/// Memory that threads write to, each its own rows.
private struct SharedProducts: @unchecked Sendable {
  let base: UnsafeMutablePointer<Float>
}
