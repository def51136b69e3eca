import CWRVQKernels

// Every size that follows from a codebook's shape; nothing here looks at data.

extension wrvq_shape {
  @inline(__always) var d: Int { Int(dimensions) }
  @inline(__always) var levelCount: Int { Int(level_count) }
  @inline(__always) var fuzzyLevels: Int { Int(fuzzy_levels) }
  @inline(__always) var transformBlock: Int { Int(transform_block_dimensions) }
}

@inline(__always)
func level(_ shape: UnsafePointer<wrvq_shape>, _ i: Int) -> wrvq_level_shape {
  wrvq_shape_level(shape, i).pointee
}

@inline(__always) func listCount(_ shape: UnsafePointer<wrvq_shape>) -> Int {
  Int(level(shape, 0).codeword_count)
}

/// Sub-lists of a list: one for each choice of the fuzzy levels' codewords, so one without any.
@inline(__always) func sublistCount(_ shape: UnsafePointer<wrvq_shape>) -> Int {
  var count = 1
  var i = 1
  while i <= shape.pointee.fuzzyLevels {
    count &*= level(shape, i).count
    i &+= 1
  }
  return count
}

/// Mean weights kept of a sub-list: one a fuzzy level, and level 1's even without any.
@inline(__always) func sublistWeightCount(_ shape: UnsafePointer<wrvq_shape>) -> Int {
  shape.pointee.fuzzyLevels > 1 ? shape.pointee.fuzzyLevels : 1
}

extension wrvq_level_shape {
  @inline(__always) var isProduct: Bool { kind == Int32(WRVQ_PRODUCT.rawValue) }
  @inline(__always) var count: Int { Int(codeword_count) }
  @inline(__always) var pieces: Int { Int(piece_count) }
  @inline(__always) var pieceDimensions: Int { Int(piece_dimensions) }

  /// Bytes of one row's code at this level.
  var codeBytes: Int {
    if isProduct { return (pieces &+ 1) / 2 }
    return count <= 256 ? 1 : 2
  }

  /// Halves of the level's packed codewords.
  func codewordHalves(dimensions d: Int) -> Int {
    isProduct ? pieces &* pieceDimensions &* 16 : ceil16(count) &* d
  }

  /// Can stored weights take only some values?
  @inline(__always) var hasWeightGrid: Bool {
    weight_bits < 16 && weight_rule != Int32(WRVQ_WEIGHT_ONE.rawValue)
  }

  private var hasValidWeightBits: Bool {
    weight_bits == 16 || weight_bits == 8 || weight_bits >= 2 && weight_bits <= 4
  }

  func isValid(dimensions d: Int, first: Bool, last: Bool) -> Bool {
    guard weight_rule >= 0 && weight_rule <= 2 && hasValidWeightBits else { return false }
    if kind == Int32(WRVQ_FLAT.rawValue) {
      return count >= 1 && count <= Int(WRVQ_LISTS_MAX) && pieces == 0 && pieceDimensions == 0
        && (!first || weight_rule == Int32(WRVQ_WEIGHT_ONE.rawValue))
    }
    return kind == Int32(WRVQ_PRODUCT.rawValue) && !first && last && count == 16
      && pieceDimensions >= 1 && pieceDimensions <= d &+ 3 && pieces >= 1 && pieces <= d
      && pieces &* pieceDimensions >= d && (pieces &- 1) &* pieceDimensions < d
  }
}

/// Checks every count of a shape, so that a damaged metapage cannot make a kernel read wildly.
@inline(never)
func shapeCheck(_ shape: UnsafePointer<wrvq_shape>) -> wrvq_status {
  let s = shape.pointee
  guard
    s.dimensions >= 1 && s.dimensions <= WRVQ_DIMENSIONS_MAX && s.metric >= 0 && s.metric <= 2
      && s.level_count >= 1 && s.level_count <= WRVQ_LEVELS_MAX && s.fuzzy_levels >= 0
      && s.fuzzy_levels <= WRVQ_FUZZY_LEVELS_MAX && s.fuzzy_levels < s.level_count
      && s.transform_block_dimensions >= 0
      && s.transform_block_dimensions <= s.dimensions && s.scale > 0 && s.scale < .infinity
  else { return WRVQ_BAD_SHAPE }
  var i = 0
  while i < s.levelCount {
    let l = level(shape, i)
    if !l.isValid(dimensions: s.d, first: i == 0, last: i &+ 1 == s.levelCount) {
      return WRVQ_BAD_SHAPE
    }
    i &+= 1
  }
  i = 1
  while i <= s.fuzzyLevels {
    if level(shape, i).isProduct { return WRVQ_BAD_SHAPE }
    i &+= 1
  }
  if sublistCount(shape) > Int(WRVQ_SUBLISTS_MAX) { return WRVQ_BAD_SHAPE }
  var layout = wrvq_layout()
  blockLayout(shape, &layout)
  return 6 &+ layout.entry_bytes <= WRVQ_ENTRY_BYTES_MAX ? WRVQ_OK : WRVQ_BAD_SHAPE
}

/// The fewest dimensions of a piece, below which codes grow and gain little.
private let pieceDimensionsMin = 4

/// Appends to a shape of flat levels the product level that an index takes: pieces of four dimensions, or
/// of as many more as an entry needs to stay within its bytes.
@inline(never)
func planProduct(_ shape: UnsafeMutablePointer<wrvq_shape>) -> wrvq_status {
  let d = shape.pointee.d, at = shape.pointee.levelCount
  if d < 1 || d > Int(WRVQ_DIMENSIONS_MAX) || at < 1 || at >= Int(WRVQ_LEVELS_MAX) {
    return WRVQ_BAD_SHAPE
  }
  shape.pointee.level_count &+= 1
  // More pieces have no room whatever else an entry has: two codes take a byte.
  let most = 2 &* Int(WRVQ_ENTRY_BYTES_MAX)
  var p = greater(lesser(pieceDimensionsMin, d), (d &+ most &- 1) / most)
  while p <= d {
    wrvq_shape_set_level(
      shape, at,
      wrvq_level_shape(
        kind: Int32(WRVQ_PRODUCT.rawValue), weight_rule: Int32(WRVQ_WEIGHT_PROJECTION.rawValue),
        weight_bits: 16, codeword_count: 16,
        piece_count: Int32(truncatingIfNeeded: (d &+ p &- 1) / p),
        piece_dimensions: Int32(truncatingIfNeeded: p)))
    if shapeCheck(shape) == WRVQ_OK { return WRVQ_OK }
    p &+= 1
  }
  return WRVQ_BAD_SHAPE
}

/// Lays out the fields of a block and of an entry (wrvq_kernels.h).
@inline(never)
func blockLayout(
  _ shape: UnsafePointer<wrvq_shape>, _ layout: UnsafeMutablePointer<wrvq_layout>
) {
  let block = Int32(WRVQ_BLOCK_ENTRIES)
  layout.pointee = wrvq_layout()
  var entry: Int32 = 0
  var offset = 6 &* block
  layout.pointee.constants_offset = -1
  if shape.pointee.metric == Int32(WRVQ_L2.rawValue) {
    layout.pointee.constants_offset = offset
    offset &+= 2 &* block
    entry &+= 2
  }
  var i = 1
  while i < shape.pointee.levelCount {
    let l = level(shape, i)
    let bytes = Int32(truncatingIfNeeded: l.codeBytes)
    let codes = offset
    // A product level's pieces take 16 bytes each: half a byte for each of 32 entries.
    if l.isProduct { layout.pointee.product_level = Int32(truncatingIfNeeded: i) }
    offset &+= l.isProduct ? l.piece_count &* 16 : bytes &* block
    wrvq_layout_set_level(layout, i, codes, offset, bytes)
    offset &+= 2 &* block
    entry &+= bytes &+ 2
    i &+= 1
  }
  layout.pointee.entry_bytes = entry
  layout.pointee.block_bytes = offset
}

/// Halves of the transform: each diagonal block packed on its own.
func transformHalves(_ shape: UnsafePointer<wrvq_shape>) -> Int {
  blockHalves(shape.pointee.d, shape.pointee.transformBlock)
}

/// Halves of a `d × d` matrix of diagonal blocks of `b` rows; none for `b` = 0.
func blockHalves(_ d: Int, _ b: Int) -> Int {
  if b == 0 { return 0 }
  var halves = 0
  var start = 0
  while start < d {
    let size = start &+ b < d ? b : d &- start
    halves &+= ceil16(size) &* size
    start &+= b
  }
  return halves
}

/// The sub-list of an entry.
///
/// - Parameter entry: `entry_bytes`, perhaps of a damaged page: then any number below 2¹⁶.
@inline(never)
func entrySublist(
  _ shape: UnsafePointer<wrvq_shape>, _ layout: UnsafePointer<wrvq_layout>,
  _ entry: UnsafePointer<UInt8>
) -> UInt32 {
  var sublist: UInt32 = 0
  var field = layout.pointee.constants_offset >= 0 ? entry + 2 : entry
  var i = 1
  while i <= shape.pointee.fuzzyLevels {
    // At most 256 sub-lists: a fuzzy level's code is one byte.
    sublist = sublist &* UInt32(level(shape, i).count) &+ UInt32(field[0])
    field += wrvq_layout_code_bytes(layout, i) &+ 2
    i &+= 1
  }
  return sublist
}
