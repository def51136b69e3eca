import CWRVQKernels

// What a build measures of itself: the true neighbours of some of its rows, found while all rows
// pass by, and how far down the ranking of lists they lie.

/// Bytes of the state for `queries` vectors.
@inline(never)
func calibrationBytes(_ codebook: UnsafePointer<wrvq_codebook>, _ queries: Int) -> Int64 {
  Int64(CalibrationMemory(codebook, queries, UnsafeMutableRawPointer(bitPattern: 64)!).bytes)
}

/// The state, cut from the caller's memory.
private struct CalibrationMemory {
  let packed: MutableFloatPointer  // packed prepared queries
  let products: MutableFloatPointer  // batch × queries
  let worst: MutableFloatPointer  // queries: score of the last neighbour kept
  let rows: UnsafeMutablePointer<UInt64>  // queries: their own row identifiers
  let scores: MutableFloatPointer  // queries × neighbours, best first
  let neighbours: UnsafeMutablePointer<UInt64>  // queries × neighbours: their row identifiers
  let lists: UnsafeMutablePointer<UInt32>  // queries × neighbours
  let spilled: UnsafeMutablePointer<UInt32>  // queries × neighbours: their second lists
  let bytes: Int

  init(
    _ codebook: UnsafePointer<wrvq_codebook>, _ queries: Int, _ memory: UnsafeMutableRawPointer
  ) {
    let d = wrvq_codebook_shape(codebook).pointee.d
    let neighbours = Int(WRVQ_CALIBRATION_NEIGHBOURS), width = ceil16(queries)
    var p = memory
    func words(_ count: Int) -> UnsafeMutableRawPointer {
      let start = p
      p += 4 &* ceil16(count)
      return start
    }
    packed = words(width &* d).assumingMemoryBound(to: Float.self)
    products = words(width &* Int(WRVQ_CALIBRATION_BATCH)).assumingMemoryBound(to: Float.self)
    worst = words(queries).assumingMemoryBound(to: Float.self)
    rows = words(2 &* queries).assumingMemoryBound(to: UInt64.self)
    self.neighbours = words(2 &* queries &* neighbours).assumingMemoryBound(to: UInt64.self)
    scores = words(queries &* neighbours).assumingMemoryBound(to: Float.self)
    lists = words(queries &* neighbours).assumingMemoryBound(to: UInt32.self)
    spilled = words(queries &* neighbours).assumingMemoryBound(to: UInt32.self)
    bytes = p - memory
  }
}

/// Starts with no neighbours known.
///
/// - Parameters:
///   - prepared: `queries × d`, as `prepare` makes them.
///   - rows: `queries` row identifiers: a row is not its own neighbour.
@inline(never)
func calibrationBegin(
  _ codebook: UnsafePointer<wrvq_codebook>, _ prepared: FloatPointer,
  _ rows: UnsafePointer<UInt64>, _ queries: Int, _ memory: UnsafeMutableRawPointer
) {
  let state = CalibrationMemory(codebook, queries, memory)
  let neighbours = Int(WRVQ_CALIBRATION_NEIGHBOURS)
  pack(prepared, queries, wrvq_codebook_shape(codebook).pointee.d, state.packed)
  state.rows.update(from: rows, count: queries)
  state.worst.update(repeating: -.infinity, count: queries)
  state.scores.update(repeating: -.infinity, count: queries &* neighbours)
  state.lists.update(repeating: 0, count: queries &* neighbours)
  state.spilled.update(repeating: 0, count: queries &* neighbours)
}

/// Compares a batch of encoded rows with every query.
///
/// - Parameters:
///   - prepared: `n × d`, `n` at most `WRVQ_CALIBRATION_BATCH`.
///   - rows: `n` row identifiers.
/// - Complexity: O(n · queries · d).
@inline(never)
func calibrationAdd(
  _ codebook: UnsafePointer<wrvq_codebook>, _ queries: Int, _ memory: UnsafeMutableRawPointer,
  _ prepared: FloatPointer, _ rows: UnsafePointer<UInt64>,
  _ encoded: UnsafePointer<wrvq_encoded>, _ spilled: UnsafePointer<wrvq_encoded>?, _ n: Int
) {
  let state = CalibrationMemory(codebook, queries, memory)
  let shape = wrvq_codebook_shape(codebook), width = ceil16(queries)
  let isL2 = shape.pointee.metric == Int32(WRVQ_L2.rawValue)
  innerProducts(prepared, n, shape.pointee.d, state.packed, queries, state.products)
  var row = 0
  while row < n {
    let products = state.products + row &* width
    // The nearer, the larger: ⟨x,q⟩, less ½‖x‖² for L2.
    let halfNorm = isL2 ? 0.5 * encoded[row].norm_squared : 0
    var query = 0
    while query < queries {
      let score = products[query] - halfNorm
      if score > state.worst[query] && rows[row] != state.rows[query] {
        insert(
          state, query, score, rows[row], encoded[row].list, (spilled ?? encoded)[row].list)
      }
      query &+= 1
    }
    row &+= 1
  }
}

/// Keeps a query's neighbours in order.
@inline(__always)
private func insert(
  _ state: CalibrationMemory, _ query: Int, _ score: Float, _ row: UInt64, _ list: UInt32,
  _ second: UInt32
) {
  let neighbours = Int(WRVQ_CALIBRATION_NEIGHBOURS)
  let rows = state.neighbours + query &* neighbours
  let scores = state.scores + query &* neighbours, lists = state.lists + query &* neighbours
  let spilled = state.spilled + query &* neighbours
  var at = neighbours &- 1
  while at > 0 && scores[at &- 1] < score {
    scores[at] = scores[at &- 1]
    rows[at] = rows[at &- 1]
    lists[at] = lists[at &- 1]
    spilled[at] = spilled[at &- 1]
    at &-= 1
  }
  scores[at] = score
  rows[at] = row
  lists[at] = list
  spilled[at] = second
  state.worst[query] = scores[neighbours &- 1]
}

/// Adds the neighbours that another state, of the same queries, has found among other rows.
@inline(never)
func calibrationMerge(
  _ codebook: UnsafePointer<wrvq_codebook>, _ queries: Int, _ memory: UnsafeMutableRawPointer,
  _ other: UnsafeMutableRawPointer
) {
  let state = CalibrationMemory(codebook, queries, memory)
  let more = CalibrationMemory(codebook, queries, other)
  let neighbours = Int(WRVQ_CALIBRATION_NEIGHBOURS)
  var query = 0
  while query < queries {
    var at = query &* neighbours
    let end = at &+ neighbours
    while at < end && more.scores[at] > state.worst[query] {
      insert(
        state, query, more.scores[at], more.neighbours[at], more.lists[at], more.spilled[at])
      at &+= 1
    }
    query &+= 1
  }
}

/// Ranks the lists of one query's neighbours among all lists.
///
/// - Parameters:
///   - query: Begun with the same vector, no lists asked for yet.
///   - ranks: Output, at most `WRVQ_CALIBRATION_NEIGHBOURS`, from 0.
///   - rows: Output: the neighbours' row identifiers, nearest first.
/// - Returns: How many neighbours there are.
@inline(never)
func calibrationRanks(
  _ codebook: UnsafePointer<wrvq_codebook>, _ queries: Int, _ memory: UnsafeMutableRawPointer,
  _ index: Int, _ query: UnsafePointer<wrvq_query>, _ ranks: UnsafeMutablePointer<UInt32>,
  _ rows: UnsafeMutablePointer<UInt64>
) -> Int {
  let state = CalibrationMemory(codebook, queries, memory)
  let neighbours = Int(WRVQ_CALIBRATION_NEIGHBOURS)
  let lists = listCount(wrvq_codebook_shape(codebook)), keys = query.pointee.list_keys!
  var found = 0
  while found < neighbours && state.scores[index &* neighbours &+ found] > -.infinity {
    let at = index &* neighbours &+ found
    let key = min(keys[Int(state.lists[at])], keys[Int(state.spilled[at])])
    var rank: UInt32 = 0
    var i = 0
    while i < lists {
      rank &+= keys[i] < key ? 1 : 0
      i &+= 1
    }
    ranks[found] = rank
    rows[found] = state.neighbours[at]
    found &+= 1
  }
  return found
}
