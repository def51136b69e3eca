import CWRVQKernels

// Flat levels of many codewords: rows are first divided into √k groups, which
// then train √k codewords each, so that a pass costs n·√k·d.  In the last passes
// rows also look at the codewords of the neighbouring groups.

extension Trainer {
  /// Codewords of how many groups a row is compared with.
  var comparedGroups: Int { iteration &+ 3 < flat.iterations ? 1 : neighbourCount }

  /// Rows by group; codewords in proportion.
  mutating func beginGroups() {
    let groups = flat.codewordCount, count = shape(level).count
    sortByCode(memory.codes, rows, codewords: groups, memory.groupRows, memory.groupOrder)
    var panel = 0
    var g = 0
    while g <= groups {
      memory.groupCodewords[g] = UInt32(
        truncatingIfNeeded: Int(memory.groupRows[g]) &* count / rows)
      if g > 0 {
        let size = Int(memory.groupCodewords[g] &- memory.groupCodewords[g &- 1])
        memory.groupPanels[g &- 1] = UInt32(truncatingIfNeeded: panel)
        panel &+= ceil16(size) / 16
      }
      g &+= 1
    }
    flat.groupCount = groups
    begin(.neighbours, items: groups)
  }

  mutating func beginFine() {
    (flat.isCoarse, flat.isFine) = (false, true)
    flat.codewordCount = shape(level).count
    flat.iterations = iterations
    iteration = 0
    begin(.seed, items: flat.groupCount)
  }

  func size(ofGroup g: Int) -> Int {
    Int(memory.groupCodewords[g &+ 1] &- memory.groupCodewords[g])
  }

  /// Each group's nearest groups that have codewords, itself first if it has.
  func findNeighbours(_ start: Int, _ end: Int) {
    var g = start
    while g < end {
      findNeighbours(of: g)
      g &+= 1
    }
  }

  private func findNeighbours(of g: Int) {
    let list = memory.neighbours + g &* neighbourCount
    let x = memory.coarse + g &* d
    var distances = SIMD8<Float>(repeating: .infinity)
    var found = 0
    var other = 0
    while other < flat.groupCount {
      let c = memory.coarse + other &* d
      let distance = other == g ? -.infinity : dot(c, c, d) - 2 * dot(x, c, d)
      if size(ofGroup: other) > 0 {
        var i = found < neighbourCount ? found : neighbourCount &- 1
        if found < neighbourCount || distance < distances[i] {
          while i > 0 && distance < distances[i &- 1] {
            distances[i] = distances[i &- 1]
            list[i] = list[i &- 1]
            i &-= 1
          }
          distances[i] = distance
          list[i] = UInt32(truncatingIfNeeded: other)
          found = lesser(found &+ 1, neighbourCount)
        }
      }
      other &+= 1
    }
    // Looking at the same group twice is harmless; all rows are in some group, so one was found.
    while found < neighbourCount {
      list[found] = list[0]
      found &+= 1
    }
  }

  /// Every group's codewords start as rows of it, evenly spread.
  func seedGroups(_ start: Int, _ end: Int) {
    var g = start
    while g < end {
      let first = Int(memory.groupRows[g])
      let count = Int(memory.groupRows[g &+ 1]) &- first
      let codeword = Int(memory.groupCodewords[g]), size = size(ofGroup: g)
      var i = 0
      while i < size {
        let row = Int(memory.groupOrder[first &+ i &* count / size])
        copy(sample + row &* d, d, to: target + (codeword &+ i) &* d)
        i &+= 1
      }
      g &+= 1
    }
  }

  /// Assigns the rows at some positions, as many of them as are of one group.
  ///
  /// - Returns: How many were assigned.
  func assignInGroup(_ position: Int, _ most: Int, _ lane: MutableFloatPointer) -> Int {
    let g = group(of: position)
    let n = lesser(most, Int(memory.groupRows[g &+ 1]) &- position)
    let x = gather(position, n, lane)
    let scratch = lane + memory.chunkRows &* d
    let scores = scratch + 32 &* memory.chunkRows
    let codes = UnsafeMutableRawPointer(scores + memory.chunkRows)
      .assumingMemoryBound(to: UInt32.self)
    var i = 0
    while i < comparedGroups {
      let other = Int(memory.neighbours[g &* neighbourCount &+ i])
      let panel = Int(memory.groupPanels[other]) &* 16
      assign(
        x, n, d, memory.packed + panel &* d, memory.halfNorms + panel, size(ofGroup: other),
        scratch, codes, scores)
      var r = 0
      while r < n {
        if i == 0 || scores[r] > memory.scores[position &+ r] {
          memory.scores[position &+ r] = scores[r]
          memory.codes[position &+ r] = memory.groupCodewords[other] &+ codes[r]
        }
        r &+= 1
      }
      i &+= 1
    }
    return n
  }

  /// The group that a position of the sorted rows is in.
  private func group(of position: Int) -> Int {
    var low = 0, high = flat.groupCount
    // groupRows[low] <= position < groupRows[high]
    while high &- low > 1 {
      let middle = (low &+ high) / 2
      if Int(memory.groupRows[middle]) <= position { low = middle } else { high = middle }
    }
    return low
  }
}
