import CWRVQKernels

/// A shape for tests: small, but with every remainder that a layout can have.
public struct SampleShape: Sendable, CustomStringConvertible {
  public enum Level: Sendable {
    case flat(Int, wrvq_weight_rule)
    case product(pieces: Int, dimensions: Int, wrvq_weight_rule)
  }

  public var name: String
  public var metric: wrvq_metric
  public var dimensions: Int
  public var transformBlock: Int
  public var fuzzyLevels: Int
  public var scale: Float
  public var levels: [Level]

  public init(
    name: String, metric: wrvq_metric, dimensions: Int, transformBlock: Int = 0,
    fuzzyLevels: Int = 0, scale: Float = 1, levels: [Level]
  ) {
    self.name = name
    self.metric = metric
    self.dimensions = dimensions
    self.transformBlock = transformBlock
    self.fuzzyLevels = fuzzyLevels
    self.scale = scale
    self.levels = levels
  }

  public var description: String { "\(["l2", "ip", "cosine"][Int(metric.rawValue)]), \(name)" }

  private static let one = WRVQ_WEIGHT_ONE, norm = WRVQ_WEIGHT_NORM
  private static let projection = WRVQ_WEIGHT_PROJECTION

  private static let mixes: [SampleShape] = [
    .init(name: "lists only", metric: WRVQ_L2, dimensions: 7, levels: [.flat(5, one)]),
    .init(
      name: "one dimension", metric: WRVQ_L2, dimensions: 1,
      levels: [.flat(3, one), .product(pieces: 1, dimensions: 1, projection)]),
    .init(
      name: "flat 10, 20", metric: WRVQ_L2, dimensions: 19,
      levels: [.flat(33, one), .flat(10, projection), .flat(20, one)]),
    .init(
      name: "flat with one- and two-byte codes", metric: WRVQ_L2, dimensions: 24, scale: 2.5,
      levels: [.flat(40, one), .flat(300, projection), .flat(16, norm)]),
    .init(
      name: "fuzzy 256", metric: WRVQ_L2, dimensions: 12, fuzzyLevels: 1,
      levels: [.flat(9, one), .flat(256, projection)]),
    .init(
      name: "sixteen levels", metric: WRVQ_L2, dimensions: 21, transformBlock: 21,
      levels: [.flat(4, one)]
        + (1..<16).map { .flat(3 + $0, $0 % 3 == 0 ? norm : projection) }),
    .init(
      name: "product, even", metric: WRVQ_L2, dimensions: 32,
      levels: [.flat(17, one), .product(pieces: 8, dimensions: 4, projection)]),
    .init(
      name: "fuzzy, transform, product with odd pieces", metric: WRVQ_L2, dimensions: 18,
      transformBlock: 18, fuzzyLevels: 1, scale: 0.5,
      levels: [
        .flat(30, one), .flat(10, projection), .product(pieces: 5, dimensions: 4, projection),
      ]),
    .init(
      name: "block-diagonal transform", metric: WRVQ_L2, dimensions: 40, transformBlock: 16,
      fuzzyLevels: 1,
      levels: [
        .flat(16, one), .flat(16, norm), .product(pieces: 10, dimensions: 4, norm),
      ]),
    .init(
      name: "two fuzzy levels", metric: WRVQ_L2, dimensions: 20, transformBlock: 20, fuzzyLevels: 2,
      levels: [
        .flat(11, one), .flat(5, projection), .flat(7, norm),
        .product(pieces: 5, dimensions: 4, projection),
      ]),
    .init(
      name: "pieces of six, plain residuals", metric: WRVQ_L2, dimensions: 33, transformBlock: 33,
      levels: [
        .flat(64, one), .flat(65, one), .product(pieces: 6, dimensions: 6, one),
      ]),
    .init(
      name: "pieces of one", metric: WRVQ_L2, dimensions: 9,
      levels: [.flat(16, one), .product(pieces: 9, dimensions: 1, projection)]),
  ]

  /// Every mix of levels under every metric.
  public static let all: [SampleShape] =
    [WRVQ_L2, WRVQ_IP, WRVQ_COSINE].flatMap { metric in
      mixes.map { mix in
        var shape = mix
        shape.metric = metric
        return shape
      }
    }

  /// Those with a fuzzy level.
  public static let fuzzy: [SampleShape] = all.filter { $0.fuzzyLevels > 0 }

  public var shape: wrvq_shape {
    var shape = wrvq_shape()
    shape.dimensions = Int32(dimensions)
    shape.metric = Int32(metric.rawValue)
    shape.level_count = Int32(levels.count)
    shape.fuzzy_levels = Int32(fuzzyLevels)
    shape.transform_block_dimensions = Int32(transformBlock)
    shape.scale = scale
    for (i, level) in levels.enumerated() {
      shape.setLevel(i) { l in
        l.weight_bits = 16
        switch level {
        case .flat(let count, let rule):
          l.kind = Int32(WRVQ_FLAT.rawValue)
          l.weight_rule = Int32(rule.rawValue)
          l.codeword_count = Int32(count)
        case .product(let pieces, let p, let rule):
          l.kind = Int32(WRVQ_PRODUCT.rawValue)
          l.weight_rule = Int32(rule.rawValue)
          l.codeword_count = 16
          l.piece_count = Int32(pieces)
          l.piece_dimensions = Int32(p)
        }
      }
    }
    return shape
  }
}

extension wrvq_shape {
  /// Changes level `i`, which Swift sees as a member of a tuple.
  public mutating func setLevel(_ i: Int, _ change: (inout wrvq_level_shape) -> Void) {
    withUnsafeMutableBytes(of: &levels) {
      change(&$0.assumingMemoryBound(to: wrvq_level_shape.self)[i])
    }
  }

  public func level(_ i: Int) -> wrvq_level_shape {
    withUnsafeBytes(of: levels) { $0.assumingMemoryBound(to: wrvq_level_shape.self)[i] }
  }
}

extension wrvq_layout {
  public func codesOffset(_ i: Int) -> Int {
    withUnsafePointer(to: self) { wrvq_layout_codes($0, i) }
  }

  public func factorsOffset(_ i: Int) -> Int {
    withUnsafePointer(to: self) { wrvq_layout_factors($0, i) }
  }

  public func codeBytes(_ i: Int) -> Int {
    withUnsafePointer(to: self) { wrvq_layout_code_bytes($0, i) }
  }
}
