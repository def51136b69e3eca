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
  let counts: UnsafeMutablePointer<UInt32>  // 2: dimensions in the head, in the middle
  let order: UnsafeMutablePointer<UInt32>  // d: dimensions by energy, the head's first
  let packed: MutableFloatPointer  // packed queries, of the head only
  let tails: MutableFloatPointer  // queries: lengths of what is not in the head
  let ends: MutableFloatPointer  // queries: lengths of what is not in the middle either
  let vectors: MutableFloatPointer  // queries × d
  let queryMiddles: MutableFloatPointer  // queries × middle
  let heads: MutableFloatPointer  // batch × head; also the energies
  let middles: MutableFloatPointer  // batch × middle
  let rowTails: MutableFloatPointer  // batch
  let rowEnds: MutableFloatPointer  // batch
  let products: MutableFloatPointer  // batch × queryTile
  let worst: MutableFloatPointer  // queries: what a neighbour's score must exceed
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
    counts = words(2 &* any).assumingMemoryBound(to: UInt32.self)
    order = words(d).assumingMemoryBound(to: UInt32.self)
    packed = words(width &* d).assumingMemoryBound(to: Float.self)
    tails = words(width).assumingMemoryBound(to: Float.self)
    ends = words(width).assumingMemoryBound(to: Float.self)
    vectors = words(queries &* d).assumingMemoryBound(to: Float.self)
    queryMiddles = words(queries &* d).assumingMemoryBound(to: Float.self)
    heads = words(greater(batch, queries) &* d).assumingMemoryBound(to: Float.self)
    middles = words(batch &* d).assumingMemoryBound(to: Float.self)
    rowTails = words(any &* batch).assumingMemoryBound(to: Float.self)
    rowEnds = words(any &* batch).assumingMemoryBound(to: Float.self)
    products = words(lesser(width, queryTile) &* batch).assumingMemoryBound(to: Float.self)
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
  let head = Int(state.counts[0]), middle = Int(state.counts[1])
  var query = 0
  while query < queries {
    let x = prepared + query &* d
    let rest = gather(
      state, x, d, state.heads + query &* head, state.queryMiddles + query &* middle, dot(x, x, d))
    state.tails[query] = rest.tail
    state.ends[query] = rest.end
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

/// Queries that a batch is compared with at a time: what that takes stays in the second-level cache.
private let queryTile = 128

/// The share of the queries' energy that the head has.  What the other dimensions may add to a
/// product is then little enough that few rows need a look at them.
private let headEnergy: Float = 0.82

/// The share that head and middle have: what is left then leaves hardly more than the neighbours.
private let middleEnergy: Float = 0.93

/// Sorts the dimensions by the queries' energy in them; the head are as many as hold most of it, or
/// all if those are more than half; the middle are those that come next.
private func chooseHead(_ state: CalibrationMemory, _ queries: Int, _ d: Int) {
  let total = sumEnergies(state, queries, d)
  var head = d, count = 0
  var sum: Float = 0
  // A selection sort that ends with the middle: it is short, or of no use.
  while count < d && !(head == d && count > d / 2)
    && (sum < middleEnergy * total || (count &- head) % 16 != 0)
  {
    sum += selectDimension(state, at: count, d)
    count &+= 1
    if head == d && sum >= headEnergy * total && count <= d / 2 { head = count }
  }
  state.counts[0] = UInt32(truncatingIfNeeded: head)
  state.counts[1] = UInt32(truncatingIfNeeded: head == d ? 0 : count &- head)
}

/// Adds up the queries' energy in each dimension, and in all.
private func sumEnergies(_ state: CalibrationMemory, _ queries: Int, _ d: Int) -> Float {
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
    state.order[i] = UInt32(truncatingIfNeeded: i)
    i &+= 1
  }
  return total
}

/// Puts the dimension with the most energy of those from `at` on there; returns the energy.
private func selectDimension(_ state: CalibrationMemory, at: Int, _ d: Int) -> Float {
  let energies = state.heads
  var best = at
  var i = at &+ 1
  while i < d {
    if energies[Int(state.order[i])] > energies[Int(state.order[best])] { best = i }
    i &+= 1
  }
  let dimension = state.order[best]
  state.order[best] = state.order[at]
  state.order[at] = dimension
  return energies[Int(dimension)]
}

/// Collects a vector's head and middle; returns at least the lengths of what is not in the head, and
/// not in the middle either.
private func gather(
  _ state: CalibrationMemory, _ x: FloatPointer, _ d: Int, _ head: MutableFloatPointer,
  _ middle: MutableFloatPointer, _ normSquared: Float
) -> (tail: Float, end: Float) {
  let headCount = Int(state.counts[0]), middleCount = Int(state.counts[1])
  collect(x, state.order, headCount, head)
  if headCount == d { return (0, 0) }
  collect(x, state.order + headCount, middleCount, middle)
  // A little more than it is, which makes up for the rounding of products.
  let tail = 1.0001 * normSquared - dot(head, head, headCount)
  let end = tail - dot(middle, middle, middleCount)
  return (tail > 0 ? ws_sqrt(tail) : 0, end > 0 ? ws_sqrt(end) : 0)
}

/// `out[i] = x[dimensions[i]]`.
private func collect(
  _ x: FloatPointer, _ dimensions: UnsafePointer<UInt32>, _ count: Int, _ out: MutableFloatPointer
) {
  var i = 0
  while i < count {
    out[i] = x[Int(dimensions[i])]
    i &+= 1
  }
}

/// Encoded rows that are compared with queries.
private struct CalibrationBatch {
  let prepared: FloatPointer
  let rows: UnsafePointer<UInt64>
  let encoded: UnsafePointer<wrvq_encoded>
  let spilled: UnsafePointer<wrvq_encoded>
  let count: Int
  let d: Int
  let isL2: Bool
}

/// Compares a batch of encoded rows with every query.
///
/// Most rows are far from most queries: their heads' product, and what the rest may add to it at most
/// (Cauchy and Schwarz), tell so; most others are told by their middles' product as well.
///
/// - Parameters:
///   - prepared: `n × d`, `n` at most `WRVQ_CALIBRATION_BATCH`.
///   - rows: `n` row identifiers.
/// - Complexity: O(n · queries · head), and O(middle) for each row and query that it does not tell apart,
///   O(d) for each that this does not either.
@inline(never)
func calibrationAdd(
  _ codebook: UnsafePointer<wrvq_codebook>, _ queries: Int, _ memory: UnsafeMutableRawPointer,
  _ prepared: FloatPointer, _ rows: UnsafePointer<UInt64>,
  _ encoded: UnsafePointer<wrvq_encoded>, _ spilled: UnsafePointer<wrvq_encoded>?, _ n: Int
) {
  if queries == 0 { return }
  let state = CalibrationMemory(codebook, queries, memory)
  let shape = wrvq_codebook_shape(codebook), d = shape.pointee.d
  let head = Int(state.counts[0]), middle = Int(state.counts[1])
  let batch = CalibrationBatch(
    prepared: prepared, rows: rows, encoded: encoded, spilled: spilled ?? encoded, count: n, d: d,
    isL2: shape.pointee.metric == Int32(WRVQ_L2.rawValue))
  var row = 0
  while row < n {
    let rest = gather(
      state, prepared + row &* d, d, state.heads + row &* head, state.middles + row &* middle,
      encoded[row].norm_squared)
    state.rowTails[row] = rest.tail
    state.rowEnds[row] = rest.end
    row &+= 1
  }
  var query = 0
  while query < queries {
    compare(state, batch, query, lesser(query &+ queryTile, queries))
    query &+= queryTile
  }
}

/// Compares a batch with the queries from `start` to before `end`.
@inline(__always)
private func compare(
  _ state: CalibrationMemory, _ batch: CalibrationBatch, _ start: Int, _ end: Int
) {
  let head = Int(state.counts[0]), width = ceil16(end &- start)
  innerProducts(
    state.heads, batch.count, head, state.packed + start &* head, end &- start, state.products)
  var row = 0
  while row < batch.count {
    // The nearer, the larger: ⟨x,q⟩, less ½‖x‖² for L2.
    let halfNorm = batch.isL2 ? 0.5 * batch.encoded[row].norm_squared : 0
    let products = state.products + row &* width
    var column = 0
    while column < width {
      var near = nearQueries(
        products + column, state.rowTails[row], halfNorm, state.tails + (start &+ column),
        state.worst + (start &+ column))
      while near != 0 {
        let at = column &+ near.trailingZeroBitCount
        lookCloser(state, batch, row, start &+ at, products[at] - halfNorm, halfNorm)
        near &= near &- 1
      }
      column &+= 8
    }
    row &+= 1
  }
}

/// A bit for each of eight queries that a row may be a neighbour of.
@inline(__always)
private func nearQueries(
  _ products: FloatPointer, _ tail: Float, _ halfNorm: Float, _ tails: FloatPointer,
  _ worst: FloatPointer
) -> UInt32 {
  let most = ws_fma(load8(products, 0), Floats8(repeating: tail), load8(tails, 0))
  return ws_less_mask(load8(worst, 0), most - Floats8(repeating: halfNorm))
}

/// Keeps a row if it is a neighbour of a query; `headScore`: as far as the heads tell.
@inline(__always)
private func lookCloser(
  _ state: CalibrationMemory, _ batch: CalibrationBatch, _ row: Int, _ query: Int,
  _ headScore: Float, _ halfNorm: Float
) {
  let d = batch.d, middle = Int(state.counts[1])
  var score = headScore
  if Int(state.counts[0]) < d {
    let most =
      score + state.rowEnds[row] * state.ends[query]
      + dot(state.middles + row &* middle, state.queryMiddles + query &* middle, middle)
    if !(most > state.worst[query]) { return }
    score = dot(batch.prepared + row &* d, state.vectors + query &* d, d) - halfNorm
  }
  if score > state.worst[query] && batch.rows[row] != state.rows[query] {
    insert(
      state, query, score, batch.rows[row], batch.encoded[row].list, batch.spilled[row].list)
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
  let last = scores[neighbours &- 1]
  if last > state.worst[query] { state.worst[query] = last }
}

/// Tells other participants how near the neighbours found so far are, and learns it from them.
///
/// - Parameter nearness: `queries`, at first −∞: the best of the participants' last neighbours' scores.
@inline(never)
func calibrationExchange(
  _ codebook: UnsafePointer<wrvq_codebook>, _ queries: Int, _ memory: UnsafeMutableRawPointer,
  _ nearness: MutableFloatPointer
) {
  if queries == 0 { return }
  let state = CalibrationMemory(codebook, queries, memory)
  var query = 0
  while query < queries {
    state.worst[query] = ws_raise_shared(nearness + query, state.worst[query])
    query &+= 1
  }
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
    // Not with `worst`, which may be what this other one has told.
    while at < end && more.scores[at] > state.scores[end &- 1] {
      insert(
        state, query, more.scores[at], more.neighbours[at], more.lists[at], more.spilled[at])
      at &+= 1
    }
    query &+= 1
  }
}

/// One query's true neighbours, nearest first, and the better of their lists.
///
/// - Parameters:
///   - query: Begun with the same vector.
///   - rows: Output, at most `WRVQ_CALIBRATION_NEIGHBOURS`: row identifiers.
///   - lists: Output, as many.
/// - Returns: How many neighbours there are.
@inline(never)
func calibrationNeighbours(
  _ codebook: UnsafePointer<wrvq_codebook>, _ queries: Int, _ memory: UnsafeMutableRawPointer,
  _ index: Int, _ query: UnsafePointer<wrvq_query>, _ rows: UnsafeMutablePointer<UInt64>,
  _ lists: UnsafeMutablePointer<UInt32>
) -> Int {
  let state = CalibrationMemory(codebook, queries, memory)
  let neighbours = Int(WRVQ_CALIBRATION_NEIGHBOURS), scores = query.pointee.list_scores!
  var found = 0
  while found < neighbours && state.scores[index &* neighbours &+ found] > -.infinity {
    let at = index &* neighbours &+ found
    let first = state.lists[at], second = state.spilled[at]
    lists[found] = scores[Int(second)] < scores[Int(first)] ? second : first
    rows[found] = state.neighbours[at]
    found &+= 1
  }
  return found
}
