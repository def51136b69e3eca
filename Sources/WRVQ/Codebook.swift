/// Everything a quantizer has learnt: its levels' codewords, transforms and weight rules.
///
/// A vector x, scaled (and normalised under cosine), is approximated by
/// `c₀ + Σᵢ wᵢ·Tᵢᵀcᵢ`, one codeword a level (WRVQ paper, eq. 8).  All values are
/// exactly representable in half precision, so that files, catalog and index agree bit by bit.
public struct Codebook: Sendable, Equatable {
  /// The distance that codes are made to preserve.
  public enum Metric: String, Sendable, CaseIterable {
    /// Euclidean distance.
    case l2
    /// Negative inner product.
    case ip
    /// Cosine distance: vectors are normalised first.
    case cosine
  }

  /// How a level's weight is chosen (DESIGN §2).
  public enum WeightRule: String, Sendable, CaseIterable {
    /// Always 1: plain residual quantization, and level 0.
    case one
    /// The length of the residual.
    case norm
    /// The least-squares gain of the codeword.
    case projection
  }

  /// The codewords of a level.
  public enum Kind: Sendable, Equatable {
    /// `count` codewords in full dimension: `[count × dimensions]`.
    case flat(count: Int)
    /// `pieces` cuts of `pieceDimensions` dimensions (the last padded with zeros),
    /// 16 codewords each: `[pieces × 16 × pieceDimensions]`.
    case product(pieces: Int, pieceDimensions: Int)
  }

  /// One step of the quantizer.
  public struct Level: Sendable, Equatable {
    /// What `weightBits` can be: a half, or the number of one of `2^weightBits` values.
    public static let weightBitsChoices = [16, 8, 4, 3, 2]

    public var kind: Kind
    public var weightRule: WeightRule
    /// Bits of a stored weight: one of `weightBitsChoices`.
    public var weightBits: Int
    /// Row-major codewords, shaped by `kind`.
    public var codewords: [Float]
    /// Row-major orthogonal `[dimensions × dimensions]`, `z = T·u`; nil for none.
    public var transform: [Float]?
    /// The `2^weightBits` values a stored weight can take; nil at 16 bits.
    public var weights: [Float]?

    public init(
      kind: Kind, weightRule: WeightRule, weightBits: Int = 16, codewords: [Float],
      transform: [Float]? = nil, weights: [Float]? = nil
    ) {
      self.kind = kind
      self.weightRule = weightRule
      self.weightBits = weightBits
      self.codewords = codewords
      self.transform = transform
      self.weights = weights
    }
  }

  /// Dimensions of the vectors: 1…16,000.
  public var dimensions: Int
  public var metric: Metric
  /// Vectors are multiplied by it first, so that weights fit half precision.
  public var scale: Float
  public var levels: [Level]
  /// Quantization loss after each level on the training sample (mean squared
  /// length of the residual of the scaled vector, paper eq. 5); empty if unknown.
  public var loss: [Double]

  public init(
    dimensions: Int, metric: Metric, scale: Float = 1, levels: [Level], loss: [Double] = []
  ) {
    self.dimensions = dimensions
    self.metric = metric
    self.scale = scale
    self.levels = levels
    self.loss = loss
  }
}
