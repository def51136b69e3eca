import CWRVQKernels

// Where everything of a trainer lies in the caller's memory.

/// Hands out aligned parts of one piece of memory.
struct Arena {
  private let base: UnsafeMutableRawPointer
  private(set) var bytes = 0

  init(_ base: UnsafeMutableRawPointer) { self.base = base }

  mutating func take<T>(_ count: Int, of type: T.Type) -> UnsafeMutablePointer<T> {
    let part = (base + bytes).assumingMemoryBound(to: type)
    bytes = (bytes &+ count &* MemoryLayout<T>.stride &+ 63) & ~63
    return part
  }

  /// Goes back to an earlier `bytes`, for parts that are never needed together.
  mutating func rewind(to bytes: Int) { self.bytes = bytes }
}

/// Above this, a level's codewords are trained in groups (Trainer+Tree.swift).
let treeThreshold = 4096
/// Groups of codewords that the rows of a group are finally compared with.
let neighbourCount = 8
/// Rotations that are collected before the panels are rotated: about a millisecond's.
let rotationCapacity = 65536
/// Scratch of all lanes together, if that allows for four of them; never more than the sample takes.
let laneBudgetBytes = 16 &<< 20

/// Where everything of a trainer lies.
struct TrainerMemory {
  /// The levels' codewords one behind the other: flat `[s][d]`, product `[m][16][p]`.
  let codewords: MutableFloatPointer
  let losses: UnsafeMutablePointer<Double>
  /// The values that the levels' weights can take, `levels × weightGridValues`, and counts of
  /// weights to fit them to; neither if all weights are halves.
  let grids: MutableFloatPointer
  let bins: UnsafeMutablePointer<UInt32>
  /// The transform's diagonal blocks, each `[b][b]`; their covariances before.
  let transform: MutableFloatPointer
  /// Lengths of the residuals, one a row.
  let lengths: MutableFloatPointer
  let codes: UnsafeMutablePointer<UInt32>
  let scores: MutableFloatPointer
  let order: UnsafeMutablePointer<UInt32>
  /// The last `rows % 16` rows as a tile.
  let tail: MutableFloatPointer

  let laneCount: Int
  let laneFloats: Int
  let lanes: MutableFloatPointer
  /// Rows that are gathered and assigned together.
  let chunkRows: Int

  // Flat levels.  `groups` is 1 unless trained as a tree.
  let packed: MutableFloatPointer
  let halfNorms: MutableFloatPointer
  let squaredNorms: MutableFloatPointer
  /// Means of every sixteen codewords in sequence, where there are many (ListGroups.swift).
  let groupMeans: MutableFloatPointer
  let groupHalfNorms: MutableFloatPointer
  let starts: UnsafeMutablePointer<UInt32>
  let chosen: UnsafeMutablePointer<UInt32>
  let groupOrder: UnsafeMutablePointer<UInt32>
  let groupRows: UnsafeMutablePointer<UInt32>
  let groupCodewords: UnsafeMutablePointer<UInt32>
  let groupPanels: UnsafeMutablePointer<UInt32>
  let neighbours: UnsafeMutablePointer<UInt32>
  let coarse: MutableFloatPointer

  // The product level, in the place of the flat ones'.
  let panels: MutableFloatPointer
  let rotations: UnsafeMutablePointer<Rotation>
  let diagonal: UnsafeMutablePointer<Double>
  let offDiagonal: UnsafeMutablePointer<Double>
  let betas: MutableFloatPointer
  let means: MutableFloatPointer
  let work: MutableFloatPointer
  let pieceLogs: MutableFloatPointer
  let pieceFilled: UnsafeMutablePointer<UInt32>
  let axes: UnsafeMutablePointer<UInt32>
  let axisOrder: UnsafeMutablePointer<UInt32>

  /// Lays out a trainer of `rows` rows behind what the arena already holds.
  init(_ shape: UnsafePointer<wrvq_shape>, rows n: Int, _ arena: inout Arena) {
    let d = shape.pointee.d, levels = shape.pointee.levelCount
    let b = shape.pointee.transformBlock
    codewords = arena.take(codewordOffset(shape, level: levels), of: Float.self)
    losses = arena.take(levels, of: Double.self)
    let hasGrids = hasWeightGrids(shape)
    grids = arena.take(hasGrids ? levels &* weightGridValues : 0, of: Float.self)
    bins = arena.take(hasGrids ? weightGridBins : 0, of: UInt32.self)
    transform = arena.take(d &* b, of: Float.self)
    lengths = arena.take(n, of: Float.self)
    codes = arena.take(n, of: UInt32.self)
    scores = arena.take(n, of: Float.self)
    order = arena.take(n, of: UInt32.self)
    tail = arena.take(16 &* d, of: Float.self)

    var largest = 1, largestGrouped = 0, pieces = 0, pieceDimensions = 0
    var tree = false
    var i = 0
    while i < levels {
      let l = level(shape, i)
      if l.isProduct {
        pieces = l.pieces
        pieceDimensions = l.pieceDimensions
      } else {
        largest = greater(largest, l.count)
        tree = tree || l.count > treeThreshold
        if isGrouped(l.count) { largestGrouped = greater(largestGrouped, l.count) }
      }
      i &+= 1
    }

    chunkRows = greater(12, lesser(96, 98304 / d / 6 &* 6))
    let listScratch = GroupScratch(
      lists: largestGrouped, chunkRows,
      UnsafeMutableRawPointer(bitPattern: 64)!
        .assumingMemoryBound(to: Float.self))
    let rowFloats = ceil16(chunkRows &* (d &+ 34)) &+ listScratch.floats, tileFloats = 32 &* d
    let pieceFloats = pieceScratchFloats(pieces, pieceDimensions)
    laneFloats = ceil16(
      greater(
        greater(rowFloats, tileFloats), greater(covarianceScratchFloats(width: b), pieceFloats)))
    laneCount = greater(
      4, lesser(64, lesser(laneBudgetBytes, 4 &* n &* d) / (4 &* laneFloats)))
    lanes = arena.take(laneCount &* laneFloats, of: Float.self)

    let shared = arena.bytes
    let groups = tree ? treeGroups(largest) : 1
    let panelCount = (largest &+ 15) / 16 &+ groups
    packed = arena.take(panelCount &* 16 &* d, of: Float.self)
    halfNorms = arena.take(panelCount &* 16, of: Float.self)
    squaredNorms = arena.take(largest, of: Float.self)
    groupMeans = arena.take(ceil16(groupCount(largestGrouped)) &* d, of: Float.self)
    groupHalfNorms = arena.take(ceil16(groupCount(largestGrouped)), of: Float.self)
    starts = arena.take(greater(largest, groups) &+ 1, of: UInt32.self)
    chosen = arena.take(largest, of: UInt32.self)
    groupOrder = arena.take(tree ? n : 0, of: UInt32.self)
    groupRows = arena.take(groups &+ 1, of: UInt32.self)
    groupCodewords = arena.take(groups &+ 1, of: UInt32.self)
    groupPanels = arena.take(groups &+ 1, of: UInt32.self)
    neighbours = arena.take(groups &* neighbourCount, of: UInt32.self)
    coarse = arena.take(tree ? groups &* d : 0, of: Float.self)
    let flatEnd = arena.bytes

    arena.rewind(to: shared)
    panels = arena.take(ceil16(b) &* b, of: Float.self)
    rotations = arena.take(b > 0 ? rotationCapacity : 0, of: Rotation.self)
    diagonal = arena.take(b, of: Double.self)
    offDiagonal = arena.take(b, of: Double.self)
    betas = arena.take(b, of: Float.self)
    means = arena.take(d, of: Float.self)
    work = arena.take(b, of: Float.self)
    pieceLogs = arena.take(pieces, of: Float.self)
    pieceFilled = arena.take(pieces, of: UInt32.self)
    axes = arena.take(b, of: UInt32.self)
    axisOrder = arena.take(b, of: UInt32.self)
    arena.rewind(to: greater(flatEnd, arena.bytes))
  }
}

/// Do rows look for their codeword among so many by groups of sixteen?
func isGrouped(_ codewords: Int) -> Bool {
  codewords <= treeThreshold && comparedGroups(codewords) > 0
}

/// Where a level's codewords begin behind those of the levels before.
func codewordOffset(_ shape: UnsafePointer<wrvq_shape>, level end: Int) -> Int {
  var floats = 0
  var i = 0
  while i < end {
    let l = level(shape, i)
    floats &+= l.isProduct ? l.pieces &* 16 &* l.pieceDimensions : l.count &* shape.pointee.d
    i &+= 1
  }
  return floats
}

/// Has any level weights of fewer than 16 bits?
private func hasWeightGrids(_ shape: UnsafePointer<wrvq_shape>) -> Bool {
  var i = 0
  while i < shape.pointee.levelCount {
    if level(shape, i).hasWeightGrid { return true }
    i &+= 1
  }
  return false
}

/// Groups that a large level's codewords are trained in: the square root of their number.
func treeGroups(_ codewords: Int) -> Int {
  var groups = 1
  while groups &* groups < codewords { groups &+= 1 }
  return groups
}
