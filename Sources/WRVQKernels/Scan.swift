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
