import CWRVQKernels

// The search layer: ADC over blocks of 32 entries.

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
  var inner = BlockFloats()
  if product > 0 {
    let sums = sumTable(
      block + wrvq_layout_codes(layout, product), query.pointee.product_table!,
      level(shape, product).pieces)
    inner = BlockFloats(sums)
    inner.scale(by: query.pointee.table_scale, from: query.pointee.table_bias)
    inner.multiply(by: block + wrvq_layout_factors(layout, product))
  }
  var i = 1
  while i < levels {
    if i != product {
      let values = lookUp(
        wrvq_query_table(query, i), block + wrvq_layout_codes(layout, i), level(shape, i))
      inner.add(values, times: block + wrvq_layout_factors(layout, i))
    }
    i &+= 1
  }
  inner.scale(by: -query.pointee.inner_factor, from: listBase(query, Int(list)))
  let constants = Int(layout.pointee.constants_offset)
  if constants >= 0 { inner.add(block + constants) }
  var mask = inner.finiteMask(below: query.pointee.threshold)
  if count < 32 { mask &= (1 &<< UInt32(truncatingIfNeeded: count)) &- 1 }
  if mask != 0 { keepEntries(query, block, inner, mask) }
  query.pointee.visited &+= Int64(count)
}

/// Keeps the entries of a block whose bits are set.
@inline(never)
private func keepEntries(
  _ query: UnsafeMutablePointer<wrvq_query>, _ block: UnsafePointer<UInt8>,
  _ estimates: BlockFloats, _ mask: UInt32
) {
  var mask = mask
  withUnsafeBytes(of: estimates) {
    let estimates = $0.baseAddress!.assumingMemoryBound(to: Float.self)
    while mask != 0 {
      let entry = mask.trailingZeroBitCount
      keep(query, estimates[entry], blockRow(block, entry))
      mask &= mask &- 1
    }
  }
  makeRoom(query)
}

/// A number for each entry of a block.
struct BlockFloats {
  var a = Floats8.zero
  var b = Floats8.zero
  var c = Floats8.zero
  var d = Floats8.zero

  @inline(__always) init() {}

  @inline(__always) init(_ sums: BlockSums) {
    a = ws_float_u16(sums.low.lowHalf)
    b = ws_float_u16(sums.low.highHalf)
    c = ws_float_u16(sums.high.lowHalf)
    d = ws_float_u16(sums.high.highHalf)
  }

  /// `from + by · self`
  @inline(__always) mutating func scale(by factor: Float, from base: Float) {
    let factor = Floats8(repeating: factor), base = Floats8(repeating: base)
    a = ws_fma(base, factor, a)
    b = ws_fma(base, factor, b)
    c = ws_fma(base, factor, c)
    d = ws_fma(base, factor, d)
  }

  /// - Parameter halves: 32 of them.
  @inline(__always) mutating func multiply(by halves: UnsafePointer<UInt8>) {
    a *= loadHalves8(halves)
    b *= loadHalves8(halves + 16)
    c *= loadHalves8(halves + 32)
    d *= loadHalves8(halves + 48)
  }

  @inline(__always) mutating func add(_ halves: UnsafePointer<UInt8>) {
    a += loadHalves8(halves)
    b += loadHalves8(halves + 16)
    c += loadHalves8(halves + 32)
    d += loadHalves8(halves + 48)
  }

  @inline(__always)
  mutating func add(_ values: BlockFloats, times halves: UnsafePointer<UInt8>) {
    a = ws_fma(a, loadHalves8(halves), values.a)
    b = ws_fma(b, loadHalves8(halves + 16), values.b)
    c = ws_fma(c, loadHalves8(halves + 32), values.c)
    d = ws_fma(d, loadHalves8(halves + 48), values.d)
  }

  /// Turns infinities, and what is not a number (overflowing products may give it), into the largest
  /// number; a bit for each entry whose number is below the limit.
  @inline(__always) mutating func finiteMask(below limit: Float) -> UInt32 {
    let largest = Floats8(repeating: .greatestFiniteMagnitude)
    let limit = Floats8(repeating: limit)
    a = ws_min(a, largest)
    b = ws_min(b, largest)
    c = ws_min(c, largest)
    d = ws_min(d, largest)
    return ws_less_mask(a, limit) | ws_less_mask(b, limit) &<< 8 | ws_less_mask(c, limit) &<< 16
      | ws_less_mask(d, limit) &<< 24
  }
}

/// Sums of 32 entries' table bytes, in order of position.
struct BlockSums {
  var low = SIMD16<UInt16>()
  var high = SIMD16<UInt16>()
}

@inline(__always) private func as16(_ v: SIMD32<UInt8>) -> SIMD16<UInt16> {
  unsafeBitCast(v, to: SIMD16<UInt16>.self)
}

@inline(__always) private func load32(_ p: UnsafePointer<UInt8>, _ at: Int) -> SIMD16<UInt16> {
  UnsafeRawPointer(p + at).loadUnaligned(as: SIMD16<UInt16>.self)
}

@inline(__always) private func as8(_ v: SIMD16<UInt16>) -> SIMD32<UInt8> {
  unsafeBitCast(v, to: SIMD32<UInt8>.self)
}

/// Fast scan: two pieces a register through byte shuffles, two registers' bytes added as they are,
/// then odd and even bytes summed apart in 16 bits (all sums fit, see `fillProductTable`).
///
/// The last step may read up to 48 bytes of the factors behind the codes, against a table of zeros.
@inline(__always)
func sumTable(
  _ codes: UnsafePointer<UInt8>, _ table: UnsafePointer<UInt8>, _ pieces: Int
) -> BlockSums {
  if !ws_has_lookup() { return sumTableByLoads(codes, table, pieces) }
  let nibble = SIMD16<UInt16>(repeating: 0x0f0f), four = SIMD16<UInt16>(repeating: 4)
  let eight = SIMD16<UInt16>(repeating: 8)
  var low = SIMD16<UInt16>(), lowOdd = SIMD16<UInt16>()
  var high = SIMD16<UInt16>(), highOdd = SIMD16<UInt16>()
  var at = 0
  while at < 16 &* pieces {
    let c0 = load32(codes, at), c1 = load32(codes, at &+ 32)
    let t0 = as8(load32(table, at)), t1 = as8(load32(table, at &+ 32))
    let r0 = as16(ws_lookup16x2(t0, as8(c0 & nibble))) &+ as16(ws_lookup16x2(t1, as8(c1 & nibble)))
    let r1 =
      as16(ws_lookup16x2(t0, as8((c0 &>> four) & nibble)))
      &+ as16(ws_lookup16x2(t1, as8((c1 &>> four) & nibble)))
    low &+= r0
    lowOdd &+= r0 &>> eight
    high &+= r1
    highOdd &+= r1 &>> eight
    at &+= 64
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

/// Table values of a block's codes at a flat level.
@inline(__always)
private func lookUp(
  _ table: FloatPointer, _ codes: UnsafePointer<UInt8>, _ l: wrvq_level_shape
) -> BlockFloats {
  var values = BlockFloats()
  if l.count <= 16 && ws_has_lookup() {
    let low = load8(table, 0), high = load8(table, 8)
    values.a = ws_lookup16_float(low, high, load8(codes))
    values.b = ws_lookup16_float(low, high, load8(codes + 8))
    values.c = ws_lookup16_float(low, high, load8(codes + 16))
    values.d = ws_lookup16_float(low, high, load8(codes + 24))
  } else if l.count <= 256 {
    values.a = lookUpBytes(table, codes)
    values.b = lookUpBytes(table, codes + 8)
    values.c = lookUpBytes(table, codes + 16)
    values.d = lookUpBytes(table, codes + 24)
  } else {
    values.a = lookUpWords(table, codes, l.count)
    values.b = lookUpWords(table, codes + 16, l.count)
    values.c = lookUpWords(table, codes + 32, l.count)
    values.d = lookUpWords(table, codes + 48, l.count)
  }
  return values
}

@inline(__always) private func load8(_ p: UnsafePointer<UInt8>) -> SIMD8<UInt8> {
  UnsafeRawPointer(p).loadUnaligned(as: SIMD8<UInt8>.self)
}

@inline(__always)
private func lookUpBytes(_ table: FloatPointer, _ c: UnsafePointer<UInt8>) -> Floats8 {
  Floats8(
    table[Int(c[0])], table[Int(c[1])], table[Int(c[2])], table[Int(c[3])], table[Int(c[4])],
    table[Int(c[5])], table[Int(c[6])], table[Int(c[7])])
}

@inline(__always)
private func lookUpWords(
  _ table: FloatPointer, _ codes: UnsafePointer<UInt8>, _ count: Int
) -> Floats8 {
  var values = Floats8.zero
  var i = 0
  while i < 8 {
    let code = Int(UnsafeRawPointer(codes + 2 &* i).loadUnaligned(as: UInt16.self))
    values[i] = table[code < count ? code : 0]
    i &+= 1
  }
  return values
}

/// What the estimate of a row would be if it were exact: where lengths are limited (Lengths.swift), at
/// most what two vectors of that space can have.
///
/// - Parameter distance: The operator's value: Euclidean distance, negative inner product, or one
///   less the cosine.
@inline(never)
func queryExact(_ query: UnsafePointer<wrvq_query>, _ distance: Double) -> Double {
  let shape = wrvq_codebook_shape(query.pointee.codebook!)
  let scale = Double(shape.pointee.scale)
  let longest = Double(lengthMax(shape.pointee.metric))
  if shape.pointee.metric == Int32(WRVQ_L2.rawValue) {
    let exact = scale * scale * distance * distance
    return exact > 4 * longest * longest ? 4 * longest * longest : exact
  }
  if shape.pointee.metric == Int32(WRVQ_IP.rawValue) {
    let exact = scale * scale * distance
    let most = longest * ws_sqrt_double(Double(query.pointee.norm_squared))
    return exact > most ? most : exact < -most ? -most : exact
  }
  return scale * scale * (distance - 1)
}
