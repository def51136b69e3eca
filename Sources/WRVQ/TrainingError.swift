/// Why a codebook cannot be trained.
public enum TrainingError: Error, Equatable, CustomStringConvertible {
  case malformedLevel(String)
  case levelOutOfRange(String, expected: ClosedRange<Int>)
  case levelCount(Int, expected: ClosedRange<Int>)
  case firstLevelNotFlat(String)
  case productLevelNotLast(String, level: Int)
  case pieceTooLarge(pieceDimensions: Int, dimensions: Int)
  case entryTooLarge(levels: String, dimensions: Int)
  case dimensions(Int, expected: ClosedRange<Int>)
  case iterations(Int, expected: ClosedRange<Int>)
  case learningRate(Float)
  case batchRows(Int)
  case beam(Int, expected: ClosedRange<Int>)
  /// A checkpoint of other vectors or options, and which of them.
  case otherCheckpoint(String)
  case threads(Int)
  case weightBits(Int)
  case sampleSize(values: Int, dimensions: Int)
  case emptySample
  /// A NaN or an infinity.
  case notFinite(row: Int, dimension: Int)
  /// No row has a direction; the first is named.
  case zeroVector(row: Int)

  public var description: String {
    switch self {
    case .malformedLevel(let text):
      "level \"\(text)\" is neither flat:CODEWORDS nor product:DIMENSIONS"
    case .levelOutOfRange(let text, let expected):
      "level \"\(text)\": expected a number from \(expected.lowerBound) to \(expected.upperBound)"
    case .levelCount(let count, let expected):
      "\(count) levels; expected \(expected.lowerBound) to \(expected.upperBound)"
    case .firstLevelNotFlat(let text):
      "the first level is \"\(text)\"; it must be a flat one, whose codewords are the lists"
    case .productLevelNotLast(let text, let level):
      "level \(level) is \"\(text)\"; a product level must be the last one"
    case .pieceTooLarge(let pieceDimensions, let dimensions):
      "pieces of \(pieceDimensions) dimensions are larger than vectors of \(dimensions)"
    case .entryTooLarge(let levels, let dimensions):
      "codes by \(levels) of \(dimensions) dimensions are too long for an index entry; "
        + "use fewer levels or larger pieces"
    case .dimensions(let dimensions, let expected):
      "\(dimensions) dimensions; expected \(expected.lowerBound) to \(expected.upperBound)"
    case .iterations(let iterations, let expected):
      "\(iterations) iterations; expected \(expected.lowerBound) to \(expected.upperBound)"
    case .learningRate(let rate): "a learning rate of \(rate); expected above 0 and at most 1"
    case .batchRows(let rows): "mini-batches of \(rows) rows; expected at least 1"
    case .beam(let beam, let expected):
      "a beam of \(beam); expected \(expected.lowerBound) to \(expected.upperBound)"
    case .otherCheckpoint(let what): "the checkpoint was made with \(what)"
    case .threads(let threads): "\(threads) threads; expected at least 1"
    case .weightBits(let bits): "weights of \(bits) bits; expected 16, 8, 4, 3 or 2"
    case .sampleSize(let values, let dimensions):
      "a sample of \(values) values is no whole number of vectors of \(dimensions) dimensions"
    case .emptySample: "there are no vectors to train on"
    case .notFinite(let row, let dimension):
      "row \(row) of the sample is not finite in dimension \(dimension)"
    case .zeroVector(let row):
      "all vectors of the sample are zero, the first in row \(row): they have no direction"
    }
  }
}
