import CWRVQKernels

// Distances of values from one vector by look-up tables (ADC; WRVQ paper, eq. 14):
// ‖x̂ − q‖² = ‖x̂‖² + ‖q‖² − 2 Σ wᵢ⟨cᵢ, Tᵢq⟩.

/// The difference of three terms says nothing exact about a distance much smaller than they are:
/// below this share of them the vector is decoded after all.
private let smallestShare = 1.0 / 256

/// Bytes of a query and its arrays.
@inline(never)
func codeQueryBytes(_ coder: UnsafePointer<wrvq_coder>) -> Int64 {
  var query = wrvq_code_query()
  return Int64(carve(coder, UnsafeMutableRawPointer(bitPattern: 64)!, &query))
}

private func carve(
  _ coder: UnsafePointer<wrvq_coder>, _ memory: UnsafeMutableRawPointer,
  _ query: UnsafeMutablePointer<wrvq_code_query>
) -> Int {
  let d = coder.pointee.d
  var arena = Arena(memory)
  _ = arena.take(1, of: wrvq_code_query.self)
  query.pointee.vector = arena.take(d, of: Float.self)
  query.pointee.prepared = arena.take(d, of: Float.self)
  var i = 0
  while i < coder.pointee.levelCount {
    let shape = level(coder, i).pointee.shape
    let floats = shape.isProduct ? 32 &* shape.codeBytes : shape.count
    wrvq_code_query_set_table(query, i, arena.take(floats, of: Float.self))
    wrvq_code_query_set_center_table(query, i, arena.take(floats, of: Float.self))
    i &+= 1
  }
  // A decoded vector, and what decoding it wants.
  query.pointee.scratch = arena.take(d, of: Float.self)
  _ = arena.take(Int(codeScratchBytes(coder)), of: UInt8.self)
  return arena.bytes
}

/// Fills the tables for one vector.
///
/// - Parameters:
///   - metric: Of the distances, whatever the codebook's is.
///   - vector: `d`, finite.
///   - arena: `codeQueryBytes`.
/// - Complexity: O(d·(codewords + transforms' blocks)).
@inline(never)
func codeQueryBegin(
  _ coder: UnsafePointer<wrvq_coder>, _ metric: Int32, _ vector: FloatPointer,
  _ arena: UnsafeMutableRawPointer
) {
  let query = arena.assumingMemoryBound(to: wrvq_code_query.self)
  query.initialize(to: wrvq_code_query())
  _ = carve(coder, arena, query)
  query.pointee.coder = coder
  query.pointee.metric = metric
  let d = coder.pointee.d, q = query.pointee.prepared!, center = coder.pointee.center!
  query.pointee.vector!.update(from: vector, count: d)
  let isL2 = metric == Int32(WRVQ_L2.rawValue), isCosine = metric == Int32(WRVQ_COSINE.rawValue)
  let scale = isL2 ? coder.pointee.scale : 1
  if scaleVector(vector, d, by: scale, normalised: isCosine, q) != WRVQ_OK { clear(q, d) }
  if isL2 { subtract(center, q, d) }
  query.pointee.norm_squared = Double(dot(q, q, d))
  query.pointee.center_squared = dot(center, center, d)
  fillTables(coder, q, query, ofCenter: false)
  if isL2 && coder.pointee.has_center != 0 {
    let table = wrvq_code_query_table(query, 0)!
    let product = dot(center, q, d)
    var code = 0
    while code < level(coder, 0).pointee.shape.count {
      table[code] -= product
      code &+= 1
    }
  }
  if isCosine && coder.pointee.has_center != 0 { fillTables(coder, center, query, ofCenter: true) }
}

private func fillTables(
  _ coder: UnsafePointer<wrvq_coder>, _ x: FloatPointer,
  _ query: UnsafeMutablePointer<wrvq_code_query>, ofCenter: Bool
) {
  let d = coder.pointee.d
  var i = 0
  while i < coder.pointee.levelCount {
    let l = level(coder, i).pointee
    let table = tableOf(query, i, ofCenter: ofCenter)
    var z = x
    if let transform = l.transform {
      blockProducts(transform, d, l.transformBlock, x, query.pointee.scratch!)
      z = FloatPointer(query.pointee.scratch!)
    }
    if l.shape.isProduct {
      fillPieces(l, z, d, table)
    } else {
      productsWithHalves(z, d, l.codewords!, l.shape.count, table)
    }
    i &+= 1
  }
}

@inline(__always)
private func tableOf(
  _ query: UnsafePointer<wrvq_code_query>, _ i: Int, ofCenter: Bool
) -> MutableFloatPointer {
  ofCenter ? wrvq_code_query_center_table(query, i)! : wrvq_code_query_table(query, i)!
}

/// 16 inner products a piece; zeros for the piece that makes their number even.
private func fillPieces(
  _ l: wrvq_coder_level, _ z: FloatPointer, _ d: Int, _ table: MutableFloatPointer
) {
  let p = l.shape.pieceDimensions
  var piece = 0
  while piece < 2 &* l.shape.codeBytes {
    var s0 = Floats8.zero, s1 = Floats8.zero
    var i = piece &* p
    while piece < l.shape.pieces && i < lesser(d, (piece &+ 1) &* p) {
      let v = Floats8(repeating: z[i])
      s0 = ws_fma(s0, v, load8(l.codewords!, i &* 16))
      s1 = ws_fma(s1, v, load8(l.codewords!, i &* 16 &+ 8))
      i &+= 1
    }
    store8(table, piece &* 16, s0)
    store8(table, piece &* 16 &+ 8, s1)
    piece &+= 1
  }
}

/// The operator's value for a decoded value and the query's vector.
@inline(never)
func codeDistance(
  _ query: UnsafePointer<wrvq_code_query>, _ code: UnsafePointer<UInt8>,
  _ distance: UnsafeMutablePointer<Double>
) -> wrvq_status {
  let coder = query.pointee.coder!
  let product = lookUp(query, coder, code, ofCenter: false)
  if product.isBad { return WRVQ_BAD_CODE }
  let norm = Double(UnsafeRawPointer(code).loadUnaligned(as: Float.self))
  let scale = Double(coder.pointee.scale)
  var result = 0.0
  var isExact = false
  if query.pointee.metric == Int32(WRVQ_L2.rawValue) {
    let terms = norm + query.pointee.norm_squared, square = terms - 2 * product.sum
    isExact = square > smallestShare * terms
    result = ws_sqrt_double(square) / scale
  } else if query.pointee.metric == Int32(WRVQ_IP.rawValue) {
    result = -product.sum / scale
    isExact = true
  } else {
    var square = norm
    if coder.pointee.has_center != 0 {
      square +=
        2 * lookUp(query, coder, code, ofCenter: true).sum - Double(query.pointee.center_squared)
    }
    result = 1 - product.sum / ws_sqrt_double(square)
    // The normalised vector is of length 1, or zero.
    isExact =
      query.pointee.norm_squared > 0.5 && result > smallestShare && result < 2
      && square > smallestShare * (norm + Double(query.pointee.center_squared))
  }
  // Also where single precision overflows, and where a length is zero.
  if !isExact || !result.isFinite { return decodedDistance(query, coder, code, distance) }
  distance.pointee = result
  return WRVQ_OK
}

/// `Σ wᵢ·tableᵢ[codeᵢ]`, or that the codebook has no such code.
@inline(__always)
private func lookUp(
  _ query: UnsafePointer<wrvq_code_query>, _ coder: UnsafePointer<wrvq_coder>,
  _ code: UnsafePointer<UInt8>, ofCenter: Bool
) -> (sum: Double, isBad: Bool) {
  var sum = 0.0
  var i = 0
  while i < coder.pointee.levelCount {
    let l = level(coder, i)
    let table = tableOf(query, i, ofCenter: ofCenter)
    let codes = code + Int(l.pointee.code_offset)
    var value: Float
    if l.pointee.shape.isProduct {
      value = pieceSum(table, codes, l.pointee.shape.codeBytes)
    } else {
      let number = flatCode(l.pointee.shape, codes)
      if number >= l.pointee.shape.count { return (0, true) }
      value = table[number]
    }
    sum += Double(storedWeight(l, code)) * Double(value)
    i &+= 1
  }
  return (sum, false)
}

/// The table's values of two pieces a byte, in four sums that do not wait for each other.
@inline(__always)
private func pieceSum(_ table: FloatPointer, _ codes: UnsafePointer<UInt8>, _ bytes: Int) -> Float {
  var a: Float = 0, b: Float = 0, c: Float = 0, d: Float = 0
  var i = 0
  while i &+ 2 <= bytes {
    let x = Int(codes[i]), y = Int(codes[i &+ 1]), t = table + 32 &* i
    a += t[x & 15]
    b += t[16 &+ (x &>> 4)]
    c += t[32 &+ (y & 15)]
    d += t[48 &+ (y &>> 4)]
    i &+= 2
  }
  if i < bytes {
    let x = Int(codes[i]), t = table + 32 &* i
    a += t[x & 15]
    b += t[16 &+ (x &>> 4)]
  }
  return (a + b) + (c + d)
}

private func decodedDistance(
  _ query: UnsafePointer<wrvq_code_query>, _ coder: UnsafePointer<wrvq_coder>,
  _ code: UnsafePointer<UInt8>, _ distance: UnsafeMutablePointer<Double>
) -> wrvq_status {
  let d = coder.pointee.d
  let decoded = query.pointee.scratch!, vector = query.pointee.vector!
  let scratch = UnsafeMutableRawPointer(decoded) + ((4 &* d &+ 63) & ~63)
  let status = decodeCode(coder, code, coder.pointee.levelCount, scratch, decoded)
  if status != WRVQ_OK { return status }
  if query.pointee.metric == Int32(WRVQ_L2.rawValue) {
    distance.pointee = l2Distance(decoded, vector, d)
  } else if query.pointee.metric == Int32(WRVQ_IP.rawValue) {
    distance.pointee = -innerProduct(decoded, vector, d)
  } else {
    distance.pointee = cosineDistance(decoded, vector, d)
  }
  return WRVQ_OK
}
