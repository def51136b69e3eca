import CWRVQKernels

// What a round keeps of the entries that it estimates, and how it hands them out: the best first,
// each asking a little farther than the one before.

/// Memory for a round that keeps `limit` candidates.
@inline(never)
func candidatesBytes(_ limit: Int64) -> Int64 {
  12 &* candidateCapacity(limit) &+ 8 &* rankedCapacity(limit) &+ 16 &* limit
    &+ 8 &* Int64(selectionBoundsMax) &+ 16
}

/// Candidates until they are thinned out: twice as many as are kept, or a quarter as many again if
/// that is a lot of memory; and room for one block beyond.
@inline(__always) private func candidateCapacity(_ limit: Int64) -> Int64 {
  limit &+ min(limit, max(limit / 4, 16384)) &+ Int64(WRVQ_BLOCK_ENTRIES)
}

/// Keys to rank, or bits of all estimates, of half the size, to select from.
@inline(__always) private func rankedCapacity(_ limit: Int64) -> Int64 {
  limit &+ Int64(WRVQ_BLOCK_ENTRIES) / 2
}

/// Starts a round.
@inline(never)
func queryRound(
  _ query: UnsafeMutablePointer<wrvq_query>, _ limit: Int64, _ memory: UnsafeMutableRawPointer
) {
  let capacity = Int(candidateCapacity(limit))
  query.pointee.candidate_rows = memory.assumingMemoryBound(to: UInt64.self)
  query.pointee.candidate_ranked = query.pointee.candidate_rows! + capacity
  query.pointee.ranked_bounds =
    query.pointee.candidate_ranked! + Int(rankedCapacity(limit))
  // Numbers of 128 bits lie there too.
  let scratch = UnsafeMutableRawPointer(query.pointee.ranked_bounds! + selectionBoundsMax)
    .alignedUp(toMultipleOf: 16)
  query.pointee.candidate_scratch = scratch.assumingMemoryBound(to: UInt64.self)
  query.pointee.candidate_estimates =
    (scratch + 16 &* Int(limit)).assumingMemoryBound(to: Float.self)
  query.pointee.limit = limit
  query.pointee.candidate_capacity = Int64(capacity)
  query.pointee.candidate_count = 0
  query.pointee.ranked_count = -1
  query.pointee.threshold = .infinity
}

@inline(__always)
func keep(_ query: UnsafeMutablePointer<wrvq_query>, _ estimate: Float, _ row: UInt64) {
  if row == WRVQ_ROW_DEAD { return }
  let at = Int(query.pointee.candidate_count)
  query.pointee.candidate_estimates![at] = estimate
  query.pointee.candidate_rows![at] = row
  query.pointee.candidate_count = Int64(at &+ 1)
  query.pointee.ranked_count = -1
}

/// Keeps the best `limit` candidates, of equal ones the first; the worst of them is the new threshold.
@inline(never)
func thinOut(_ query: UnsafeMutablePointer<wrvq_query>) {
  let limit = Int(query.pointee.limit), count = Int(query.pointee.candidate_count)
  if count <= limit { return }
  let estimates = query.pointee.candidate_estimates!
  let bits = selectionBits(query)
  var i = 0
  while i < count {
    bits[i] = orderedBits(estimates[i])
    i &+= 1
  }
  selectSmallestOf(bits, count, limit)
  let worst = largest(bits, limit)
  var better = 0
  i = 0
  while i < limit {
    better &+= bits[i] < worst ? 1 : 0
    i &+= 1
  }
  drop(query, above: worst, equal: limit &- better)
}

/// Where candidates are ranked later, bits of their estimates are selected from.
@inline(__always)
private func selectionBits(_ query: UnsafeMutablePointer<wrvq_query>)
  -> UnsafeMutablePointer<UInt32>
{
  UnsafeMutableRawPointer(query.pointee.candidate_ranked!).assumingMemoryBound(to: UInt32.self)
}

/// Estimates in the sample by which the threshold of a round is guessed that keeps at least four
/// times as many.
private let sampleCount = 1024

/// Makes room for another block's candidates, if there is none; the best `limit` stay.
@inline(__always)
func makeRoom(_ query: UnsafeMutablePointer<wrvq_query>) {
  let room = query.pointee.candidate_capacity &- query.pointee.candidate_count
  if room >= Int64(WRVQ_BLOCK_ENTRIES) { return }
  if query.pointee.limit < 4 &* Int64(sampleCount) || !dropBySample(query) { thinOut(query) }
}

/// Keeps the best candidates, some more than `limit`, by one look at all.
///
/// A sample says which is the worst to keep, some four standard deviations beyond the limit.
///
/// - Returns: False, and nothing is done, if the sample was far off.
@inline(never)
private func dropBySample(_ query: UnsafeMutablePointer<wrvq_query>) -> Bool {
  let estimates = query.pointee.candidate_estimates!, sample = selectionBits(query)
  let limit = Int(query.pointee.limit), count = Int(query.pointee.candidate_count)
  var i = 0
  while i < sampleCount {
    sample[i] = orderedBits(estimates[i &* count / sampleCount])
    i &+= 1
  }
  let wanted = sampleCount &* limit / count &+ sampleCount / 16
  selectSmallestOf(sample, sampleCount, wanted)
  let worst = largest(sample, wanted)
  var kept = 0
  i = 0
  while i < count {
    kept &+= orderedBits(estimates[i]) <= worst ? 1 : 0
    i &+= 1
  }
  if kept < limit || kept > (limit &+ count) / 2 { return false }
  drop(query, above: worst, equal: kept)
  return true
}

/// Drops the candidates that are worse than `worst`, which is the new threshold, and those as good
/// but the first `equal`.
private func drop(
  _ query: UnsafeMutablePointer<wrvq_query>, above worst: UInt32, equal: Int
) {
  let estimates = query.pointee.candidate_estimates!, rows = query.pointee.candidate_rows!
  let count = Int(query.pointee.candidate_count)
  var kept = 0, equal = equal
  var i = 0
  while i < count {
    let estimate = estimates[i], bits = orderedBits(estimate)
    rows[kept] = rows[i]
    estimates[kept] = estimate
    let isEqual = bits == worst && equal > 0
    kept &+= bits < worst || isEqual ? 1 : 0
    equal &-= isEqual ? 1 : 0
    i &+= 1
  }
  query.pointee.candidate_count = Int64(kept)
  query.pointee.threshold = orderedValue(worst)
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

/// The keys of the candidates, estimate and number; none of them is ranked yet.
private func beginRanking(_ query: UnsafeMutablePointer<wrvq_query>) {
  thinOut(query)
  let count = Int(query.pointee.candidate_count)
  let estimates = query.pointee.candidate_estimates!, ranked = query.pointee.candidate_ranked!
  var i = 0
  while i < count {
    ranked[i] = orderedKey(estimates[i], UInt32(truncatingIfNeeded: i))
    i &+= 1
  }
  query.pointee.ranked_count = 0
  query.pointee.ranked_bounds![0] = UInt64(count)
  query.pointee.ranked_bound_count = 1
}

/// Counts the candidates kept whose estimate is at most `bound`.
///
/// - Complexity: O(candidates).
@inline(never)
func queryWithin(_ query: UnsafePointer<wrvq_query>, _ bound: Float) -> Int {
  let estimates = query.pointee.candidate_estimates!
  var count = 0
  var i = 0
  while i < Int(query.pointee.candidate_count) {
    count &+= estimates[i] <= bound ? 1 : 0
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
  let estimates = query.pointee.candidate_estimates!, rows = query.pointee.candidate_rows!
  let count = Int(query.pointee.candidate_count), limit = Int(query.pointee.limit)
  var best = -1
  var i = 0
  while i < count {
    if rows[i] == row && (best < 0 || estimates[i] < estimates[best]) { best = i }
    i &+= 1
  }
  if best < 0 { return limit }
  let estimate = estimates[best]
  var place = 0
  i = 0
  while i < count {
    place &+= estimates[i] < estimate || (estimates[i] == estimate && i < best) ? 1 : 0
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
