import CWRVQKernels

/// What a level is to be like, as on the command line: `flat:1024` or `product:4`.
public struct LevelSpecification: Sendable, Equatable, CustomStringConvertible {
  public enum Kind: Sendable, Equatable {
    /// So many codewords in full dimension: 1…65,536.
    case flat(Int)
    /// 16 codewords for each piece of so many dimensions.
    case product(pieceDimensions: Int)
  }

  public var kind: Kind

  public init(_ kind: Kind) { self.kind = kind }

  public var description: String {
    switch kind {
    case .flat(let count): "flat:\(count)"
    case .product(let pieceDimensions): "product:\(pieceDimensions)"
    }
  }

  /// Reads a list such as `flat:1024,flat:16,product:4`.
  ///
  /// The first level is flat (the lists of an index), and a product level can only be the last one.
  ///
  /// - Throws: `TrainingError`, naming the level that is wrong.
  public static func parse(_ text: String) throws -> [LevelSpecification] {
    let levels = try text.split(separator: ",", omittingEmptySubsequences: false).map(parseLevel)
    try check(levels)
    return levels
  }

  private static func parseLevel(_ text: Substring) throws -> LevelSpecification {
    let parts = text.split(separator: ":", omittingEmptySubsequences: false)
    guard parts.count == 2, ["flat", "product"].contains(parts[0]),
      let number = Int(parts[1]), parts[1].allSatisfy(\.isNumber)
    else { throw TrainingError.malformedLevel(String(text)) }
    if parts[0] == "flat" {
      guard (1...65536).contains(number) else {
        throw TrainingError.levelOutOfRange(String(text), expected: 1...65536)
      }
      return LevelSpecification(.flat(number))
    }
    guard (1...16000).contains(number) else {
      throw TrainingError.levelOutOfRange(String(text), expected: 1...16000)
    }
    return LevelSpecification(.product(pieceDimensions: number))
  }

  /// Checks number and order of levels.
  static func check(_ levels: [LevelSpecification]) throws {
    guard (1...16).contains(levels.count) else {
      throw TrainingError.levelCount(levels.count, expected: 1...16)
    }
    for (i, level) in levels.enumerated() {
      if case .product = level.kind {
        if i == 0 { throw TrainingError.firstLevelNotFlat(level.description) }
        if i + 1 < levels.count {
          throw TrainingError.productLevelNotLast(level.description, level: i)
        }
      }
    }
  }

  /// Checks that vectors can have such levels: to find out before the training.
  public static func check(_ levels: [LevelSpecification], dimensions: Int) throws {
    try check(levels)
    if case .product(let p)? = levels.last?.kind, p > dimensions {
      throw TrainingError.pieceTooLarge(pieceDimensions: p, dimensions: dimensions)
    }
  }

  /// Codewords that are trained on the same rows: of a product level those of each piece.
  public var codewordCount: Int {
    switch kind {
    case .flat(let count): count
    case .product: 16
    }
  }

  /// Rows a codeword below which a codebook suits its own sample better than other rows.
  ///
  /// Measured with 256 codewords on 100,000 text embeddings of 384 dimensions (`wrvq evaluate
  /// --levels flat:256 --sample N --test-rows 5000 --baseline none`): the loss of rows held out is
  /// .662 at 50 rows a codeword, .685 at 25, .726 (a tenth more) at 10, .767 at 5, .860 at 2 and
  /// 1.126 at 1.
  public static let fewRows = 10

  /// The levels of an index over `rows` vectors: about 4·√rows lists, but no more than get
  /// `fewRows` each; 16 directions shared by them; and pieces of 4 dimensions (fewer where vectors
  /// have fewer, more where an entry would not fit its page).
  public static func defaultLevels(rows: Int, dimensions: Int) -> [LevelSpecification] {
    let lists = Int((4 * Double(max(1, rows)).squareRoot()).rounded())
    let flat = [max(min(lists, rows / fewRows, 65536), 1), 16]
    let pieceDimensions = pieceDimensions(below: flat, dimensions: dimensions)
    return flat.map { LevelSpecification(.flat($0)) } + [
      LevelSpecification(.product(pieceDimensions: pieceDimensions))
    ]
  }

  /// Those that an index takes below such flat levels, by any metric: L2's entries are the largest.
  private static func pieceDimensions(below flat: [Int], dimensions: Int) -> Int {
    var shape = wrvq_shape()
    shape.dimensions = Int32(min(max(dimensions, 1), Int(WRVQ_DIMENSIONS_MAX)))
    shape.metric = Int32(WRVQ_L2.rawValue)
    shape.scale = 1
    shape.level_count = Int32(flat.count)
    for (i, count) in flat.enumerated() {
      let rule = i == 0 ? WRVQ_WEIGHT_ONE : WRVQ_WEIGHT_PROJECTION
      wrvq_shape_set_level(
        &shape, i,
        wrvq_level_shape(
          kind: Int32(WRVQ_FLAT.rawValue), weight_rule: Int32(rule.rawValue), weight_bits: 16,
          codeword_count: Int32(count), piece_count: 0, piece_dimensions: 0))
    }
    let status = Kernels.best.training.plan_product(&shape)
    precondition(status == WRVQ_OK, "no product level fits \(dimensions) dimensions")
    return Int(wrvq_shape_level(&shape, flat.count).pointee.piece_dimensions)
  }
}
