import CWRVQKernels

extension Codebook {
  /// Distances from vectors as they are to encoded ones (ADC; WRVQ paper, eqs. 11 and 14).
  public struct AsymmetricDistance: Sendable {
    public let codebook: Codebook
    private let levels: [LevelProducts]
    private let kernels: wrvq_kernels

    /// - Parameter kernels: Instruction set; the results of two differ by rounding.
    /// - Throws: `CodebookError` if the codebook is not valid.
    /// - Complexity: O(size of the codebook)
    public init(_ codebook: Codebook, kernels: Kernels = .best) throws(CodebookError) {
      try codebook.validate()
      self.codebook = codebook
      self.kernels = kernels.table
      levels = codebook.levels.map {
        LevelProducts($0, dimensions: codebook.dimensions, kernels: kernels.table)
      }
    }

    /// The tables of one query.
    ///
    /// - Parameter query: `dimensions` finite numbers, raw: scaled or normalised here.
    /// - Complexity: O(dimensions × codewords) for a flat level, O(dimensions × 16) for a
    ///   product level, and O(dimensions × block size) for a transform.
    public func tables(for query: [Float]) throws(EncodingError) -> DistanceTables {
      let d = codebook.dimensions
      guard query.count == d else { throw .dimensions(query.count, expected: d) }
      try codebook.checkVectors(query)
      let prepared = [Float](unsafeUninitializedCapacity: d) { buffer, initialized in
        codebook.prepare(query, buffer.baseAddress!)
        initialized = d
      }
      var products: [Float] = []
      var offsets: [Int] = []
      for level in levels {
        offsets.append(products.count)
        products += level.products(prepared)
      }
      return DistanceTables(
        metric: codebook.metric, scale: Double(codebook.scale),
        squaredNorm: kernels.inner_product(prepared, prepared, d), products: products,
        offsets: offsets)
    }
  }
}

/// A level's inner products with a vector of the codebook's space.
private struct LevelProducts: Sendable {
  private let level: Codebook.Level
  private let dimensions: Int
  private let rotation: BlockRotation?
  /// Packed codewords of a flat level.
  private let codewords: [Float]
  private let kernels: wrvq_kernels

  init(_ level: Codebook.Level, dimensions: Int, kernels: wrvq_kernels) {
    self.level = level
    self.dimensions = dimensions
    self.kernels = kernels
    rotation = level.transform.map {
      BlockRotation($0, dimensions: dimensions, inverse: false, kernels: kernels)
    }
    codewords =
      if case .flat(let count) = level.kind {
        packed(level.codewords, count, dimensions, kernels)
      } else { [] }
  }

  /// With each codeword, or with each piece's sixteen.
  func products(_ x: [Float]) -> [Float] {
    var z = x
    if let rotation {
      z.withUnsafeMutableBufferPointer {
        rotation.apply(UnsafePointer($0.baseAddress!), 1, $0.baseAddress!)
      }
    }
    switch level.kind {
    case .flat(let count):
      let width = paddedToPanels(count)
      var products = [Float](repeating: 0, count: width)
      kernels.inner_products(z, 1, dimensions, codewords, count, &products)
      products.removeLast(width - count)
      return products
    case .product(let pieces, let size):
      return (0..<pieces * 16).map { codeword in
        let first = codeword / 16 * size
        return (first..<min(first + size, dimensions)).reduce(0) { sum, i in
          sum + z[i] * level.codewords[codeword * size + i - first]
        }
      }
    }
  }
}
