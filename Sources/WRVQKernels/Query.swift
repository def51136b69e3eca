import CWRVQKernels

// One query: the prepared vector, its look-up tables and the scores of the lists, in an arena that
// starts with the `wrvq_query` itself.

@inline(__always) private func align64(_ n: Int) -> Int { (n &+ 63) & ~63 }

/// Bytes of the arena.
@inline(never)
func queryBytes(_ codebook: UnsafePointer<wrvq_codebook>) -> Int64 {
  var query = wrvq_query()
  return Int64(carve(codebook, UnsafeMutableRawPointer(bitPattern: 64)!, &query))
}

/// Cuts the arena into the query's arrays; returns its size.
private func carve(
  _ codebook: UnsafePointer<wrvq_codebook>, _ arena: UnsafeMutableRawPointer,
  _ query: UnsafeMutablePointer<wrvq_query>
) -> Int {
  let shape = wrvq_codebook_shape(codebook)
  let d = shape.pointee.d, lists = listCount(shape)
  var offset = align64(MemoryLayout<wrvq_query>.size)
  func bytes(_ count: Int) -> UnsafeMutableRawPointer {
    let p = arena + offset
    offset = align64(offset &+ count)
    return p
  }
  query.pointee.vector = bytes(4 &* d).assumingMemoryBound(to: Float.self)
  query.pointee.list_products = bytes(4 &* ceil16(lists)).assumingMemoryBound(to: Float.self)
  query.pointee.list_scores = bytes(4 &* ceil16(lists)).assumingMemoryBound(to: Float.self)
  query.pointee.list_likelihoods = bytes(4 &* ceil16(lists)).assumingMemoryBound(to: Float.self)
  query.pointee.list_keys = bytes(8 &* ceil16(lists)).assumingMemoryBound(to: UInt64.self)
  var scratch = d
  var i = 1
  while i < shape.pointee.levelCount {
    let l = level(shape, i)
    if l.isProduct {
      query.pointee.product_table =
        bytes(64 &* productTableSteps(l)).assumingMemoryBound(to: UInt8.self)
      if 16 &* l.pieces > scratch { scratch = 16 &* l.pieces }
    } else {
      wrvq_query_set_table(
        query, i,
        bytes(4 &* (l.count > 256 ? l.count : 256)).assumingMemoryBound(to: Float.self))
    }
    i &+= 1
  }
  query.pointee.scratch = bytes(4 &* scratch).assumingMemoryBound(to: Float.self)
  return offset
}

/// Prepares the query vector, fills the look-up tables and scores the lists.
///
/// - Parameters:
///   - vector: `d`.
///   - arena: `queryBytes`.
/// - Complexity: O(d·(lists + other codewords + transform block)).
@inline(never)
func queryBegin(
  _ codebook: UnsafePointer<wrvq_codebook>, _ layout: UnsafePointer<wrvq_layout>,
  _ vector: FloatPointer, _ arena: UnsafeMutableRawPointer
) -> wrvq_status {
  let query = arena.assumingMemoryBound(to: wrvq_query.self)
  query.initialize(to: wrvq_query())
  _ = carve(codebook, arena, query)
  query.pointee.codebook = codebook
  query.pointee.layout = layout.pointee
  let shape = wrvq_codebook_shape(codebook)
  let d = shape.pointee.d, isL2 = shape.pointee.metric == Int32(WRVQ_L2.rawValue)
  let x = query.pointee.vector!, scratch = query.pointee.scratch!
  let status = scaleVector(codebook, vector, scratch)
  if status == WRVQ_ZERO_VECTOR {
    scratch.update(repeating: 0, count: d)
  } else if status != WRVQ_OK {
    return status
  }
  transformVector(codebook, scratch, x)
  if isL2 { subtract(codebook.pointee.center, x, d) }
  query.pointee.norm_squared = dot(x, x, d)
  query.pointee.inner_factor = isL2 ? 2 : 1
  productsWithHalves(
    x, d, wrvq_codebook_level(codebook, 0), listCount(shape), query.pointee.list_products!)
  scoreLists(query)
  var i = 1
  while i < shape.pointee.levelCount {
    let l = level(shape, i)
    if l.isProduct {
      fillProductTable(l, wrvq_codebook_level(codebook, i), d, query)
    } else {
      // Every code that a byte can hold gets a value, so that a damaged page reads no stray memory.
      let table = wrvq_query_table(query, i)
      if l.count < 256 { table.update(repeating: 0, count: 256) }
      productsWithHalves(x, d, wrvq_codebook_level(codebook, i), l.count, table)
    }
    i &+= 1
  }
  return WRVQ_OK
}

/// The scan takes four pieces a step.
@inline(__always) private func productTableSteps(_ l: wrvq_level_shape) -> Int {
  (l.pieces &+ 3) / 4
}

/// Look-up table of a product level: 16 inner products a piece, quantized to seven bits with one scale,
/// so that two fit a byte and all that an entry can have (`WRVQ_ENTRY_BYTES_MAX`) 16 bits; each piece's
/// minimum goes into the bias.
///
/// Half a step of seven bits is far below what the codes themselves lose.
private func fillProductTable(
  _ l: wrvq_level_shape, _ packed: HalfPointer, _ d: Int, _ query: UnsafeMutablePointer<wrvq_query>
) {
  let p = l.pieceDimensions, values = query.pointee.scratch!
  let table = query.pointee.product_table!
  var bias: Float = 0, widest: Float = 0
  var piece = 0
  while piece < l.pieces {
    let used = (piece &+ 1) &* p <= d ? p : d &- piece &* p
    let range = pieceProducts(
      query.pointee.vector! + piece &* p, used, packed + piece &* p &* 16, values + piece &* 16)
    bias += range.0
    widest = range.1 > widest ? range.1 : widest
    piece &+= 1
  }
  var scale = widest > 0 ? 127 / widest : 0
  if !(scale < .infinity) { scale = 0 }
  piece = 0
  while piece < 4 &* productTableSteps(l) {
    var k = piece &* 16
    while k < piece &* 16 &+ 16 {
      table[k] =
        piece < l.pieces && scale > 0 ? UInt8(truncatingIfNeeded: ws_round(values[k] * scale)) : 0
      k &+= 1
    }
    piece &+= 1
  }
  query.pointee.table_scale = scale > 0 ? 1 / scale : 0
  query.pointee.table_bias = bias
}

/// One piece's inner products, less their minimum; returns minimum and range.
@inline(__always)
private func pieceProducts(
  _ x: FloatPointer, _ p: Int, _ packed: HalfPointer, _ values: MutableFloatPointer
) -> (Float, Float) {
  var s0 = Floats8.zero, s1 = Floats8.zero
  var i = 0
  while i < p {
    let v = Floats8(repeating: x[i])
    s0 = ws_fma(s0, v, load8(packed, i &* 16))
    s1 = ws_fma(s1, v, load8(packed, i &* 16 &+ 8))
    i &+= 1
  }
  let lows = ws_min(s0, s1), highs = ws_max(s0, s1)
  var low = lows[0], high = highs[0]
  i = 1
  while i < 8 {
    low = lows[i] < low ? lows[i] : low
    high = highs[i] > high ? highs[i] : high
    i &+= 1
  }
  store8(values, 0, s0 - Floats8(repeating: low))
  store8(values, 8, s1 - Floats8(repeating: low))
  return (low, high - low)
}
