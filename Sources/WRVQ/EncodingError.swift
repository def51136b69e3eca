/// Why vectors cannot be encoded, or codes not decoded.
public enum EncodingError: Error, Equatable {
  case badLevels(Int, expected: ClosedRange<Int>)
  case codeCount(level: Int, Int, expected: Int)
  case codeOutOfRange(level: Int, row: Int, code: Int, Int)
  /// Too many to keep the inner products of all with each other.
  case codewordCount(Int, maximum: Int)
  case dimensions(Int, expected: Int)
  case levelCount(Int, expected: Int)
  /// A NaN or an infinity; rows and dimensions are numbered from 0.
  case notFinite(row: Int, dimension: Int)
  /// The vectors were encoded with another codebook, to tell by its SHA-256.
  case otherCodebook(sha256: String, expected: String)
  /// Codes of a flat level for a product level, or the other way round.
  case otherKind(level: Int)
  case rowSize(values: Int, dimensions: Int)
  case weightCount(Int, expected: Int)
  case weightNotFinite(row: Int, level: Int)
}

extension EncodingError: CustomStringConvertible {
  public var description: String {
    switch self {
    case .badLevels(let count, let expected):
      "cannot decode \(count) levels; expected \(expected.lowerBound) to \(expected.upperBound)"
    case .codeCount(let level, let count, let expected):
      "level \(level) has \(count) codes; expected \(expected)"
    case .codeOutOfRange(let level, let row, let code, let count):
      "row \(row) has code \(code) at level \(level); expected 0 to \(count - 1)"
    case .codewordCount(let count, let maximum):
      "a codebook of \(count) codewords; expected at most \(maximum) to compare codes with codes"
    case .dimensions(let dimensions, let expected):
      "vectors have \(dimensions) dimensions; expected \(expected) as the codebook"
    case .levelCount(let count, let expected):
      "codes of \(count) levels; expected \(expected) as the codebook"
    case .notFinite(let row, let dimension):
      "row \(row) is not finite in dimension \(dimension)"
    case .otherCodebook(let sha256, let expected):
      "encoded with another codebook, of SHA-256 \(printable(sha256)); expected \(expected)"
    case .otherKind(let level):
      "the codes of level \(level) do not fit the codebook's kind of level"
    case .rowSize(let values, let dimensions):
      "\(values) values are no whole number of vectors of \(dimensions) dimensions"
    case .weightCount(let count, let expected):
      "\(count) weights; expected \(expected)"
    case .weightNotFinite(let row, let level):
      "row \(row) has a weight at level \(level) that is not finite"
    }
  }
}
