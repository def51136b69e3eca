/// A codebook, its encoder and its decoder as one of the quantizers that are compared.
public struct CodebookQuantizer: VectorQuantizer {
  public let codebook: Codebook
  private let encoder: Codebook.Encoder
  private let decoders: [Codebook.Decoder]

  /// - Parameters:
  ///   - beam: Ways of coding a vector that are kept after each level, at least 1: greedy.
  ///   - refitsWeights: Fit all weights together once the codes are chosen.  Leading levels alone then
  ///     are rougher than they could be.
  /// - Throws: `CodebookError` if the codebook is not valid.
  public init(
    _ codebook: Codebook, beam: Int = 1, refitsWeights: Bool = false, threads: Int,
    kernels: Kernels = .best
  ) throws {
    self.codebook = codebook
    encoder = try Codebook.Encoder(
      codebook, beam: beam, refitsWeights: refitsWeights, threads: threads, kernels: kernels)
    decoders = try (1...codebook.levels.count).map {
      try Codebook.Decoder(codebook, levels: $0, threads: threads, kernels: kernels)
    }
  }

  public var dimensions: Int { codebook.dimensions }
  public var levelCount: Int { codebook.levels.count }
  public var codeBits: Int { codebook.levels.reduce(0) { $0 + $1.codeBits } }

  /// A weight that is always one is not stored.
  public var weightBits: Int {
    codebook.levels.reduce(0) { $0 + ($1.weightRule == .one ? 0 : $1.weightBits) }
  }

  /// Under cosine, of vectors of unit length.
  public func encode(_ rows: [Float]) throws -> EncodedVectors { try encoder.encode(rows) }

  public func decode(_ encoded: EncodedVectors, levels: Int) throws -> [Float] {
    try decoders[levels - 1].decode(encoded)
  }
}

extension Codebook.Level {
  /// Bits of a vector's code, or codes, at this level.
  public var codeBits: Int {
    switch kind {
    case .flat(let count): WRVQ.codeBits(count)
    case .product(let pieces, _): 4 * pieces
    }
  }
}
