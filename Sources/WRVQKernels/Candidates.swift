import CWRVQKernels

// What a round keeps of the entries that it estimates, and how it hands them out: the best first,
// each asking a little farther than the one before.

/// Memory for a round that keeps `limit` candidates.
@inline(never)
func candidatesBytes(_ limit: Int64) -> Int64 {
  12 &* candidateCapacity(limit) &+ 8 &* Int64(selectionBoundsMax)
}

/// Candidates until they are thinned out: twice as many as are kept, or a quarter as many again if
/// that is a lot of memory; and room for one block beyond.
@inline(__always) private func candidateCapacity(_ limit: Int64) -> Int64 {
  limit &+ min(limit, max(limit / 4, 16384)) &+ Int64(WRVQ_BLOCK_ENTRIES)
}

/// Starts a round.
@inline(never)
func queryRound(
  _ query: UnsafeMutablePointer<wrvq_query>, _ limit: Int64, _ memory: UnsafeMutableRawPointer
) {
  let capacity = Int(candidateCapacity(limit))
  query.pointee.candidate_rows = memory.assumingMemoryBound(to: UInt64.self)
  query.pointee.ranked_bounds = query.pointee.candidate_rows! + capacity
  query.pointee.candidate_estimates =
    UnsafeMutableRawPointer(query.pointee.ranked_bounds! + selectionBoundsMax)
    .assumingMemoryBound(to: Float.self)
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

/// The candidates of a round, by estimate.
private struct Candidates: Selectable {
  let estimates: MutableFloatPointer, rows: UnsafeMutablePointer<UInt64>

  @inline(__always) func key(_ i: Int) -> Float { estimates[i] }

  @inline(__always) func exchange(_ i: Int, _ j: Int) {
    swap(estimates, i, j)
    swap(rows, i, j)
  }

  /// The largest estimate of the first `count`.
  @inline(__always) func worst(_ count: Int) -> Float {
    var worst = -Float.infinity
    var i = 0
    while i < count {
      worst = estimates[i] > worst ? estimates[i] : worst
      i &+= 1
    }
    return worst
  }
}

extension Candidates {
  @inline(__always) fileprivate init(_ query: UnsafePointer<wrvq_query>) {
    self.init(
      estimates: query.pointee.candidate_estimates!, rows: query.pointee.candidate_rows!)
  }
}

/// Keeps the best `limit` candidates; the worst of them is the new threshold.
@inline(never)
func thinOut(_ query: UnsafeMutablePointer<wrvq_query>) {
  let limit = Int(query.pointee.limit), count = Int(query.pointee.candidate_count)
  if count <= limit { return }
  let candidates = Candidates(query)
  selectSmallestOf(candidates, count, limit)
  query.pointee.candidate_count = Int64(limit)
  query.pointee.threshold = candidates.worst(limit)
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
/// - Returns: False, and all are kept, if the sample was far off.
@inline(never)
private func dropBySample(_ query: UnsafeMutablePointer<wrvq_query>) -> Bool {
  let candidates = Candidates(query)
  let limit = Int(query.pointee.limit), count = Int(query.pointee.candidate_count)
  var i = 0
  while i < sampleCount {
    candidates.exchange(i, i &* count / sampleCount)
    i &+= 1
  }
  let wanted = sampleCount &* limit / count &+ sampleCount / 16
  selectSmallestOf(candidates, sampleCount, wanted)
  let worst = candidates.worst(wanted)
  let kept = queryWithin(query, worst)
  if kept < limit || kept > (limit &+ count) / 2 { return false }
  drop(query, above: worst)
  return true
}

/// Drops the candidates that are worse than `worst`, which is the new threshold.
private func drop(_ query: UnsafeMutablePointer<wrvq_query>, above worst: Float) {
  let estimates = query.pointee.candidate_estimates!, rows = query.pointee.candidate_rows!
  let count = Int(query.pointee.candidate_count)
  var kept = 0
  var i = 0
  while i < count {
    let estimate = estimates[i]
    rows[kept] = rows[i]
    estimates[kept] = estimate
    kept &+= estimate <= worst ? 1 : 0
    i &+= 1
  }
  query.pointee.candidate_count = Int64(kept)
  query.pointee.threshold = worst
}

/// What the round's best `n` candidates are beyond those of the calls before, by row identifier,
/// each once, without those taken before: from `first` on.
///
/// - Parameters:
///   - first: Output.
///   - next: Output: the least estimate that was not handed out.
/// - Returns: How many.
/// - Complexity: O(candidates) for a round's first call; the following ones pay for what they add.
@inline(never)
func queryTake(
  _ query: UnsafeMutablePointer<wrvq_query>, _ n: Int, _ taken: UnsafePointer<UInt64>?,
  _ takenCount: Int, _ first: UnsafeMutablePointer<Int64>, _ next: MutableFloatPointer
) -> Int {
  if query.pointee.ranked_count < 0 { beginRanking(query) }
  let candidates = Candidates(query)
  let total = Int(query.pointee.candidate_count), before = Int(query.pointee.ranked_count)
  let count = max(before, min(n, total))
  let end = selectNext(
    candidates, before, count, query.pointee.ranked_bounds!, &query.pointee.ranked_bound_count)
  query.pointee.ranked_count = Int64(count)
  next.pointee = query.pointee.threshold
  var i = count
  while i < end {
    let estimate = candidates.estimates[i]
    if estimate < next.pointee { next.pointee = estimate }
    i &+= 1
  }
  first.pointee = Int64(before)
  let added = CandidatesByRow(candidates, before)
  sortAscending(added, count &- before)
  return added.passOver(count &- before, taken, takenCount)
}

/// Some of a round's candidates, by row.
private struct CandidatesByRow: Selectable {
  let candidates: Candidates

  @inline(__always) init(_ all: Candidates, _ first: Int) {
    candidates = Candidates(estimates: all.estimates + first, rows: all.rows + first)
  }

  @inline(__always) func key(_ i: Int) -> UInt64 { candidates.rows[i] }
  @inline(__always) func exchange(_ i: Int, _ j: Int) { candidates.exchange(i, j) }

  /// Puts each of the `count` sorted rows once, with its best estimate, before all that are to be
  /// passed over: those met again, and those taken.  All stay, for a later look at more lists.
  ///
  /// - Returns: How many are not passed over.
  func passOver(_ count: Int, _ taken: UnsafePointer<UInt64>?, _ takenCount: Int) -> Int {
    let estimates = candidates.estimates
    var kept = 0, other = 0
    var i = 0
    while i < count {
      let row = key(i)
      while other < takenCount && taken![other] < row { other &+= 1 }
      let isTaken = other < takenCount && taken![other] == row
      if kept > 0 && key(kept &- 1) == row {
        if estimates[i] < estimates[kept &- 1] { exchange(i, kept &- 1) }
      } else if !isTaken {
        exchange(kept, i)
        kept &+= 1
      }
      i &+= 1
    }
    return kept
  }
}

/// None of the candidates is ranked yet.
private func beginRanking(_ query: UnsafeMutablePointer<wrvq_query>) {
  thinOut(query)
  query.pointee.ranked_count = 0
  query.pointee.ranked_bounds![0] = UInt64(query.pointee.candidate_count)
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
