import CWRVQKernels

// Products against codewords packed as halves: half the memory traffic of floats, which is what a
// single query waits for.  Every sum runs over the dimensions in order, as in LinearAlgebra.swift,
// so that one row gives the same numbers alone and in a batch.

/// Products of one row with `s` packed codewords.
///
/// - Parameters:
///   - x: `d`.
///   - packed: Halves `[ceil(s/16)][d][16]`.
///   - products: Output, exactly `s`.
@inline(never)
func productsWithHalves(
  _ x: FloatPointer, _ d: Int, _ packed: HalfPointer, _ s: Int, _ products: MutableFloatPointer
) {
  var column = 0
  // Four panels at once: eight independent sums hide the latency of the additions.
  while column &+ 64 <= s {
    fourPanels(x, d, packed + column &* d, 16 &* d, products + column)
    column &+= 64
  }
  while column < s {
    let panel = packed + column &* d
    var a0 = Floats8.zero, a1 = Floats8.zero
    var i = 0
    while i < d {
      let v = Floats8(repeating: x[i])
      a0 = ws_fma(a0, v, load8(panel, i &* 16))
      a1 = ws_fma(a1, v, load8(panel, i &* 16 &+ 8))
      i &+= 1
    }
    if column &+ 16 <= s {
      store8(products, column, a0)
      store8(products, column &+ 8, a1)
    } else {
      var lane = 0
      while column &+ lane < s {
        products[column &+ lane] = lane < 8 ? a0[lane] : a1[lane &- 8]
        lane &+= 1
      }
    }
    column &+= 16
  }
}

/// Products of a row with four panels in sequence.
@inline(__always)
private func fourPanels(
  _ x: FloatPointer, _ d: Int, _ panels: HalfPointer, _ stride: Int, _ out: MutableFloatPointer
) {
  fourPanels(
    x, d, panels, panels + stride, panels + 2 &* stride, panels + 3 &* stride, out)
}

/// Products of a row with any four panels: `out[64]`.
@inline(__always)
func fourPanels(
  _ x: FloatPointer, _ d: Int, _ p0: HalfPointer, _ p1: HalfPointer, _ p2: HalfPointer,
  _ p3: HalfPointer, _ out: MutableFloatPointer
) {
  var a0 = Floats8.zero, a1 = Floats8.zero, b0 = Floats8.zero, b1 = Floats8.zero
  var c0 = Floats8.zero, c1 = Floats8.zero, d0 = Floats8.zero, d1 = Floats8.zero
  var i = 0
  while i < d {
    let v = Floats8(repeating: x[i]), o = i &* 16
    a0 = ws_fma(a0, v, load8(p0, o))
    a1 = ws_fma(a1, v, load8(p0, o &+ 8))
    b0 = ws_fma(b0, v, load8(p1, o))
    b1 = ws_fma(b1, v, load8(p1, o &+ 8))
    c0 = ws_fma(c0, v, load8(p2, o))
    c1 = ws_fma(c1, v, load8(p2, o &+ 8))
    d0 = ws_fma(d0, v, load8(p3, o))
    d1 = ws_fma(d1, v, load8(p3, o &+ 8))
    i &+= 1
  }
  store8(out, 0, a0)
  store8(out, 8, a1)
  store8(out, 16, b0)
  store8(out, 24, b1)
  store8(out, 32, c0)
  store8(out, 40, c1)
  store8(out, 48, d0)
  store8(out, 56, d1)
}

/// Products of a batch of rows with `s` packed codewords.
///
/// - Parameters:
///   - x: `n` rows of `d`, `rowStride` floats apart.
///   - packed: Halves `[ceil(s/16)][d][16]`.
///   - panel: Scratch, `16·d` floats.
///   - tail: Scratch, `16·n` floats.
///   - products: Output, `n` rows of exactly `s`, `stride` floats apart.
func batchWithHalves(
  _ x: FloatPointer, _ rowStride: Int, _ n: Int, _ d: Int, _ packed: HalfPointer, _ s: Int,
  _ panel: MutableFloatPointer, _ tail: MutableFloatPointer,
  _ products: MutableFloatPointer, _ stride: Int
) {
  // One row uses each codeword once: nothing is gained by widening a panel for it.
  if n == 1 {
    productsWithHalves(x, d, packed, s, products)
    return
  }
  var column = 0
  while column < s {
    halfToFloat(packed + column &* d, panel, 16 &* d)
    if column &+ 16 <= s {
      panelProducts(x, rowStride, n, d, panel, products + column, stride)
    } else {
      panelProducts(x, rowStride, n, d, panel, tail, 16)
      var row = 0
      while row < n {
        (products + (row &* stride &+ column)).update(from: tail + row &* 16, count: s &- column)
        row &+= 1
      }
    }
    column &+= 16
  }
}

/// `assign` against codewords packed as halves.
///
/// - Parameters:
///   - panel: Scratch, `16·d` floats.
///   - scratch: `16·n + 80` floats.
func assignWithHalves(
  _ x: FloatPointer, _ n: Int, _ d: Int, _ packed: HalfPointer, _ halfNorms: FloatPointer,
  _ s: Int, _ panel: MutableFloatPointer, _ scratch: MutableFloatPointer,
  _ codes: UnsafeMutablePointer<UInt32>, _ scores: MutableFloatPointer
) {
  let best = BestLanes(scratch + (16 &* n &+ 64), n, codes, scores)
  best.begin()
  var column = 0
  while n == 1 && column &+ 64 <= s {
    fourPanels(x, d, packed + column &* d, 16 &* d, scratch)
    let end = column &+ 64
    while column < end {
      best.update(scratch + (64 &- (end &- column)), halfNorms + column, column)
      column &+= 16
    }
  }
  while column < s {
    halfToFloat(packed + column &* d, panel, 16 &* d)
    panelProducts(x, d, n, d, panel, scratch, 16)
    best.update(scratch, halfNorms + column, column)
    column &+= 16
  }
}

/// Half the squared lengths of codewords packed as halves.
///
/// - Parameter halfNorms: Output, `ceil16(s)`, +∞ in the padding.
func halfNormsOfHalves(
  _ packed: HalfPointer, _ s: Int, _ d: Int, _ halfNorms: MutableFloatPointer
) {
  var column = 0
  while column < s {
    let panel = packed + column &* d
    var s0 = Floats8.zero, s1 = Floats8.zero
    var i = 0
    while i < d {
      let c0 = load8(panel, i &* 16), c1 = load8(panel, i &* 16 &+ 8)
      s0 = ws_fma(s0, c0, c0)
      s1 = ws_fma(s1, c1, c1)
      i &+= 1
    }
    let half = Floats8(repeating: 0.5)
    store8(halfNorms, column, half * s0)
    store8(halfNorms, column &+ 8, half * s1)
    column &+= 16
  }
  padHalfNorms(halfNorms, s)
}

/// Sets the padding behind `s` half norms to +∞, so that no padding is ever the best codeword.
@inline(__always) func padHalfNorms(_ halfNorms: MutableFloatPointer, _ s: Int) {
  (halfNorms + s).update(repeating: .infinity, count: ceil16(s) &- s)
}

/// Row `index` of packed halves as floats.
///
/// - Parameter row: Output, `d`.
@inline(__always)
func unpackRow(_ packed: HalfPointer, _ index: Int, _ d: Int, _ row: MutableFloatPointer) {
  let column = packed + ((index &>> 4) &* d &* 16 &+ (index & 15))
  var i = 0
  while i &+ 8 <= d {
    let p = column + i &* 16
    let halves = SIMD8<UInt16>(p[0], p[16], p[32], p[48], p[64], p[80], p[96], p[112])
    store8(row, i, ws_half8(halves))
    i &+= 8
  }
  while i < d {
    row[i] = floatFromHalf(column[i &* 16])
    i &+= 1
  }
}
