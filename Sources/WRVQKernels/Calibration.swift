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
  let headCount: UnsafeMutablePointer<UInt32>  // 1
  let head: UnsafeMutablePointer<UInt32>  // d: dimensions by energy, the head's first
  let packed: MutableFloatPointer  // packed queries, of the head only
  let tails: MutableFloatPointer  // queries: lengths of what is not in the head
  let vectors: MutableFloatPointer  // queries × d
  let heads: MutableFloatPointer  // batch × head; also the energies
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
    // Without queries nothing takes room.
    let any = lesser(1, queries), d = any &* wrvq_codebook_shape(codebook).pointee.d
    let neighbours = Int(WRVQ_CALIBRATION_NEIGHBOURS), width = ceil16(queries)
    let batch = Int(WRVQ_CALIBRATION_BATCH)
    var p = memory
    func words(_ count: Int) -> UnsafeMutableRawPointer {
      let start = p
      p += 4 &* ceil16(count)
      return start
    }
    headCount = words(any).assumingMemoryBound(to: UInt32.self)
    head = words(d).assumingMemoryBound(to: UInt32.self)
    packed = words(width &* d).assumingMemoryBound(to: Float.self)
    tails = words(width).assumingMemoryBound(to: Float.self)
    vectors = words(queries &* d).assumingMemoryBound(to: Float.self)
    heads = words(greater(batch, queries) &* d).assumingMemoryBound(to: Float.self)
    products = words(width &* batch).assumingMemoryBound(to: Float.self)
    worst = words(width).assumingMemoryBound(to: Float.self)
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
  if queries == 0 { return }
  let state = CalibrationMemory(codebook, queries, memory)
  let neighbours = Int(WRVQ_CALIBRATION_NEIGHBOURS)
  let d = wrvq_codebook_shape(codebook).pointee.d
  state.vectors.update(from: prepared, count: queries &* d)
  chooseHead(state, queries, d)
  let head = Int(state.headCount.pointee)
  var query = 0
  while query < queries {
    state.tails[query] = gatherHead(
      state, prepared + query &* d, d, state.heads + query &* head,
      dot(prepared + query &* d, prepared + query &* d, d))
    query &+= 1
  }
  pack(state.heads, queries, head, state.packed)
  state.rows.update(from: rows, count: queries)
  // No row passes for a neighbour of the padding.
  state.worst.update(repeating: .infinity, count: ceil16(queries))
  state.tails.advanced(by: queries).update(repeating: 0, count: ceil16(queries) &- queries)
  state.worst.update(repeating: -.infinity, count: queries)
  state.scores.update(repeating: -.infinity, count: queries &* neighbours)
  state.lists.update(repeating: 0, count: queries &* neighbours)
  state.spilled.update(repeating: 0, count: queries &* neighbours)
}

/// The share of the queries' energy that the head has.  What the other dimensions may add to a
/// product is then little enough that few rows need a look at them.
private let headEnergy: Float = 0.82

/// Sorts the dimensions by the queries' energy in them; the head are as many as hold most of it, or
/// all if those are more than half.
private func chooseHead(_ state: CalibrationMemory, _ queries: Int, _ d: Int) {
  let energies = state.heads
  clear(energies, d)
  var query = 0
  while query < queries {
    let x = state.vectors + query &* d
    var i = 0
    while i < d {
      energies[i] += x[i] * x[i]
      i &+= 1
    }
    query &+= 1
  }
  var total: Float = 0
  var i = 0
  while i < d {
    total += energies[i]
    state.head[i] = UInt32(truncatingIfNeeded: i)
    i &+= 1
  }
  var head = 0
  var sum: Float = 0
  // A selection sort that ends with the head: it is short, or of no use.
  while head < d / 2 && sum < headEnergy * total {
    var best = head
    i = head &+ 1
    while i < d {
      if energies[Int(state.head[i])] > energies[Int(state.head[best])] { best = i }
      i &+= 1
    }
    let dimension = state.head[best]
    state.head[best] = state.head[head]
    state.head[head] = dimension
    sum += energies[Int(dimension)]
    head &+= 1
  }
  if !(sum >= headEnergy * total) || head == 0 { head = d }
  state.headCount.pointee = UInt32(truncatingIfNeeded: head)
}

/// Collects a vector's head; returns at least the length of the rest.
private func gatherHead(
  _ state: CalibrationMemory, _ x: FloatPointer, _ d: Int, _ out: MutableFloatPointer,
  _ normSquared: Float
) -> Float {
  let head = Int(state.headCount.pointee)
  var i = 0
  while i < head {
    out[i] = x[Int(state.head[i])]
    i &+= 1
  }
  if head == d { return 0 }
  // A little more than it is, which makes up for the rounding of products.
  let rest = 1.0001 * normSquared - dot(out, out, head)
  return rest > 0 ? ws_sqrt(rest) : 0
}

/// Compares a batch of encoded rows with every query.
///
/// Most rows are far from most queries: their heads' product, and what the rest may add to it at most
/// (Cauchy and Schwarz), tell so.
///
/// - Parameters:
///   - prepared: `n × d`, `n` at most `WRVQ_CALIBRATION_BATCH`.
///   - rows: `n` row identifiers.
/// - Complexity: O(n · queries · head), and O(d) for each row and query that it does not tell apart.
@inline(never)
func calibrationAdd(
  _ codebook: UnsafePointer<wrvq_codebook>, _ queries: Int, _ memory: UnsafeMutableRawPointer,
  _ prepared: FloatPointer, _ rows: UnsafePointer<UInt64>,
  _ encoded: UnsafePointer<wrvq_encoded>, _ spilled: UnsafePointer<wrvq_encoded>?, _ n: Int
) {
  if queries == 0 { return }
  let state = CalibrationMemory(codebook, queries, memory)
  let shape = wrvq_codebook_shape(codebook), width = ceil16(queries), d = shape.pointee.d
  let isL2 = shape.pointee.metric == Int32(WRVQ_L2.rawValue)
  let head = Int(state.headCount.pointee)
  var tails = InlineArray<128, Float>(repeating: 0)
  var row = 0
  while row < n {
    tails[row] = gatherHead(
      state, prepared + row &* d, d, state.heads + row &* head, encoded[row].norm_squared)
    row &+= 1
  }
  innerProducts(state.heads, n, head, state.packed, queries, state.products)
  row = 0
  while row < n {
    let x = prepared + row &* d
    // The nearer, the larger: ⟨x,q⟩, less ½‖x‖² for L2.
    let halfNorm = isL2 ? 0.5 * encoded[row].norm_squared : 0
    var query = 0
    while query < queries {
      var near = nearQueries(state, row, width, query, tails[row], halfNorm)
      while near != 0 {
        let q = query &+ near.trailingZeroBitCount
        let product =
          head == d ? state.products[row &* width &+ q] : dot(x, state.vectors + q &* d, d)
        if product - halfNorm > state.worst[q] && rows[row] != state.rows[q] {
          insert(
            state, q, product - halfNorm, rows[row], encoded[row].list,
            (spilled ?? encoded)[row].list)
        }
        near &= near &- 1
      }
      query &+= 8
    }
    row &+= 1
  }
}

/// A bit for each of eight queries that a row may be a neighbour of.
@inline(__always)
private func nearQueries(
  _ state: CalibrationMemory, _ row: Int, _ width: Int, _ query: Int, _ tail: Float,
  _ halfNorm: Float
) -> UInt32 {
  let products = load8(state.products, row &* width &+ query)
  let most = ws_fma(products, Floats8(repeating: tail), load8(state.tails, query))
  return ws_less_mask(load8(state.worst, query), most - Floats8(repeating: halfNorm))
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
