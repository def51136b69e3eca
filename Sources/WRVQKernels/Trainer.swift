import CWRVQKernels

/// The state machine behind wrvq_training.h.
///
/// A step is a number of items (rows, codewords, tiles, pieces, panels …), done in waves of at
/// most `laneCount` units, each with a lane of scratch of its own.  Which unit sums up what
/// follows from the shape alone: the result does not depend on who runs the units.
struct Trainer {
  /// What the units do now.
  ///
  /// Not an enumeration: those are hashable whether one wants it or not, and hashing wants
  /// `arc4random_buf`, which older C libraries lack.
  struct Step: Equatable {
    private let number: UInt8

    static var seed: Step { Step(number: 0) }
    static var assign: Step { Step(number: 1) }
    static var average: Step { Step(number: 2) }
    static var settle: Step { Step(number: 3) }
    static var neighbours: Step { Step(number: 4) }
    static var covariance: Step { Step(number: 5) }
    static var tridiagonalize: Step { Step(number: 6) }
    static var reflect: Step { Step(number: 7) }
    static var rotate: Step { Step(number: 8) }
    static var transform: Step { Step(number: 9) }
    static var pieces: Step { Step(number: 10) }
    static var measure: Step { Step(number: 11) }
    static var subtract: Step { Step(number: 12) }
    static var weigh: Step { Step(number: 13) }
    static var done: Step { Step(number: 14) }
  }

  private(set) var shape: UnsafeMutablePointer<wrvq_shape>
  let rows: Int
  let d: Int
  let seed: UInt64
  let iterations: Int
  private(set) var memory: TrainerMemory
  /// `rows × d`: residuals, of unit length while `unitRows`; tiles from the transform on.
  private(set) var sample: MutableFloatPointer

  var level = 0
  var unitRows = false
  var step = Step.done
  var items = 0
  var itemsDone = 0
  var itemsPerUnit = 1
  var iteration = 0

  var flat = FlatState()
  var product = ProductState()

  /// Level `i`'s part of the shape.
  func shape(_ i: Int) -> wrvq_level_shape { wrvq_shape_level(shape, i).pointee }

  var rule: Int32 { shape(level).weight_rule }
  var isProjection: Bool { rule == Int32(WRVQ_WEIGHT_PROJECTION.rawValue) }
  var isPlain: Bool { rule == Int32(WRVQ_WEIGHT_ONE.rawValue) }

  /// Do the rows of the sample have to be of unit length for level `i`?
  func wantsUnitRows(_ i: Int) -> Bool {
    i < Int(shape.pointee.level_count)
      && shape(i).weight_rule != Int32(WRVQ_WEIGHT_ONE.rawValue)
  }

  /// Lays out the memory at `base` and begins.
  init(
    _ shape: UnsafePointer<wrvq_shape>, _ sample: MutableFloatPointer, rows: Int, seed: UInt64,
    iterations: Int, at base: UnsafeMutableRawPointer
  ) {
    var arena = Arena(base)
    _ = arena.take(1, of: Trainer.self)
    self.shape = arena.take(1, of: wrvq_shape.self)
    self.shape.pointee = shape.pointee
    self.rows = rows
    d = shape.pointee.d
    self.seed = seed
    self.iterations = iterations
    memory = TrainerMemory(shape, rows: rows, &arena)
    self.sample = sample
    beginLevel()
  }

  /// The same trainer seen by another process, where its memory and its sample are mapped elsewhere,
  /// at the same distance from each other.
  func moved(to base: UnsafeMutableRawPointer) -> Trainer {
    var trainer = self
    var arena = Arena(base)
    _ = arena.take(1, of: Trainer.self)
    trainer.shape = arena.take(1, of: wrvq_shape.self)
    trainer.memory = TrainerMemory(trainer.shape, rows: rows, &arena)
    let offset = UnsafeRawPointer(sample) - UnsafeRawPointer(shape)
    trainer.sample = (UnsafeMutableRawPointer(trainer.shape) + offset)
      .assumingMemoryBound(to: Float.self)
    return trainer
  }

  // MARK: - Steps

  mutating func begin(_ step: Step, items: Int, perUnit: Int = 1) {
    self.step = step
    self.items = items
    itemsDone = 0
    itemsPerUnit = perUnit
  }

  var units: Int {
    lesser(memory.laneCount, (items &- itemsDone &+ itemsPerUnit &- 1) / itemsPerUnit)
  }

  func work(_ unit: Int) {
    let start = itemsDone &+ unit &* itemsPerUnit
    let end = lesser(items, start &+ itemsPerUnit)
    if unit < 0 || start >= end { return }
    let lane = memory.lanes + unit &* memory.laneFloats
    switch step {
    case .seed: seedCodewords(start, end)
    case .assign: assignRows(start, end, lane)
    case .average: averageCodewords(start, end)
    case .settle: settleGroups(start, end)
    case .neighbours: findNeighbours(start, end)
    case .covariance: sumCovariance(start, end, lane)
    case .reflect: reflectPanels(start, end)
    case .rotate: rotatePanels(start, end)
    case .transform: transformTiles(start, end, lane)
    case .pieces: trainPieces(start, end, lane)
    case .weigh, .measure: measureTiles(start, end, lane)
    case .subtract: subtractCodewords(start, end)
    default: break  // tridiagonalize is serial
    }
  }

  mutating func advance() -> wrvq_status {
    itemsDone = lesser(items, itemsDone &+ memory.laneCount &* itemsPerUnit)
    if itemsDone < items { return WRVQ_MORE }
    switch step {
    case .seed, .assign, .average, .settle, .neighbours, .subtract: advanceFlat()
    case .done: break
    default: advanceProduct()
    }
    return step == .done ? WRVQ_OK : WRVQ_MORE
  }

  /// Starts training `level`, or ends if there is none.
  mutating func beginLevel() {
    iteration = 0
    if level == Int(shape.pointee.level_count) {
      begin(.done, items: 0)
    } else if shape(level).isProduct {
      beginProduct()
    } else {
      beginFlat()
    }
  }

  /// Notes the level's loss, the mean square of `lengths`, and goes on.
  mutating func endLevel() {
    var sum = 0.0
    var row = 0
    while row < rows {
      sum += Double(memory.lengths[row]) * Double(memory.lengths[row])
      row &+= 1
    }
    memory.losses[level] = sum / Double(rows)
    level &+= 1
    unitRows = wantsUnitRows(level)
    beginLevel()
  }

  // MARK: - Weights

  /// The values that the level's weights can take, if `hasWeightGrid`.
  private var grid: WeightGrid {
    WeightGrid(
      values: memory.grids + level &* weightGridValues, count: 1 &<< Int(shape(level).weight_bits))
  }

  /// Fits the level's grid to the weights in `scores`.
  func fitGrid() {
    grid.fit(memory.scores, rows, memory.bins)
  }

  /// A weight as it comes back from storage.
  func stored(_ weight: Float) -> Float {
    shape(level).hasWeightGrid ? grid.nearest(weight) : roundedThroughHalf(weight)
  }

  /// Random numbers for one purpose.
  func random(_ purpose: Int) -> SplitMix64 {
    let stream = UInt64(truncatingIfNeeded: (level &<< 32) &+ purpose &+ 1)
    return SplitMix64(seed: seed, stream: stream)
  }
}
