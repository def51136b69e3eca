import CWRVQKernels

// Lists are so numbered that every sixteen in sequence, a packed panel, are near each other: a
// group.  A row that looks for its list is compared with the means of the groups first, and then
// with the lists of the best groups only.

/// Groups from which two steps cost less than one.
private let groupsMin = 32

@inline(__always) func groupCount(_ lists: Int) -> Int { (lists &+ 15) / 16 }

/// The groups whose lists a row is compared with; 0: with all lists, without groups.
///
/// On text embeddings 2.5 square roots of the groups have the nearest of 1,264 lists for 98 % of the
/// rows, that of 4,000 for 97 %, and another one that is hardly farther for the others: 0.2 and 0.5 %
/// more distance in the mean.
func comparedGroups(_ lists: Int) -> Int {
  let groups = groupCount(lists)
  return groups < groupsMin ? 0 : Int(ws_round(2.5 * ws_sqrt(Float(groups))))
}

/// Scratch of a batch of `n` rows, cut from the caller's memory.
struct GroupScratch {
  let scores: MutableFloatPointer  // n × ceil16(groups)
  let keys: UnsafeMutablePointer<UInt64>  // ceil16(groups)
  let starts: UnsafeMutablePointer<UInt32>  // groups + 1
  let chosen: UnsafeMutablePointer<UInt32>  // n × compared: groups by row
  let members: UnsafeMutablePointer<UInt32>  // n × compared: rows by group
  let floats: Int

  init(lists: Int, _ n: Int, _ memory: MutableFloatPointer) {
    let compared = comparedGroups(lists)
    let groups = compared == 0 ? 0 : ceil16(groupCount(lists))
    var p = UnsafeMutableRawPointer(memory)
    func words(_ count: Int) -> UnsafeMutableRawPointer {
      let result = p
      p += 4 &* ceil16(count)
      return result
    }
    scores = words(n &* groups).assumingMemoryBound(to: Float.self)
    keys = words(2 &* groups).assumingMemoryBound(to: UInt64.self)
    starts = words(groups &+ 1).assumingMemoryBound(to: UInt32.self)
    chosen = words(n &* compared).assumingMemoryBound(to: UInt32.self)
    members = words(n &* compared).assumingMemoryBound(to: UInt32.self)
    floats = (p - UnsafeMutableRawPointer(memory)) / 4
  }
}

/// Finds every row's list among those of its best groups: the largest `⟨x,c⟩ − ½‖c‖²`, the lower
/// number among equals.  A row's list does not depend on the batch it comes in.
///
/// - Parameters:
///   - panel: `16·d` floats.
///   - products: `16·n + 80` floats.
///   - lists: Output, `n`.
///   - scores: Output, `n`.
func assignByGroups(
  _ codebook: UnsafePointer<wrvq_codebook>, _ x: FloatPointer, _ n: Int, _ s: GroupScratch,
  _ panel: MutableFloatPointer, _ products: MutableFloatPointer,
  _ lists: UnsafeMutablePointer<UInt32>, _ scores: MutableFloatPointer
) {
  let shape = wrvq_codebook_shape(codebook)
  let d = shape.pointee.d, count = listCount(shape), groups = groupCount(count)
  let compared = comparedGroups(count)
  batchWithHalves(
    x, d, n, d, codebook.pointee.list_groups, groups, panel, products, s.scores, ceil16(groups))
  chooseGroups(codebook.pointee.group_half_norms, n, groups, compared, s)
  let best = BestLanes(products + (16 &* n &+ 64), n, lists, scores)
  best.begin()
  let packed = HalfPointer(wrvq_codebook_level(codebook, 0))
  if n == 1 {
    compareWithGroups(
      x, d, packed, codebook.pointee.list_half_norms, s.chosen, compared, products, best)
    return
  }
  sortByGroup(s, n, groups, compared)
  var g = 0
  while g < groups {
    let members = s.members + Int(s.starts[g])
    let size = Int(s.starts[g &+ 1] &- s.starts[g])
    if size > 0 {
      halfToFloat(packed + 16 &* g &* d, panel, 16 &* d)
      panelProducts(x, d, size, d, panel, products, 16, rows: members)
      best.update(
        products, codebook.pointee.list_half_norms + 16 &* g, 16 &* g, size, rows: members)
    }
    g &+= 1
  }
}

/// `assignByGroups` while codewords are trained: packed as floats, as are the groups' means.
///
/// - Parameters:
///   - s: Of `n` rows.
///   - products: `16·n + 16` floats.
func assignByGroups(
  _ x: FloatPointer, _ n: Int, _ d: Int, _ packed: FloatPointer, _ halfNorms: FloatPointer,
  _ count: Int, _ means: FloatPointer, _ meanHalfNorms: FloatPointer, _ s: GroupScratch,
  _ products: MutableFloatPointer,
  _ codes: UnsafeMutablePointer<UInt32>, _ scores: MutableFloatPointer
) {
  let groups = groupCount(count), compared = comparedGroups(count)
  innerProducts(x, n, d, means, groups, s.scores)
  chooseGroups(meanHalfNorms, n, groups, compared, s)
  sortByGroup(s, n, groups, compared)
  let best = BestLanes(products + 16 &* n, n, codes, scores)
  best.begin()
  var g = 0
  while g < groups {
    let members = s.members + Int(s.starts[g])
    let size = Int(s.starts[g &+ 1] &- s.starts[g])
    if size > 0 {
      panelProducts(x, d, size, d, packed + 16 &* g &* d, products, 16, rows: members)
      best.update(products, halfNorms + 16 &* g, 16 &* g, size, rows: members)
    }
    g &+= 1
  }
}

/// The best groups of every row, in order of number.
private func chooseGroups(
  _ halfNorms: FloatPointer, _ n: Int, _ groups: Int, _ compared: Int, _ s: GroupScratch
) {
  var row = 0
  while row < n {
    chooseGroups(
      s.scores + row &* ceil16(groups), halfNorms, groups, compared, s.keys,
      s.chosen + row &* compared)
    row &+= 1
  }
}

@inline(__always)
private func chooseGroups(
  _ products: FloatPointer, _ halfNorms: FloatPointer, _ groups: Int, _ compared: Int,
  _ keys: UnsafeMutablePointer<UInt64>, _ chosen: UnsafeMutablePointer<UInt32>
) {
  var g = 0
  while g < groups {
    keys[g] = orderedKey(halfNorms[g] - products[g], UInt32(truncatingIfNeeded: g))
    g &+= 1
  }
  selectSmallest(keys, groups, compared)
  var i = 0
  while i < compared {
    chosen[i] = UInt32(truncatingIfNeeded: keys[i])
    i &+= 1
  }
  sortAscending(chosen, compared)
}

/// One row against the lists of some groups, four at a time.
private func compareWithGroups(
  _ x: FloatPointer, _ d: Int, _ packed: HalfPointer, _ halfNorms: FloatPointer,
  _ chosen: UnsafePointer<UInt32>, _ compared: Int, _ products: MutableFloatPointer,
  _ best: BestLanes
) {
  var i = 0
  while i < compared {
    // Beyond the last one it is taken again, to the same result.
    func list(_ k: Int) -> Int { 16 &* Int(chosen[i &+ k < compared ? i &+ k : compared &- 1]) }
    fourPanels(
      x, d, packed + list(0) &* d, packed + list(1) &* d, packed + list(2) &* d,
      packed + list(3) &* d, products)
    var k = 0
    while k < 4 {
      best.update(products + 16 &* k, halfNorms + list(k), list(k))
      k &+= 1
    }
    i &+= 4
  }
}

/// Turns groups by row into rows by group.
private func sortByGroup(_ s: GroupScratch, _ n: Int, _ groups: Int, _ compared: Int) {
  s.starts.update(repeating: 0, count: groups &+ 1)
  let total = n &* compared
  var i = 0
  while i < total {
    s.starts[Int(s.chosen[i])] &+= 1
    i &+= 1
  }
  var end: UInt32 = 0
  var g = 0
  while g <= groups {
    end &+= s.starts[g]
    s.starts[g] = end
    g &+= 1
  }
  // From the back, so that each end becomes a start.
  i = total
  while i > 0 {
    i &-= 1
    let group = Int(s.chosen[i])
    s.starts[group] &-= 1
    s.members[Int(s.starts[group])] = UInt32(truncatingIfNeeded: i / compared)
  }
}
