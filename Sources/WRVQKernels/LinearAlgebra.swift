import CWRVQKernels

// Batch products against packed codewords `[ceil(s/16)][d][16]`: a panel of 16
// codewords stays in the first-level cache while rows stream past it, six at a time.

/// Rearranges row-major codewords into packed panels, padded with zeros.
///
/// - Parameters:
///   - rows: `s × d`.
///   - packed: Output, `ceil(s/16) × d × 16`.
@inline(never)
func pack(_ rows: FloatPointer, _ s: Int, _ d: Int, _ packed: MutableFloatPointer) {
  var panel = 0
  while panel &* 16 < s {
    let out = packed + panel &* d &* 16
    var lane = 0
    while lane < 16 {
      let row = panel &* 16 &+ lane
      var i = 0
      if row < s {
        let source = rows + row &* d
        while i < d {
          out[i &* 16 &+ lane] = source[i]
          i &+= 1
        }
      } else {
        while i < d {
          out[i &* 16 &+ lane] = 0
          i &+= 1
        }
      }
      lane &+= 1
    }
    panel &+= 1
  }
}

/// Products of rows with packed codewords.
///
/// - Parameters:
///   - x: `n × d`.
///   - packed: `ceil(s/16) × d × 16`.
///   - products: Output, `n × ceil16(s)`.
/// - Complexity: O(n·s·d), near the peak of the machine from six rows up.
@inline(never)
func innerProducts(
  _ x: FloatPointer, _ n: Int, _ d: Int, _ packed: FloatPointer, _ s: Int,
  _ products: MutableFloatPointer
) {
  let width = ceil16(s)
  var column = 0
  while column < s {
    panelProducts(x, d, n, d, packed + column &* d, products + column, width)
    column &+= 16
  }
}

/// Products of `n` rows, `rowStride` floats apart, with one panel: `out[r·stride ..< r·stride + 16]`.
///
/// - Parameter rows: `n`: which rows; nil: the first ones.
@inline(__always)
func panelProducts(
  _ x: FloatPointer, _ rowStride: Int, _ n: Int, _ d: Int, _ panel: FloatPointer,
  _ out: MutableFloatPointer, _ stride: Int, rows: UnsafePointer<UInt32>? = nil
) {
  @inline(__always) func row(_ r: Int) -> FloatPointer {
    // Of fewer than six rows the last one stands in for those that lack: it is done again, to the
    // same result.
    let r = r < n ? r : n &- 1
    return x + (rows == nil ? r : Int(rows![r])) &* rowStride
  }
  @inline(__always) func target(_ r: Int) -> MutableFloatPointer {
    out + (r < n ? r : n &- 1) &* stride
  }
  var r = 0
  while r &+ 1 < n {
    sixRows(
      row(r), row(r &+ 1), row(r &+ 2), row(r &+ 3), row(r &+ 4), row(r &+ 5), d, panel,
      target(r), target(r &+ 1), target(r &+ 2), target(r &+ 3), target(r &+ 4), target(r &+ 5))
    r &+= 6
  }
  if r < n { oneRow(row(r), d, panel, target(r)) }
}

/// The micro-kernel: 6 × 16 accumulators fill the registers.
@inline(__always)
private func sixRows(
  _ x0: FloatPointer, _ x1: FloatPointer, _ x2: FloatPointer, _ x3: FloatPointer,
  _ x4: FloatPointer, _ x5: FloatPointer, _ d: Int, _ panel: FloatPointer,
  _ out0: MutableFloatPointer, _ out1: MutableFloatPointer, _ out2: MutableFloatPointer,
  _ out3: MutableFloatPointer, _ out4: MutableFloatPointer, _ out5: MutableFloatPointer
) {
  var a00 = Floats8.zero, a01 = Floats8.zero, a10 = Floats8.zero, a11 = Floats8.zero
  var a20 = Floats8.zero, a21 = Floats8.zero, a30 = Floats8.zero, a31 = Floats8.zero
  var a40 = Floats8.zero, a41 = Floats8.zero, a50 = Floats8.zero, a51 = Floats8.zero
  var i = 0
  while i < d {
    let c0 = load8(panel, i &* 16), c1 = load8(panel, i &* 16 &+ 8)
    var v = Floats8(repeating: x0[i])
    a00 = ws_fma(a00, v, c0)
    a01 = ws_fma(a01, v, c1)
    v = Floats8(repeating: x1[i])
    a10 = ws_fma(a10, v, c0)
    a11 = ws_fma(a11, v, c1)
    v = Floats8(repeating: x2[i])
    a20 = ws_fma(a20, v, c0)
    a21 = ws_fma(a21, v, c1)
    v = Floats8(repeating: x3[i])
    a30 = ws_fma(a30, v, c0)
    a31 = ws_fma(a31, v, c1)
    v = Floats8(repeating: x4[i])
    a40 = ws_fma(a40, v, c0)
    a41 = ws_fma(a41, v, c1)
    v = Floats8(repeating: x5[i])
    a50 = ws_fma(a50, v, c0)
    a51 = ws_fma(a51, v, c1)
    i &+= 1
  }
  store8(out0, 0, a00)
  store8(out0, 8, a01)
  store8(out1, 0, a10)
  store8(out1, 8, a11)
  store8(out2, 0, a20)
  store8(out2, 8, a21)
  store8(out3, 0, a30)
  store8(out3, 8, a31)
  store8(out4, 0, a40)
  store8(out4, 8, a41)
  store8(out5, 0, a50)
  store8(out5, 8, a51)
}

/// One row against a panel, every sum in the order of `sixRows`.
@inline(__always)
private func oneRow(
  _ x: FloatPointer, _ d: Int, _ panel: FloatPointer, _ out: MutableFloatPointer
) {
  var a0 = Floats8.zero, a1 = Floats8.zero
  var i = 0
  while i < d {
    let v = Floats8(repeating: x[i])
    a0 = ws_fma(a0, v, load8(panel, i &* 16))
    a1 = ws_fma(a1, v, load8(panel, i &* 16 &+ 8))
    i &+= 1
  }
  store8(out, 0, a0)
  store8(out, 8, a1)
}

/// Finds every row's best codeword: the largest `⟨x,c⟩ − halfNorms[c]`; the lower number wins ties.
///
/// Each row is summed in the same order whether it is alone or in a batch, so that encoding a row
/// again gives the same code.
///
/// - Parameters:
///   - x: `n × d`.
///   - packed: `ceil(s/16) × d × 16`.
///   - halfNorms: `ceil16(s)`, +∞ in the padding.
///   - scratch: `32·n` floats.
///   - codes: Output, `n`.
///   - scores: Output, `n`.
/// - Complexity: O(n·s·d).
@inline(never)
func assign(
  _ x: FloatPointer, _ n: Int, _ d: Int, _ packed: FloatPointer, _ halfNorms: FloatPointer,
  _ s: Int, _ scratch: MutableFloatPointer,
  _ codes: UnsafeMutablePointer<UInt32>, _ scores: MutableFloatPointer
) {
  let products = scratch, best = BestLanes(scratch + 16 &* n, n, codes, scores)
  best.begin()
  var column = 0
  while column < s {
    panelProducts(x, d, n, d, packed + column &* d, products, 16)
    best.update(products, halfNorms + column, column)
    column &+= 16
  }
}

/// Running maxima of a batch of rows over panels of 16 codewords.
struct BestLanes {
  let lanes: MutableFloatPointer
  let count: Int
  let codes: UnsafeMutablePointer<UInt32>
  let scores: MutableFloatPointer

  @inline(__always)
  init(
    _ lanes: MutableFloatPointer, _ count: Int, _ codes: UnsafeMutablePointer<UInt32>,
    _ scores: MutableFloatPointer
  ) {
    self.lanes = lanes
    self.count = count
    self.codes = codes
    self.scores = scores
  }

  @inline(__always) func begin() {
    var r = 0
    while r < count {
      codes[r] = 0
      scores[r] = -.infinity
      r &+= 1
    }
  }

  /// `products`: `count × 16`, of the codewords from number `first`.
  @inline(__always) func update(_ products: FloatPointer, _ halfNorms: FloatPointer, _ first: Int) {
    update(products, halfNorms, first, count, rows: nil)
  }

  /// The same for `n` of the rows.
  @inline(__always)
  func update(
    _ products: FloatPointer, _ halfNorms: FloatPointer, _ first: Int, _ n: Int,
    rows: UnsafePointer<UInt32>?
  ) {
    let h0 = load8(halfNorms, 0), h1 = load8(halfNorms, 8)
    var at = 0
    while at < n {
      let r = rows == nil ? at : Int(rows![at])
      let s0 = load8(products, at &* 16) - h0, s1 = load8(products, at &* 16 &+ 8) - h1
      let threshold = Floats8(repeating: scores[r])
      // Few panels beat the best so far: one comparison decides for the other ones.
      if (ws_less_mask(threshold, s0) | ws_less_mask(threshold, s1)) != 0 {
        store8(lanes, 0, s0)
        store8(lanes, 8, s1)
        var lane = 0
        while lane < 16 {
          if lanes[lane] > scores[r] {
            scores[r] = lanes[lane]
            codes[r] = UInt32(truncatingIfNeeded: first &+ lane)
          }
          lane &+= 1
        }
      }
      at &+= 1
    }
  }
}
