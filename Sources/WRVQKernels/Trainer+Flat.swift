import CWRVQKernels

// A flat level: Lloyd's k-means over rows (spherical under projection weights),
// at first on a part of the rows.

/// What a flat level's training keeps between steps.
struct FlatState {
  /// Training the centres of a tree's groups …
  var isCoarse = false
  /// … or the codewords in the groups.  Neither: all codewords at once.
  var isFine = false
  var codewordCount = 0
  var groupCount = 1
  var iterations = 0
  /// Every `stride`-th row, from row `phase`, takes part in this iteration.
  var stride = 1
  var phase = 0
  /// The pass that fixes the codes.
  var isFinal = false
}

extension Trainer {
  /// The codewords being trained.
  var target: MutableFloatPointer {
    flat.isCoarse
      ? memory.coarse : memory.codewords + codewordOffset(shape, level: level)
  }

  /// The row behind a position of the current pass.
  func row(at position: Int) -> Int {
    flat.isFine
      ? Int(memory.groupOrder[position]) : position &* flat.stride &+ flat.phase
  }

  mutating func beginFlat() {
    let count = shape(level).count
    flat = FlatState()
    flat.codewordCount = count
    flat.iterations = iterations
    if count > treeThreshold {
      flat.isCoarse = true
      flat.codewordCount = treeGroups(count)
      flat.iterations = greater(2, iterations / 2)
    }
    memory.groupCodewords[0] = 0
    memory.groupCodewords[1] = UInt32(truncatingIfNeeded: flat.codewordCount)
    var random = random(0)
    chooseDistinct(
      flat.codewordCount, below: rows, &random, memory.order, memory.chosen)
    begin(.seed, items: flat.codewordCount, perUnit: 64)
  }

  mutating func advanceFlat() {
    switch step {
    case .seed:
      orderSeeds()
      beginSettle()
    case .settle: beginAssign()
    case .assign:
      if !flat.isFinal {
        sortByCode(
          memory.codes, items, codewords: flat.codewordCount, memory.starts, memory.order)
        begin(.average, items: flat.codewordCount, perUnit: averageUnitCodewords)
      } else if flat.isCoarse {
        beginGroups()
      } else if shape(level).hasWeightGrid {
        fitGrid()
        let even = rows / memory.laneCount &+ 1
        begin(.subtract, items: rows, perUnit: lesser((1 &<< 22) / d &+ 1, even))
      } else {
        endLevel()
      }
    case .subtract: endLevel()
    case .average:
      fillEmpty()
      iteration &+= 1
      beginSettle()
    default: beginFine()
    }
  }

  private mutating func beginSettle() {
    let panels = (flat.codewordCount &+ 15) / 16
    begin(.settle, items: flat.isFine ? flat.groupCount : panels)
  }

  /// Sixteen codewords in sequence are then near each other, and stay so while they are trained.
  private func orderSeeds() {
    if !isByGroups { return }
    let count = flat.codewordCount
    guard let order = orderLists(FloatPointer(target), count, d, memory.lanes) else { return }
    copy(target, count &* d, to: memory.packed)
    var c = 0
    while c < count {
      copy(memory.packed + Int(order[c]) &* d, d, to: target + c &* d)
      c &+= 1
    }
  }

  private var isByGroups: Bool {
    !flat.isCoarse && !flat.isFine && isGrouped(flat.codewordCount)
  }

  private mutating func beginAssign() {
    if isByGroups {
      averageGroups(
        memory.packed, flat.codewordCount, d, unit: isProjection, memory.groupMeans,
        memory.groupHalfNorms)
    }
    flat.isFinal = iteration == flat.iterations
    flat.stride = flat.isFine || flat.isFinal ? 1 : sampleStride()
    flat.phase = iteration % flat.stride
    let positions = (rows &- 1 &- flat.phase) / flat.stride &+ 1
    if !flat.isFine {
      memory.groupRows[0] = 0
      memory.groupRows[1] = UInt32(truncatingIfNeeded: positions)
    }
    // Enough for a few milliseconds, few enough for all lanes.
    let rowWork = greater(1, ceil16(comparedCodewords) &* d)
    let chunk = memory.chunkRows
    let most = (1 &<< 26) / rowWork / chunk &* chunk
    let even = (positions / memory.laneCount / chunk &+ 1) &* chunk
    begin(.assign, items: positions, perUnit: greater(chunk, lesser(most, even)))
  }

  /// Codewords that one row is compared with.
  private var comparedCodewords: Int {
    if !flat.isFine { return flat.codewordCount }
    return flat.codewordCount / flat.groupCount &* comparedGroups
  }

  /// A thousand rows a codeword are plenty, and the first iterations need only some of them; but with
  /// six a codeword, half the lists of an index ended up with an outlier or two each.
  private func sampleStride() -> Int {
    let base = greater(1, rows / greater(4096, 1024 &* flat.codewordCount))
    var stride = base
    if 4 &* iteration < 3 &* flat.iterations { stride &*= 2 }
    if 2 &* iteration < flat.iterations { stride &*= 2 }
    while stride > base && rows / stride < 32 &* flat.codewordCount { stride /= 2 }
    return stride
  }

  private var averageUnitCodewords: Int { flat.codewordCount / 256 &+ 1 }

  // MARK: - Work

  func seedCodewords(_ start: Int, _ end: Int) {
    if flat.isFine {
      seedGroups(start, end)
      return
    }
    var c = start
    while c < end {
      copy(sample + Int(memory.chosen[c]) &* d, d, to: target + c &* d)
      c &+= 1
    }
  }

  func settleGroups(_ start: Int, _ end: Int) {
    var item = start
    while item < end {
      let tree = flat.isFine
      let first = tree ? Int(memory.groupCodewords[item]) : 16 &* item
      let last =
        tree ? Int(memory.groupCodewords[item &+ 1]) : lesser(first &+ 16, flat.codewordCount)
      let panel = tree ? Int(memory.groupPanels[item]) : item
      settleCodewords(
        target + first &* d, last &- first, d, first: first, unit: isProjection,
        memory.packed + panel &* 16 &* d, memory.halfNorms + panel &* 16,
        memory.squaredNorms + first)
      item &+= 1
    }
  }

  func assignRows(_ start: Int, _ end: Int, _ lane: MutableFloatPointer) {
    let weighs = flat.isFinal && !flat.isCoarse
    let subtracts = weighs && !shape(level).hasWeightGrid
    var position = start
    while position < end {
      var n = lesser(memory.chunkRows, end &- position)
      if flat.isFine {
        n = assignInGroup(position, n, lane)
      } else {
        assignRows(at: position, n, lane)
      }
      if weighs { weighRows(position, position &+ n) }
      if subtracts { subtractCodewords(position, position &+ n) }
      position &+= n
    }
  }

  private func assignRows(at position: Int, _ n: Int, _ lane: MutableFloatPointer) {
    let x = gather(position, n, lane), scratch = lane + memory.chunkRows &* d
    let codes = memory.codes + position, scores = memory.scores + position
    if !isByGroups {
      assign(
        x, n, d, memory.packed, memory.halfNorms, flat.codewordCount, scratch, codes, scores)
      return
    }
    let groups = GroupScratch(
      lists: flat.codewordCount, n, lane + ceil16(memory.chunkRows &* (d &+ 34)))
    assignByGroups(
      x, n, d, memory.packed, memory.halfNorms, flat.codewordCount, memory.groupMeans,
      memory.groupHalfNorms, groups, scratch, codes, scores)
  }

  /// The rows at `n` positions, in one piece.
  func gather(_ position: Int, _ n: Int, _ lane: MutableFloatPointer) -> FloatPointer {
    if !flat.isFine && flat.stride == 1 { return FloatPointer(sample + position &* d) }
    var r = 0
    while r < n {
      copy(sample + row(at: position &+ r) &* d, d, to: lane + r &* d)
      r &+= 1
    }
    return FloatPointer(lane)
  }

  /// Turns scores into weights.
  private func weighRows(_ start: Int, _ end: Int) {
    var position = start
    while position < end {
      let length = unitRows ? memory.lengths[row(at: position)] : 1
      var weight: Float = 1
      if isProjection {
        let norm = memory.squaredNorms[Int(memory.codes[position])]
        weight = norm > 0 ? length * memory.scores[position] / norm : 0
      } else if !isPlain {
        weight = length
      }
      memory.scores[position] = weight
      position &+= 1
    }
  }

  /// Replaces rows by their residuals.
  func subtractCodewords(_ start: Int, _ end: Int) {
    var position = start
    while position < end {
      takeResidual(
        row(at: position), Int(memory.codes[position]), stored(memory.scores[position]))
      position &+= 1
    }
  }

  /// Replaces a row by its residual, of unit length if the next level wants that.
  private func takeResidual(_ row: Int, _ code: Int, _ weight: Float) {
    let x = sample + row &* d, c = target + code &* d
    let length = unitRows ? memory.lengths[row] : 1
    if length != 1 { scale(x, length, d) }
    addScaled(x, -weight, c, d)
    let rest = ws_sqrt(dot(x, x, d))
    // What is lost to rounding has no direction.
    let isZero = !(rest > 1e-18)
    memory.lengths[row] = isZero ? 0 : rest
    if isZero {
      clear(x, d)
    } else if wantsUnitRows(level &+ 1) {
      scale(x, 1 / rest, d)
    }
  }

  /// Each codeword becomes the mean of its rows.
  ///
  /// Rows count by the square of their length, because that is what a unit residual's error
  /// contributes to the loss, and under projection weights by the cosine as well: one step of the
  /// power iteration towards the direction that leaves the least.
  func averageCodewords(_ start: Int, _ end: Int) {
    var c = start
    while c < end {
      let codeword = target + c &* d
      let first = Int(memory.starts[c]), last = Int(memory.starts[c &+ 1])
      var total: Float = 0
      var i = first
      while i < last {
        total += rowWeight(Int(memory.order[i]))
        i &+= 1
      }
      if total > 0 {
        let share = 1 / total
        clear(codeword, d)
        i = first
        while i < last {
          let position = Int(memory.order[i])
          let weight = rowWeight(position) * share
          addScaled(codeword, weight, sample + row(at: position) &* d, d)
          i &+= 1
        }
      }
      c &+= 1
    }
  }

  @inline(__always) private func rowWeight(_ position: Int) -> Float {
    if isPlain { return 1 }
    let length = limitedLength(memory.lengths[row(at: position)])
    let weight = length * length
    if !isProjection { return weight }
    let cosine = memory.scores[position]
    return cosine > 0 ? weight * cosine : 0
  }

  /// Moves codewords that no row chose to rows of others.
  private func fillEmpty() {
    var c = 0
    while c < flat.codewordCount {
      memory.chosen[c] = memory.starts[c &+ 1] &- memory.starts[c]
      c &+= 1
    }
    var random = random(iteration &+ 1)
    var misses = 0
    var group = 0
    while group < flat.groupCount {
      let first = Int(memory.groupRows[group])
      let count = Int(memory.groupRows[group &+ 1]) &- first
      c = Int(memory.groupCodewords[group])
      while c < Int(memory.groupCodewords[group &+ 1]) {
        // A random row most likely is of a large cluster.  Where all rows are equal, give up.
        while memory.chosen[c] == 0 && misses < 1024 {
          misses = fill(c, from: first &+ random.next(below: count)) ? 0 : misses &+ 1
        }
        c &+= 1
      }
      group &+= 1
      misses = 0
    }
  }

  private func fill(_ codeword: Int, from position: Int) -> Bool {
    let owner = Int(memory.codes[position]), row = row(at: position)
    let x = sample + row &* d, c = target + owner &* d
    if memory.chosen[owner] < 2 || (unitRows && memory.lengths[row] == 0) { return false }
    let distance = dot(x, x, d) - 2 * dot(x, c, d) + dot(c, c, d)
    if !(distance > 1e-6 * dot(x, x, d)) { return false }
    memory.chosen[owner] &-= 1
    memory.chosen[codeword] = 1
    copy(x, d, to: target + codeword &* d)
    return true
  }
}
