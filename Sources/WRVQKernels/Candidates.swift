import CWRVQKernels

// What a round keeps of the entries that it estimates, and how it hands them out: the best first,
// each asking a little farther than the one before.

/// Memory for a round that keeps `limit` candidates: twice as many, so that they are thinned out
/// only once for every `limit` additions; and room for one block beyond.
@inline(never)
func candidatesBytes(_ limit: Int64) -> Int64 {
  32 &* candidateCapacity(limit) &+ 8 &* Int64(selectionBoundsMax) &+ 16
}

@inline(__always) private func candidateCapacity(_ limit: Int64) -> Int64 {
  2 &* limit &+ Int64(WRVQ_BLOCK_ENTRIES)
}

/// Starts a round.
@inline(never)
func queryRound(
  _ query: UnsafeMutablePointer<wrvq_query>, _ limit: Int64, _ memory: UnsafeMutableRawPointer
) {
  let capacity = Int(candidateCapacity(limit))
  query.pointee.candidate_keys = memory.assumingMemoryBound(to: UInt64.self)
  query.pointee.candidate_rows = query.pointee.candidate_keys! + capacity
  query.pointee.candidate_ranked = query.pointee.candidate_rows! + capacity
  query.pointee.ranked_bounds = query.pointee.candidate_ranked! + capacity
  // Numbers of 128 bits lie there too.
  let scratch = UnsafeMutableRawPointer(query.pointee.ranked_bounds! + selectionBoundsMax)
    .alignedUp(toMultipleOf: 16)
  query.pointee.candidate_scratch = scratch.assumingMemoryBound(to: UInt64.self)
  query.pointee.limit = limit
  query.pointee.candidate_count = 0
  query.pointee.ranked_count = -1
  query.pointee.threshold = .infinity
}

@inline(__always)
func keep(_ query: UnsafeMutablePointer<wrvq_query>, _ estimate: Float, _ row: UInt64) {
  if row == WRVQ_ROW_DEAD { return }
  let at = Int(query.pointee.candidate_count)
  query.pointee.candidate_keys![at] = orderedKey(estimate, UInt32(truncatingIfNeeded: at))
  query.pointee.candidate_rows![at] = row
  query.pointee.candidate_count = Int64(at &+ 1)
  query.pointee.ranked_count = -1
}

/// Keeps the best `limit` candidates; the worst of them is the new threshold.
@inline(never)
func thinOut(_ query: UnsafeMutablePointer<wrvq_query>) {
  let limit = Int(query.pointee.limit), count = Int(query.pointee.candidate_count)
  if count <= limit { return }
  // Selecting in a copy leaves the keys in order of slot, so that what stays just moves down.
  let copy = query.pointee.candidate_scratch!
  copy.update(from: query.pointee.candidate_keys!, count: count)
  selectSmallest(copy, count, limit)
  drop(query, above: largest(copy, limit))
}

/// Keys of a sample from which the threshold of a large round is guessed.
private let sampleKeys = 1024

/// Makes room for more candidates than the best `limit` and at most half as many beyond.
///
/// A sample of the keys says which is the worst to keep, some four standard deviations beyond the
/// limit; should that have failed, all are selected from.
@inline(never)
func makeRoom(_ query: UnsafeMutablePointer<wrvq_query>) {
  let keys = query.pointee.candidate_keys!, sample = query.pointee.candidate_scratch!
  let limit = Int(query.pointee.limit), count = Int(query.pointee.candidate_count)
  if limit < 4 &* sampleKeys { return thinOut(query) }
  var i = 0
  while i < sampleKeys {
    sample[i] = keys[i &* count / sampleKeys]
    i &+= 1
  }
  let wanted = sampleKeys &* limit / count &+ sampleKeys / 16
  selectSmallest(sample, sampleKeys, wanted)
  let worst = largest(sample, wanted)
  var kept = 0
  i = 0
  while i < count {
    kept &+= keys[i] <= worst ? 1 : 0
    i &+= 1
  }
  if kept < limit || kept > limit &+ limit / 2 { return thinOut(query) }
  drop(query, above: worst)
}

/// Drops the candidates whose keys are larger than `worst`, whose estimate is the new threshold.
private func drop(_ query: UnsafeMutablePointer<wrvq_query>, above worst: UInt64) {
  let keys = query.pointee.candidate_keys!, rows = query.pointee.candidate_rows!
  let count = Int(query.pointee.candidate_count)
  var kept = 0
  var i = 0
  while i < count {
    let key = keys[i]
    rows[kept] = rows[i]
    keys[kept] = key & 0xffff_ffff_0000_0000 | UInt64(kept)
    kept &+= key <= worst ? 1 : 0
    i &+= 1
  }
  query.pointee.candidate_count = Int64(kept)
  query.pointee.threshold = keyValue(worst)
}

/// What the round's best `n` candidates are beyond those of the calls before, by row identifier,
/// each once, without those taken before.
///
/// - Parameters:
///   - next: Output: the least estimate that was not handed out.
/// - Returns: How many.
/// - Complexity: O(candidates) for a round's first call; the following ones pay for what they add.
@inline(never)
func queryTake(
  _ query: UnsafeMutablePointer<wrvq_query>, _ n: Int, _ taken: UnsafePointer<UInt64>?,
  _ takenCount: Int, _ rows: UnsafeMutablePointer<UInt64>, _ estimates: MutableFloatPointer,
  _ next: MutableFloatPointer
) -> Int {
  if query.pointee.ranked_count < 0 { beginRanking(query) }
  let keys = query.pointee.candidate_ranked!, candidates = query.pointee.candidate_rows!
  let total = Int(query.pointee.candidate_count), before = Int(query.pointee.ranked_count)
  let count = max(before, min(n, total))
  next.pointee = query.pointee.threshold
  let end = selectNext(
    keys, before, count, query.pointee.ranked_bounds!, &query.pointee.ranked_bound_count)
  query.pointee.ranked_count = Int64(count)
  var i = count
  while i < end {
    let estimate = keyValue(keys[i])
    if estimate < next.pointee { next.pointee = estimate }
    i &+= 1
  }
  // Row and estimate in one number sort by row, then by estimate.
  let pairs = UnsafeMutableRawPointer(query.pointee.candidate_scratch!)
    .assumingMemoryBound(to: UInt128.self)
  i = before
  while i < count {
    let row = candidates[Int(UInt32(truncatingIfNeeded: keys[i]))]
    pairs[i &- before] = UInt128(row) &<< 32 | UInt128(keys[i] &>> 32)
    i &+= 1
  }
  sortAscending(pairs, count &- before)
  return dropTaken(pairs, count &- before, taken, takenCount, rows, estimates)
}

/// A copy of the keys that may be put in another order; nothing of it is ranked yet.
private func beginRanking(_ query: UnsafeMutablePointer<wrvq_query>) {
  thinOut(query)
  let count = Int(query.pointee.candidate_count)
  query.pointee.candidate_ranked!.update(from: query.pointee.candidate_keys!, count: count)
  query.pointee.ranked_count = 0
  query.pointee.ranked_bounds![0] = UInt64(count)
  query.pointee.ranked_bound_count = 1
}

/// Counts the candidates kept whose estimate is at most `bound`.
///
/// - Complexity: O(candidates).
@inline(never)
func queryWithin(_ query: UnsafePointer<wrvq_query>, _ bound: Float) -> Int {
  let keys = query.pointee.candidate_keys!, last = orderedKey(bound, .max)
  var count = 0
  var i = 0
  while i < Int(query.pointee.candidate_count) {
    count &+= keys[i] <= last ? 1 : 0
    i &+= 1
  }
  return count
}

/// Keeps of sorted rows each once, with its best estimate, and none that was taken.
private func dropTaken(
  _ pairs: UnsafePointer<UInt128>, _ count: Int, _ taken: UnsafePointer<UInt64>?,
  _ takenCount: Int, _ rows: UnsafeMutablePointer<UInt64>, _ estimates: MutableFloatPointer
) -> Int {
  var kept = 0, other = 0
  var i = 0
  while i < count {
    let row = UInt64(truncatingIfNeeded: pairs[i] &>> 32)
    while other < takenCount && taken![other] < row { other &+= 1 }
    let isTaken = other < takenCount && taken![other] == row
    if !isTaken && (kept == 0 || rows[kept &- 1] != row) {
      rows[kept] = row
      estimates[kept] = keyValue(UInt64(truncatingIfNeeded: pairs[i]) &<< 32)
      kept &+= 1
    }
    i &+= 1
  }
  return kept
}

/// The place of a row among the round's candidates in order of estimate; `limit` if it is not there.
@inline(never)
func queryPlace(_ query: UnsafeMutablePointer<wrvq_query>, _ row: UInt64) -> Int {
  let keys = query.pointee.candidate_keys!, rows = query.pointee.candidate_rows!
  let count = Int(query.pointee.candidate_count), limit = Int(query.pointee.limit)
  var best = UInt64.max
  var i = 0
  while i < count {
    let slot = Int(UInt32(truncatingIfNeeded: keys[i]))
    if rows[slot] == row && keys[i] < best { best = keys[i] }
    i &+= 1
  }
  if best == .max { return limit }
  var place = 0
  i = 0
  while i < count {
    place &+= keys[i] < best ? 1 : 0
    i &+= 1
  }
  return place < limit ? place : limit
}

/// Sorts row identifiers, each once; returns how many are left.
@inline(never)
func rowsSort(_ rows: UnsafeMutablePointer<UInt64>, _ n: Int) -> Int {
  sortAscending(rows, n)
  var kept = 0, i = 0
  while i < n {
    if kept == 0 || rows[kept &- 1] != rows[i] {
      rows[kept] = rows[i]
      kept &+= 1
    }
    i &+= 1
  }
  return kept
}

/// Merges `rows` into `taken`, both sorted and disjoint, from the back so that no copy is needed.
@inline(never)
func rowsMerge(
  _ taken: UnsafeMutablePointer<UInt64>, _ takenCount: Int, _ rows: UnsafePointer<UInt64>, _ n: Int
) {
  var a = takenCount, b = n
  while b > 0 {
    if a > 0 && taken[a &- 1] > rows[b &- 1] {
      taken[a &+ b &- 1] = taken[a &- 1]
      a &-= 1
    } else {
      taken[a &+ b &- 1] = rows[b &- 1]
      b &-= 1
    }
  }
}
