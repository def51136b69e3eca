/// What a codebook that cannot be used says wrong.
public enum CodebookError: Error, Equatable {
  case badCodewordCount(level: Int, count: Int, maximum: Int)
  case badDimensions(Int)
  case badFirstLevel
  case badLevelCount(Int, maximum: Int)
  case badLoss
  case badPieces(level: Int, pieces: Int, pieceDimensions: Int, dimensions: Int)
  case badScale(Float)
  case badWeightBits(level: Int, bits: Int)
  case notFinite(level: Int, part: String)
  case notOrthogonal(level: Int, deviation: Float)
  case wrongCount(level: Int, part: String, expected: Int, actual: Int)
}

extension CodebookError: CustomStringConvertible {
  public var description: String {
    switch self {
    case .badCodewordCount(let level, let count, let maximum):
      "level \(level) has \(count) codewords; expected 1 to \(maximum)"
    case .badDimensions(let dimensions):
      "\(dimensions) dimensions; expected 1 to \(dimensionsRange.upperBound)"
    case .badFirstLevel:
      "level 0 is not flat with weight one"
    case .badLevelCount(let count, let maximum):
      "\(count) levels; expected 1 to \(maximum)"
    case .badLoss:
      "its loss is not a number for every level"
    case .badPieces(let level, let pieces, let pieceDimensions, let dimensions):
      "level \(level) has \(pieces) pieces of \(pieceDimensions) dimensions, "
        + "which do not just cover \(dimensions)"
    case .badScale(let scale):
      "scale \(scale); expected a positive number"
    case .badWeightBits(let level, let bits):
      "level \(level) has weights of \(bits) bits; expected 16, 8, 4, 3 or 2"
    case .notFinite(let level, let part):
      "level \(level): \(part) hold NaN or infinity, or exceed half precision"
    case .notOrthogonal(let level, let deviation):
      "level \(level): the transform is not orthogonal (off by \(deviation); expected at most 0.01)"
    case .wrongCount(let level, let part, let expected, let actual):
      "level \(level): \(actual) values of \(part); expected \(expected)"
    }
  }
}
