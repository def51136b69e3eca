import CWRVQKernels
import TestSupport
import Testing

@Suite struct ShapeTests {
  private static let sample = SampleShape.all.first { $0.name.hasPrefix("fuzzy, transform") }!

  private func isValid(_ kernels: wrvq_kernels, _ shape: wrvq_shape) -> Bool {
    let guarded = GuardedBuffer([shape])
    return kernels.shape_check(guarded.pointer) == WRVQ_OK
  }

  @Test(arguments: KernelLevel.available, SampleShape.all)
  func soundShapesAreAccepted(_ level: KernelLevel, _ sample: SampleShape) {
    #expect(isValid(level.kernels, sample.shape))
  }

  @Test(arguments: KernelLevel.available)
  func theLargestShapesAreAccepted(_ level: KernelLevel) {
    var shape = wrvq_shape()
    shape.dimensions = 16_000
    shape.level_count = 2
    shape.scale = 1
    shape.setLevel(0) {
      $0.codeword_count = 65_536
      $0.weight_bits = 16
    }
    shape.setLevel(1) {
      $0.kind = Int32(WRVQ_PRODUCT.rawValue)
      $0.weight_rule = Int32(WRVQ_WEIGHT_PROJECTION.rawValue)
      $0.weight_bits = 16
      $0.codeword_count = 16
      $0.piece_dimensions = 33
      $0.piece_count = 485
    }
    // 6 + constant 2 + codes 243 + factor 2 is one byte too many.
    #expect(!isValid(level.kernels, shape))
    shape.setLevel(1) {
      $0.piece_dimensions = 34
      $0.piece_count = 471
    }
    #expect(isValid(level.kernels, shape))
    #expect(level.kernels.image_bytes(&shape) > 2 * 16_000 * 65_536)
  }

  @Test(arguments: KernelLevel.available)
  func everyFieldOutsideItsRangeIsRejected(_ level: KernelLevel) {
    let kernels = level.kernels, good = Self.sample.shape
    func expectBad(
      _ what: Comment, at location: SourceLocation = #_sourceLocation,
      _ damage: (inout wrvq_shape) -> Void
    ) {
      var shape = good
      damage(&shape)
      #expect(!isValid(kernels, shape), what, sourceLocation: location)
    }
    let wild: [Int32] = [.min, -1, .max, 0x7f7f_7f7f]
    for value in wild + [0, 16_001] {
      expectBad("dimensions \(value)") { $0.dimensions = value }
    }
    for value in wild + [3] { expectBad("metric \(value)") { $0.metric = value } }
    for value in wild + [0, 17] { expectBad("level_count \(value)") { $0.level_count = value } }
    for value in wild + [2, 3] { expectBad("fuzzy_levels \(value)") { $0.fuzzy_levels = value } }
    for value in wild + [good.dimensions + 1] {
      expectBad("transform \(value)") { $0.transform_block_dimensions = value }
    }
    for value in [0, -1, -0.0, .nan, .infinity, -.infinity] as [Float] {
      expectBad("scale \(value)") { $0.scale = value }
    }
    for i in 0..<3 {
      for value in wild + [2] {
        expectBad("kind \(value) of level \(i)") { $0.setLevel(i) { $0.kind = value } }
      }
      for value in wild + [3] {
        expectBad("weight_rule \(value) of level \(i)") {
          $0.setLevel(i) { $0.weight_rule = value }
        }
      }
      for value in wild + [0, 1, 5, 15, 17, 32] {
        expectBad("weight_bits \(value) of level \(i)") {
          $0.setLevel(i) { $0.weight_bits = value }
        }
      }
      for value in wild + [0, 65_537] {
        expectBad("codeword_count \(value) of level \(i)") {
          $0.setLevel(i) { $0.codeword_count = value }
        }
      }
      for value in wild + [i < 2 ? 1 : 0] {
        expectBad("piece_count \(value) of level \(i)") {
          $0.setLevel(i) { $0.piece_count = value }
        }
        expectBad("piece_dimensions \(value) of level \(i)") {
          $0.setLevel(i) { $0.piece_dimensions = value }
        }
      }
    }
    for rule in [WRVQ_WEIGHT_NORM, WRVQ_WEIGHT_PROJECTION] {
      expectBad("lists have weight one") {
        $0.setLevel(0) { $0.weight_rule = Int32(rule.rawValue) }
      }
    }
    expectBad("17 by 16 sub-lists") {
      let product = $0.level(2), flat = $0.level(1)
      $0.level_count = 4
      $0.fuzzy_levels = 2
      $0.setLevel(1) { $0.codeword_count = 17 }
      $0.setLevel(2) {
        $0 = flat
        $0.codeword_count = 16
      }
      $0.setLevel(3) { $0 = product }
    }
    expectBad("257 sub-lists") { $0.setLevel(1) { $0.codeword_count = 257 } }
    expectBad("a product level's codes are 16") { $0.setLevel(2) { $0.codeword_count = 15 } }
    expectBad("pieces that leave a dimension out") { $0.setLevel(2) { $0.piece_count = 4 } }
    expectBad("a piece beyond the dimensions") { $0.setLevel(2) { $0.piece_count = 6 } }
    let product = good.level(2), flat = good.level(1)
    expectBad("a product level before a flat one") {
      $0.fuzzy_levels = 0
      $0.setLevel(1) { $0 = product }
      $0.setLevel(2) { $0 = flat }
    }
    expectBad("a product level as the lists") {
      $0.level_count = 1
      $0.fuzzy_levels = 0
      $0.setLevel(0) { $0 = product }
    }
    expectBad("a product level of sub-lists") {
      $0.level_count = 2
      $0.setLevel(1) { $0 = product }
    }
    expectBad("sub-lists without a level") {
      $0.level_count = 1
    }
    expectBad("an entry that no block holds") {
      $0.dimensions = 500
      $0.transform_block_dimensions = 0
      $0.setLevel(2) {
        $0.piece_count = 500
        $0.piece_dimensions = 1
      }
    }
  }

  // MARK: The planner

  /// Level 0 of `lists`, and as many levels of 16 directions as an index has: one even without sub-lists.
  private static func flatShape(
    _ dimensions: Int, _ metric: wrvq_metric, lists: Int, fuzzyLevels: Int
  ) -> wrvq_shape {
    var shape = wrvq_shape()
    shape.dimensions = Int32(dimensions)
    shape.metric = Int32(metric.rawValue)
    shape.scale = 1
    shape.fuzzy_levels = Int32(fuzzyLevels)
    shape.level_count = Int32(1 + max(fuzzyLevels, 1))
    for i in 0..<Int(shape.level_count) {
      shape.setLevel(i) {
        $0.weight_rule = Int32((i == 0 ? WRVQ_WEIGHT_ONE : WRVQ_WEIGHT_PROJECTION).rawValue)
        $0.weight_bits = 16
        $0.codeword_count = Int32(i == 0 ? lists : 16)
      }
    }
    return shape
  }

  /// Every dimension that there can be: an entry fits its 252 bytes, a block its page, and no piece is
  /// larger than it must be.
  @Test(arguments: [WRVQ_L2, WRVQ_IP, WRVQ_COSINE], [0, 1, 2])
  func aProductLevelFitsAtEveryDimension(_ metric: wrvq_metric, _ fuzzyLevels: Int) {
    let level = KernelLevel.available.last!, kernels = level.kernels, training = level.training
    var bad: [String] = []
    for d in 1...Int(WRVQ_DIMENSIONS_MAX) {
      for lists in [1, 2, 65_536] {
        var shape = Self.flatShape(d, metric, lists: lists, fuzzyLevels: fuzzyLevels)
        let levels = shape.level_count, status = training.plan_product(&shape)
        var layout = wrvq_layout()
        kernels.layout(&shape, &layout)
        let product = shape.level(Int(levels)), pieces = Int(product.piece_count)
        let p = Int(product.piece_dimensions)
        // Row identifier, constant, a code and a weight a level, codes and a weight of the pieces.
        let others = 6 + (metric == WRVQ_L2 ? 2 : 0) + 3 * max(fuzzyLevels, 1) + 2
        let fits = { (p: Int) in others + ((d + p - 1) / p + 1) / 2 <= Int(WRVQ_ENTRY_BYTES_MAX) }
        let isPlanned =
          status == WRVQ_OK && shape.level_count == levels + 1
          && kernels.shape_check(&shape) == WRVQ_OK
          && layout.entry_bytes + 6 <= WRVQ_ENTRY_BYTES_MAX
          && layout.block_bytes <= 32 * WRVQ_ENTRY_BYTES_MAX
          && pieces == (d + p - 1) / p && fits(p) && (p <= 4 || !fits(p - 1)) && p >= min(4, d)
        if !isPlanned { bad.append("\(d) dimensions, \(lists) lists: \(product)") }
      }
    }
    #expect(bad.isEmpty, "\(bad.count): \(bad.prefix(3))")
  }

  @Test(arguments: KernelLevel.available)
  func noProductLevelFitsABadShape(_ level: KernelLevel) {
    for damage: (inout wrvq_shape) -> Void in [
      { $0.dimensions = 0 }, { $0.dimensions = 16_001 }, { $0.level_count = 0 },
      { $0.level_count = 16 }, { $0.metric = 3 }, { $0.setLevel(1) { $0.codeword_count = 0 } },
      { $0.fuzzy_levels = 3 },
    ] {
      var shape = Self.flatShape(100, WRVQ_L2, lists: 4, fuzzyLevels: 1)
      damage(&shape)
      #expect(level.training.plan_product(&shape) == WRVQ_BAD_SHAPE)
    }
  }

  /// A damaged page may hold anything: whatever passes must have sane sizes.
  @Test(arguments: KernelLevel.available)
  func randomDamageIsRejectedOrHarmless(_ level: KernelLevel) {
    let kernels = level.kernels
    var numbers = TestNumbers(seed: 1)
    for _ in 0..<3000 {
      var shape = SampleShape.all[numbers.below(SampleShape.all.count)].shape
      withUnsafeMutableBytes(of: &shape) { bytes in
        for _ in 0...numbers.below(3) {
          bytes[numbers.below(24 + 4 * 24)] = UInt8(numbers.below(256))
        }
      }
      guard isValid(kernels, shape) else { continue }
      var layout = wrvq_layout()
      kernels.layout(&shape, &layout)
      #expect(layout.entry_bytes >= 0 && layout.entry_bytes + 6 <= WRVQ_ENTRY_BYTES_MAX)
      #expect(layout.block_bytes <= 32 * WRVQ_ENTRY_BYTES_MAX)
      let bytes = kernels.image_bytes(&shape)
      #expect(bytes > 0 && bytes < 1 << 42)
    }
  }

  /// Dimensions 18, lists 30, sub-lists 10, five pieces of 4, L2: worked out by hand.
  @Test(arguments: KernelLevel.available)
  func aLayoutIsAsDescribed(_ level: KernelLevel) {
    var shape = Self.sample.shape, layout = wrvq_layout()
    level.kernels.layout(&shape, &layout)
    #expect(layout.entry_bytes == 2 + (1 + 2) + (3 + 2))
    #expect(layout.constants_offset == 6 * 32)
    #expect(layout.codesOffset(1) == 256)
    #expect(layout.factorsOffset(1) == 256 + 32)
    #expect(layout.codeBytes(1) == 1)
    #expect(layout.codesOffset(2) == 288 + 64)
    #expect(layout.factorsOffset(2) == 352 + 5 * 16)
    #expect(layout.codeBytes(2) == 3)
    #expect(layout.product_level == 2)
    #expect(layout.block_bytes == 432 + 64)
    shape.metric = Int32(WRVQ_IP.rawValue)
    level.kernels.layout(&shape, &layout)
    #expect(layout.constants_offset == -1)
    #expect(layout.entry_bytes == (1 + 2) + (3 + 2))
    #expect(layout.codesOffset(1) == 192)
    #expect(layout.block_bytes == 496 - 64)
  }

  @Test(arguments: KernelLevel.available, SampleShape.all)
  func aBlocksFieldsFillItWithoutOverlap(_ level: KernelLevel, _ sample: SampleShape) {
    let codebook = SampleCodebook(level, sample), layout = codebook.layout
    var used = [Int](repeating: 0, count: Int(layout.block_bytes))
    func use(_ start: Int, _ bytes: Int) { for i in start..<start + bytes { used[i] += 1 } }
    use(0, 6 * 32)
    if codebook.isL2 { use(Int(layout.constants_offset), 64) }
    var entryBytes = codebook.isL2 ? 2 : 0
    for (i, l) in sample.levels.enumerated().dropFirst() {
      switch l {
      case .flat: use(layout.codesOffset(i), 32 * layout.codeBytes(i))
      case .product(let pieces, _, _): use(layout.codesOffset(i), 16 * pieces)
      }
      use(layout.factorsOffset(i), 64)
      entryBytes += layout.codeBytes(i) + 2
    }
    #expect(used.allSatisfy { $0 == 1 })
    #expect(layout.block_bytes % 4 == 0)
    #expect(codebook.entryBytes == entryBytes)
  }

  @Test(arguments: KernelLevel.available, SampleShape.all)
  func anImagesArraysFitItWithoutOverlap(_ level: KernelLevel, _ sample: SampleShape) {
    let codebook = SampleCodebook(level, sample), c = codebook.codebook.pointee
    let d = sample.dimensions, lists = (codebook.lists + 15) / 16 * 16
    var parts: [(start: UnsafeMutableRawPointer, bytes: Int)] = []
    parts.append((UnsafeMutableRawPointer(c.center), 4 * d))
    for floats in [
      c.list_half_norms, c.list_means, c.list_variances, c.list_residual_variances,
    ] {
      parts.append((UnsafeMutableRawPointer(floats), 4 * lists))
    }
    for halves in [c.sublist_weights, c.sublist_constants] {
      parts.append((UnsafeMutableRawPointer(halves), 2 * codebook.lists * codebook.sublists))
    }
    if sample.transformBlock > 0 {
      let sizes = stride(from: 0, to: d, by: sample.transformBlock)
        .map { min(sample.transformBlock, d - $0) }
      let halves = sizes.reduce(0) { $0 + ($1 + 15) / 16 * 16 * $1 }
      parts.append((UnsafeMutableRawPointer(c.transform!), 2 * halves))
    } else {
      #expect(c.transform == nil)
    }
    for (i, l) in sample.levels.enumerated() {
      let codewords = UnsafeMutableRawPointer(wrvq_codebook_level(codebook.codebook, i))
      switch l {
      case .flat(let count, _): parts.append((codewords, 2 * ((count + 15) / 16 * 16) * d))
      case .product(let pieces, let p, _): parts.append((codewords, 2 * pieces * p * 16))
      }
    }
    var end = codebook.image.raw
    for part in parts.sorted(by: { $0.start < $1.start }) {
      #expect(part.start >= end)
      #expect(UInt(bitPattern: part.start) % 64 == 0)
      end = part.start + part.bytes
    }
    #expect(end <= codebook.image.raw + codebook.image.count)
  }

  // MARK: What goes into an image

  @Test(arguments: KernelLevel.available, SampleShape.all)
  func codewordsAreStoredInThePreparedSpace(_ level: KernelLevel, _ sample: SampleShape) {
    let codebook = SampleCodebook(level, sample), d = sample.dimensions
    let center = (0..<d).map { Double(codebook.codebook.pointee.center[$0]) }
    for (i, l) in sample.levels.enumerated() {
      let rows = codebook.levelRows[i].map { Double($0) }
      switch l {
      case .flat(let count, _):
        for code in 0..<count {
          var expected = codebook.transformed(Array(rows[code * d..<(code + 1) * d]))
          if i == 0 { expected = sum(expected, -1, center) }
          let actual = codebook.flatCodeword(i, code)
          for j in 0..<d {
            #expect(abs(actual[j] - expected[j]) <= abs(expected[j]) * 5e-4 + 1e-5)
          }
        }
      case .product(let pieces, let p, _):
        for piece in 0..<pieces {
          for code in 0..<16 {
            let start = (piece * 16 + code) * p
            #expect(
              codebook.pieceCodeword(i, piece, code)
                == codebook.levelRows[i][start..<start + p].map {
                  KernelReference.value(ofHalf: KernelReference.half($0))
                })
          }
        }
      }
    }
  }

  /// Lists longer than four do not count (Lengths.swift), unless all are.
  @Test(arguments: KernelLevel.available, SampleShape.all)
  func theCentreIsTheMeanOfTypicalListsUnderL2Only(_ level: KernelLevel, _ sample: SampleShape) {
    let codebook = SampleCodebook(level, sample), d = sample.dimensions
    let lists = (0..<codebook.lists).map { list in
      codebook.levelRows[0][list * d..<(list + 1) * d].map { Double($0) }
    }
    let typical = lists.filter { dot($0, $0) <= 16 }
    let counted = typical.isEmpty ? lists : typical
    var mean = [Double](repeating: 0, count: d)
    for row in counted { mean = sum(mean, 1 / Double(counted.count), row) }
    mean = codebook.transformed(mean)
    for i in 0..<d {
      let expected = codebook.isL2 ? mean[i] : 0
      #expect(abs(Double(codebook.codebook.pointee.center[i]) - expected) <= 1e-5)
    }
  }

  @Test(arguments: KernelLevel.available, SampleShape.all)
  func listsStartWithTheirCodewordsStatistics(_ level: KernelLevel, _ sample: SampleShape) {
    let codebook = SampleCodebook(level, sample), c = codebook.codebook.pointee
    for list in 0..<codebook.lists {
      let squared = dot(codebook.list(list), codebook.list(list))
      #expect(abs(Double(c.list_half_norms[list]) - squared / 2) <= 1e-5 * squared)
      #expect(c.list_means[list] == (codebook.isL2 ? 2 * c.list_half_norms[list] : 0))
      #expect(c.list_variances[list] == 0)
      #expect(c.list_residual_variances[list] == 0)
    }
    for list in codebook.lists..<(codebook.lists + 15) / 16 * 16 {
      #expect(c.list_half_norms[list] == .infinity)
    }
    for sublist in 0..<codebook.lists * codebook.sublists {
      #expect(c.sublist_weights[sublist] == 0 && c.sublist_constants[sublist] == 0)
    }
  }
}
