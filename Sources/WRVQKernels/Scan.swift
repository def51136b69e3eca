import CWRVQKernels

// The search layer: ADC over blocks of 32 entries, and the candidates it keeps.

/// Memory for a round that keeps `limit` candidates: twice as many, so that they are thinned out
/// only once for every `limit` additions; and room for one block beyond.
@inline(never)
func candidatesBytes(_ limit: Int64) -> Int64 { 24 &* (2 &* limit &+ Int64(WRVQ_BLOCK_ENTRIES)) }

/// Starts a round.
@inline(never)
func queryRound(
  _ query: UnsafeMutablePointer<wrvq_query>, _ limit: Int64, _ memory: UnsafeMutableRawPointer
) {
  query.pointee.candidate_keys = memory.assumingMemoryBound(to: UInt64.self)
  query.pointee.candidate_rows =
    (memory + 8 &* (2 &* Int(limit) &+ Int(WRVQ_BLOCK_ENTRIES))).assumingMemoryBound(
      to: UInt64.self)
  query.pointee.candidate_scratch =
    query.pointee.candidate_rows!
    + (2 &* Int(limit) &+ Int(WRVQ_BLOCK_ENTRIES))
  query.pointee.limit = limit
  query.pointee.candidate_count = 0
  query.pointee.threshold = .infinity
}

/// Estimates the distances of a block's entries (paper eq. 14) and keeps the best.
///
/// - Parameters:
///   - block: `block_bytes`.
///   - count: Entries in use, 1…32; dead ones are passed over.
@inline(never)
func queryScanBlock(
  _ query: UnsafeMutablePointer<wrvq_query>, _ list: UInt32, _ block: UnsafePointer<UInt8>,
  _ count: Int
) {
  let shape = wrvq_codebook_shape(query.pointee.codebook!)
  let layout = wrvq_query_layout(query)
  let levels = shape.pointee.levelCount, product = Int(layout.pointee.product_level)
  let factor = Floats8(repeating: -query.pointee.inner_factor)
  let base = Floats8(repeating: listBase(query, Int(list)))
  let scale = Floats8(repeating: query.pointee.table_scale)
  let bias = Floats8(repeating: query.pointee.table_bias)
  let largest = Floats8(repeating: .greatestFiniteMagnitude)
  var sums = BlockSums()
  if product > 0 {
    sums = sumTable(
      block + wrvq_layout_codes(layout, product), query.pointee.product_table!,
      level(shape, product).pieces)
  }
  var group = 0
  while group < 4 && group &* 8 < count {
    var inner = Floats8.zero
    if product > 0 {
      let factors = block + (wrvq_layout_factors(layout, product) &+ 16 &* group)
      inner = loadHalves8(factors) * ws_fma(bias, scale, ws_float_u16(sums.group(group)))
    }
    var i = 1
    while i < levels {
      if i != product {
        let factors = block + (wrvq_layout_factors(layout, i) &+ 16 &* group)
        let values = lookUp(
          wrvq_query_table(query, i), block + wrvq_layout_codes(layout, i), group &* 8,
          level(shape, i))
        inner = ws_fma(inner, loadHalves8(factors), values)
      }
      i &+= 1
    }
    var estimate = ws_fma(base, factor, inner)
    if layout.pointee.constants_offset >= 0 {
      estimate += loadHalves8(block + (Int(layout.pointee.constants_offset) &+ 16 &* group))
    }
    // Also turns NaN, which overflowing products may give, into the largest distance.
    estimate = ws_min(estimate, largest)
    var mask = ws_less_mask(estimate, Floats8(repeating: query.pointee.threshold))
    let rest = count &- group &* 8
    if rest < 8 { mask &= (1 &<< UInt32(truncatingIfNeeded: rest)) &- 1 }
    while mask != 0 {
      let lane = mask.trailingZeroBitCount
      keep(query, estimate[lane], blockRow(block, group &* 8 &+ lane))
      mask &= mask &- 1
    }
    group &+= 1
  }
  query.pointee.visited &+= Int64(count)
  if query.pointee.candidate_count >= 2 &* query.pointee.limit { thinOut(query) }
}

/// Sums of 32 entries' table bytes, in order of position.
struct BlockSums {
  var low = SIMD16<UInt16>()
  var high = SIMD16<UInt16>()

  @inline(__always) func group(_ i: Int) -> SIMD8<UInt16> {
    switch i {
    case 0: return low.lowHalf
    case 1: return low.highHalf
    case 2: return high.lowHalf
    default: return high.highHalf
    }
  }
}

@inline(__always) private func as16(_ v: SIMD32<UInt8>) -> SIMD16<UInt16> {
  unsafeBitCast(v, to: SIMD16<UInt16>.self)
}

@inline(__always) private func as8(_ v: SIMD16<UInt16>) -> SIMD32<UInt8> {
  unsafeBitCast(v, to: SIMD32<UInt8>.self)
}

/// Fast scan: two pieces a step through register shuffles, odd and even bytes summed apart in 16
/// bits (their sum fits, see `fillProductTable`).
///
/// An odd last piece reads 16 bytes of the factors behind it, against a table of zeros.
@inline(__always)
func sumTable(
  _ codes: UnsafePointer<UInt8>, _ table: UnsafePointer<UInt8>, _ pieces: Int
) -> BlockSums {
  if !ws_has_lookup() { return sumTableByLoads(codes, table, pieces) }
  let nibble = SIMD16<UInt16>(repeating: 0x0f0f), four = SIMD16<UInt16>(repeating: 4)
  let eight = SIMD16<UInt16>(repeating: 8)
  var low = SIMD16<UInt16>(), lowOdd = SIMD16<UInt16>()
  var high = SIMD16<UInt16>(), highOdd = SIMD16<UInt16>()
  var piece = 0
  while piece < pieces {
    let c = as16(UnsafeRawPointer(codes + piece &* 16).loadUnaligned(as: SIMD32<UInt8>.self))
    let t = UnsafeRawPointer(table + piece &* 16).loadUnaligned(as: SIMD32<UInt8>.self)
    let r0 = as16(ws_lookup16x2(t, as8(c & nibble)))
    let r1 = as16(ws_lookup16x2(t, as8((c &>> four) & nibble)))
    low &+= r0
    lowOdd &+= r0 &>> eight
    high &+= r1
    highOdd &+= r1 &>> eight
    piece &+= 2
  }
  // The odd bytes also went into the even sums, 256-fold.
  low = low &- (lowOdd &<< eight)
  high = high &- (highOdd &<< eight)
  var sums = BlockSums()
  sums.low.evenHalf = low.lowHalf &+ low.highHalf
  sums.low.oddHalf = lowOdd.lowHalf &+ lowOdd.highHalf
  sums.high.evenHalf = high.lowHalf &+ high.highHalf
  sums.high.oddHalf = highOdd.lowHalf &+ highOdd.highHalf
  return sums
}

/// `sumTable` one look-up at a time: where there are no byte shuffles, far faster than vectors put
/// together lane by lane.
private func sumTableByLoads(
  _ codes: UnsafePointer<UInt8>, _ table: UnsafePointer<UInt8>, _ pieces: Int
) -> BlockSums {
  var result = BlockSums()
  withUnsafeMutableBytes(of: &result) {
    let sums = $0.baseAddress!.assumingMemoryBound(to: UInt16.self)
    fillSums(codes, table, pieces, sums, sums + 16)
  }
  return result
}

@inline(__always)
private func fillSums(
  _ codes: UnsafePointer<UInt8>, _ table: UnsafePointer<UInt8>, _ pieces: Int,
  _ lows: UnsafeMutablePointer<UInt16>, _ highs: UnsafeMutablePointer<UInt16>
) {
  var e = 0
  while e < 16 {
    var low: UInt32 = 0, high: UInt32 = 0
    var piece = 0
    while piece < pieces {
      let code = codes[piece &* 16 &+ e], values = table + piece &* 16
      low &+= UInt32(values[Int(code & 15)])
      high &+= UInt32(values[Int(code &>> 4)])
      piece &+= 1
    }
    lows[e] = UInt16(truncatingIfNeeded: low)
    highs[e] = UInt16(truncatingIfNeeded: high)
    e &+= 1
  }
}

@inline(__always) private func loadHalves8(_ p: UnsafePointer<UInt8>) -> Floats8 {
  load8(UnsafeRawPointer(p).assumingMemoryBound(to: UInt16.self), 0)
}

/// Table values of eight entries' codes at a flat level.
@inline(__always)
private func lookUp(
  _ table: FloatPointer, _ codes: UnsafePointer<UInt8>, _ first: Int, _ l: wrvq_level_shape
) -> Floats8 {
  if l.count <= 256 {
    let c = codes + first
    return Floats8(
      table[Int(c[0])], table[Int(c[1])], table[Int(c[2])], table[Int(c[3])], table[Int(c[4])],
      table[Int(c[5])], table[Int(c[6])], table[Int(c[7])])
  }
  var values = Floats8.zero
  var i = 0
  while i < 8 {
    let p = UnsafeRawPointer(codes + 2 &* (first &+ i))
    let code = Int(p.loadUnaligned(as: UInt16.self))
    values[i] = table[code < l.count ? code : 0]
    i &+= 1
  }
  return values
}

@inline(__always)
private func keep(_ query: UnsafeMutablePointer<wrvq_query>, _ estimate: Float, _ row: UInt64) {
  if row == WRVQ_ROW_DEAD { return }
  let at = Int(query.pointee.candidate_count)
  query.pointee.candidate_keys![at] = orderedKey(estimate, UInt32(truncatingIfNeeded: at))
  query.pointee.candidate_rows![at] = row
  query.pointee.candidate_count = Int64(at &+ 1)
}

/// Keeps the best `limit` candidates; the worst of them is the new threshold.
@inline(never)
private func thinOut(_ query: UnsafeMutablePointer<wrvq_query>) {
  let keys = query.pointee.candidate_keys!, rows = query.pointee.candidate_rows!
  let limit = Int(query.pointee.limit), count = Int(query.pointee.candidate_count)
  if count <= limit { return }
  // Selecting in a copy leaves the keys in order of slot, so that what stays just moves down.
  let copy = query.pointee.candidate_scratch!
  copy.update(from: keys, count: count)
  selectSmallest(copy, count, limit)
  var worst: UInt64 = 0
  var i = 0
  while i < limit {
    worst = copy[i] > worst ? copy[i] : worst
    i &+= 1
  }
  var kept = 0
  i = 0
  while i < count {
    if keys[i] <= worst {
      rows[kept] = rows[i]
      keys[kept] = keys[i] & 0xffff_ffff_0000_0000 | UInt64(kept)
      kept &+= 1
    }
    i &+= 1
  }
  query.pointee.candidate_count = Int64(kept)
  query.pointee.threshold = keyValue(worst)
}

/// The round's best `n` candidates by row identifier, each once, without those taken before.
///
/// - Parameters:
///   - next: Output: the least estimate that is not among the best `n`.
/// - Returns: How many.
@inline(never)
func queryTake(
  _ query: UnsafeMutablePointer<wrvq_query>, _ n: Int, _ taken: UnsafePointer<UInt64>?,
  _ takenCount: Int, _ rows: UnsafeMutablePointer<UInt64>, _ estimates: MutableFloatPointer,
  _ next: MutableFloatPointer
) -> Int {
  thinOut(query)
  let keys = query.pointee.candidate_scratch!, candidates = query.pointee.candidate_rows!
  let total = Int(query.pointee.candidate_count)
  let count = n < total ? n : total
  next.pointee = query.pointee.threshold
  keys.update(from: query.pointee.candidate_keys!, count: total)
  selectSmallest(keys, total, count)
  var i = count
  while i < total {
    let estimate = keyValue(keys[i])
    if estimate < next.pointee { next.pointee = estimate }
    i &+= 1
  }
  i = 0
  while i < count {
    rows[i] = candidates[Int(UInt32(truncatingIfNeeded: keys[i]))]
    estimates[i] = keyValue(keys[i])
    i &+= 1
  }
  sortByRow(rows, estimates, count)
  return dropTaken(rows, estimates, count, taken, takenCount)
}

/// Keeps of sorted rows each once, with its best estimate, and none that was taken.
private func dropTaken(
  _ rows: UnsafeMutablePointer<UInt64>, _ estimates: MutableFloatPointer, _ count: Int,
  _ taken: UnsafePointer<UInt64>?, _ takenCount: Int
) -> Int {
  var kept = 0, other = 0
  var i = 0
  while i < count {
    let row = rows[i], estimate = estimates[i]
    while other < takenCount && taken![other] < row { other &+= 1 }
    if kept > 0 && rows[kept &- 1] == row {
      if estimate < estimates[kept &- 1] { estimates[kept &- 1] = estimate }
    } else if other == takenCount || taken![other] != row {
      rows[kept] = row
      estimates[kept] = estimate
      kept &+= 1
    }
    i &+= 1
  }
  return kept
}

/// Heapsort by row identifier, estimates along.
private func sortByRow(
  _ rows: UnsafeMutablePointer<UInt64>, _ estimates: MutableFloatPointer, _ count: Int
) {
  var start = count / 2
  while start > 0 {
    start &-= 1
    siftDown(rows, estimates, start, count)
  }
  var end = count
  while end > 1 {
    end &-= 1
    let row = rows[0], estimate = estimates[0]
    rows[0] = rows[end]
    estimates[0] = estimates[end]
    rows[end] = row
    estimates[end] = estimate
    siftDown(rows, estimates, 0, end)
  }
}

@inline(__always)
private func siftDown(
  _ rows: UnsafeMutablePointer<UInt64>, _ estimates: MutableFloatPointer, _ start: Int, _ end: Int
) {
  var root = start
  let row = rows[root], estimate = estimates[root]
  while true {
    var child = 2 &* root &+ 1
    if child >= end { break }
    if child &+ 1 < end && rows[child] < rows[child &+ 1] { child &+= 1 }
    if rows[child] <= row { break }
    rows[root] = rows[child]
    estimates[root] = estimates[child]
    root = child
  }
  rows[root] = row
  estimates[root] = estimate
}

/// What the estimate of a row would be if it were exact.
///
/// - Parameter distance: The operator's value: Euclidean distance, negative inner product, or one
///   less the cosine.
@inline(never)
func queryExact(_ query: UnsafePointer<wrvq_query>, _ distance: Double) -> Double {
  let shape = wrvq_codebook_shape(query.pointee.codebook!)
  let scale = Double(shape.pointee.scale)
  if shape.pointee.metric == Int32(WRVQ_L2.rawValue) { return scale * scale * distance * distance }
  if shape.pointee.metric == Int32(WRVQ_IP.rawValue) { return scale * scale * distance }
  return scale * scale * (distance - 1)
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
