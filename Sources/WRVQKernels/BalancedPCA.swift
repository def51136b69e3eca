import CWRVQKernels

// The transform of a product level: the principal axes, dealt out so that every
// piece carries the same product of variances (as in the parametric solution of
// optimized product quantization, Ge et al., TPAMI 2014, §4).

/// Columns of a covariance matrix that one unit of work sums up.
let covarianceStripColumns = 48
private let covarianceChunkRows = 64

/// Floats of scratch for `accumulateCovariance`.
func covarianceScratchFloats(width: Int) -> Int {
  let columns = ceil16(width)
  return covarianceChunkRows &* (columns &+ covarianceStripColumns)
    &+ covarianceStripColumns &* columns
}

/// Sums up a strip of the second moments of a block of dimensions, and its means.
///
/// - Parameters:
///   - rows: The first row's part in the block; rows are `stride` floats apart.
///   - width: Dimensions of the block.
///   - strip: The first of 48 columns.
///   - moments: Output, `width × width`: rows from `strip`, columns from `strip` on.
///   - means: Output, `width`: sums from `strip` on.
///   - scratch: `covarianceScratchFloats(width)`.
/// - Complexity: O(count · width · 48)
@inline(never)
func accumulateCovariance(
  _ rows: FloatPointer, count: Int, stride: Int, width: Int, strip: Int,
  _ moments: MutableFloatPointer, _ means: MutableFloatPointer, _ scratch: MutableFloatPointer
) {
  let columns = ceil16(width), ld = columns &+ covarianceStripColumns
  let sums = scratch + covarianceChunkRows &* ld
  let stripColumns = lesser(covarianceStripColumns, width &- strip)
  clear(scratch, covarianceChunkRows &* ld &+ covarianceStripColumns &* columns)
  clear(means + strip, stripColumns)
  var start = 0
  while start < count {
    let n = lesser(covarianceChunkRows, count &- start)
    var r = 0
    while r < n {
      copy(
        rows + ((start &+ r) &* stride &+ strip), width &- strip, to: scratch + (r &* ld &+ strip))
      addScaled(means + strip, 1, scratch + (r &* ld &+ strip), stripColumns)
      r &+= 1
    }
    var j = strip
    while j < columns {
      var i = 0
      while i < covarianceStripColumns {
        outerProducts(
          scratch + (strip &+ i), scratch + j, ld, n, sums + (i &* columns &+ j), columns)
        i &+= 6
      }
      j &+= 16
    }
    start &+= n
  }
  var i = 0
  while i < stripColumns {
    let from = sums + (i &* columns &+ strip)
    copy(from, width &- strip, to: moments + ((strip &+ i) &* width &+ strip))
    i &+= 1
  }
}

/// sums[6][16] += xᵀ·y over `n` rows: the micro-kernel of LinearAlgebra.swift, with rows as the
/// inner dimension.
@inline(__always)
private func outerProducts(
  _ x: FloatPointer, _ y: FloatPointer, _ ld: Int, _ n: Int, _ sums: MutableFloatPointer,
  _ stride: Int
) {
  let s1 = sums + stride, s2 = s1 + stride, s3 = s2 + stride, s4 = s3 + stride, s5 = s4 + stride
  var a00 = load8(sums, 0), a01 = load8(sums, 8), a10 = load8(s1, 0), a11 = load8(s1, 8)
  var a20 = load8(s2, 0), a21 = load8(s2, 8), a30 = load8(s3, 0), a31 = load8(s3, 8)
  var a40 = load8(s4, 0), a41 = load8(s4, 8), a50 = load8(s5, 0), a51 = load8(s5, 8)
  var px = x, py = y
  var r = 0
  while r < n {
    let y0 = load8(py, 0), y1 = load8(py, 8)
    var v = Floats8(repeating: px[0])
    a00 = ws_fma(a00, v, y0)
    a01 = ws_fma(a01, v, y1)
    v = Floats8(repeating: px[1])
    a10 = ws_fma(a10, v, y0)
    a11 = ws_fma(a11, v, y1)
    v = Floats8(repeating: px[2])
    a20 = ws_fma(a20, v, y0)
    a21 = ws_fma(a21, v, y1)
    v = Floats8(repeating: px[3])
    a30 = ws_fma(a30, v, y0)
    a31 = ws_fma(a31, v, y1)
    v = Floats8(repeating: px[4])
    a40 = ws_fma(a40, v, y0)
    a41 = ws_fma(a41, v, y1)
    v = Floats8(repeating: px[5])
    a50 = ws_fma(a50, v, y0)
    a51 = ws_fma(a51, v, y1)
    px += ld
    py += ld
    r &+= 1
  }
  store8(sums, 0, a00)
  store8(sums, 8, a01)
  store8(s1, 0, a10)
  store8(s1, 8, a11)
  store8(s2, 0, a20)
  store8(s2, 8, a21)
  store8(s3, 0, a30)
  store8(s3, 8, a31)
  store8(s4, 0, a40)
  store8(s4, 8, a41)
  store8(s5, 0, a50)
  store8(s5, 8, a51)
}

/// Turns the sums of `accumulateCovariance` into a covariance matrix, both triangles.
@inline(never)
func finishCovariance(
  _ moments: MutableFloatPointer, _ width: Int, _ means: MutableFloatPointer, count: Int
) {
  let inverse = 1 / Float(count)
  scale(means, inverse, width)
  var i = 0
  while i < width {
    let row = moments + i &* width
    scale(row + i, inverse, width &- i)
    addScaled(row + i, -means[i], means + i, width &- i)
    var j = i &+ 1
    while j < width {
      moments[j &* width &+ i] = row[j]
      j &+= 1
    }
    i &+= 1
  }
}

/// Deals the axes of one block out to the pieces that it overlaps.
///
/// From the largest variance down, each axis goes to the piece that has the
/// smallest product so far and a free dimension in this block.
///
/// - Parameters:
///   - variances: `width`, of unit mean over all blocks; non-positive ones count as tiny.
///   - first: The block's first dimension.
///   - logs: For every piece the logarithm of its product so far, updated.
///   - filled: Scratch, one for every piece.
///   - order: Scratch, `width`.
///   - axes: Output, `width`: the axis at each of the block's rotated dimensions.
@inline(never)
func dealAxes(
  _ variances: UnsafePointer<Double>, _ width: Int, first: Int, pieceDimensions p: Int,
  logs: MutableFloatPointer, filled: UnsafeMutablePointer<UInt32>,
  order: UnsafeMutablePointer<UInt32>, axes: UnsafeMutablePointer<UInt32>
) {
  let firstPiece = first / p, lastPiece = (first &+ width &- 1) / p
  var q = firstPiece
  while q <= lastPiece {
    filled[q] = 0
    q &+= 1
  }
  sortDescending(variances, width, order)
  var i = 0
  while i < width {
    let axis = order[i]
    var best = -1
    q = firstPiece
    while q <= lastPiece {
      let capacity = lesser(first &+ width, (q &+ 1) &* p) &- greater(first, q &* p)
      if Int(filled[q]) < capacity && (best < 0 || logs[q] < logs[best]) { best = q }
      q &+= 1
    }
    // The capacities add up to the width: there always is a free dimension.
    axes[greater(first, best &* p) &- first &+ Int(filled[best])] = axis
    filled[best] &+= 1
    logs[best] += logarithmAboveFloor(variances[Int(axis)])
    i &+= 1
  }
}

/// log₂ of a variance in units of the smallest one that counts.
@inline(__always) private func logarithmAboveFloor(_ variance: Double) -> Float {
  let floor = 1e-6
  return variance > floor ? logarithm2(variance / floor) : 0
}

/// log₂ of a positive number, to 1e-4: no library is linked for the one caller that needs it.
private func logarithm2(_ x: Double) -> Float {
  let bits = x.bitPattern
  let exponent = Int32(truncatingIfNeeded: (bits &>> 52) & 0x7ff) &- 1023
  let mantissa = Double(bitPattern: (bits & 0x000f_ffff_ffff_ffff) | 0x3ff0_0000_0000_0000)
  // The series of artanh around √2, where |t| < 0.172.
  let t = (mantissa - 1.4142135623730951) / (mantissa + 1.4142135623730951)
  let series = t * (1 + t * t * (1 / 3.0 + t * t * (1 / 5.0)))
  return Float(Double(exponent) + 0.5 + 2.8853900817779268 * series)
}

/// Numbers by descending value; equal values keep their order.
private func sortDescending(
  _ values: UnsafePointer<Double>, _ n: Int, _ order: UnsafeMutablePointer<UInt32>
) {
  var i = 0
  while i < n {
    var j = i
    while j > 0 && values[Int(order[j &- 1])] < values[i] {
      order[j] = order[j &- 1]
      j &-= 1
    }
    order[j] = UInt32(truncatingIfNeeded: i)
    i &+= 1
  }
}
