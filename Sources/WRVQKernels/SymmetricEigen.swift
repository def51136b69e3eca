import CWRVQKernels

// Principal axes of a covariance matrix: Householder's reduction to tridiagonal
// form, then implicit QL (Golub and Van Loan, Matrix Computations, §8.3).  It is
// cut into resumable parts, so that a caller can stop in between.  The axes are
// kept as rows of a matrix in panels `[ceil(n/16)][n][16]`: row i of all panels
// together is axis i, and each panel can be worked on alone, in the first-level
// cache.  What it yields is rounded to halves later: single precision suffices.

/// A plane rotation of the rows `row` and `row + 1`.
struct Rotation {
  var row: Int32
  var cosine: Float
  var sine: Float
}

/// Reduces a symmetric matrix to tridiagonal form, from row `start` on, until some `budget` of
/// multiply-adds is spent.
///
/// - Parameters:
///   - a: `n × n`, both triangles; row k ends up holding reflector k behind its diagonal.
///   - diagonal, offDiagonal: Output, `n` each.
///   - betas: Output, `n`: the reflectors' factors.
///   - work: `n` floats.
/// - Returns: The row to go on from; `n` when done.
@inline(never)
func tridiagonalize(
  _ a: MutableFloatPointer, _ n: Int, from start: Int, budget: Int,
  diagonal: UnsafeMutablePointer<Double>, offDiagonal: UnsafeMutablePointer<Double>,
  betas: MutableFloatPointer, work: MutableFloatPointer
) -> Int {
  var k = start
  var spent = 0
  while k < n && spent < budget {
    let m = n &- k &- 1
    let v = a + (k &* n &+ k &+ 1)
    diagonal[k] = Double(a[k &* n &+ k])
    betas[k] = 0
    offDiagonal[k] = m > 0 ? Double(v[0]) : 0
    if m > 1 {
      let tail = dot(v + 1, v + 1, m &- 1)
      if tail > 1e-30 {
        let length = ws_sqrt(v[0] * v[0] + tail)
        let alpha = v[0] > 0 ? -length : length
        v[0] -= alpha
        offDiagonal[k] = Double(alpha)
        betas[k] = 2 / (v[0] * v[0] + tail)
        reflectBothSides(a + ((k &+ 1) &* n &+ k &+ 1), stride: n, m, v, betas[k], work)
      } else {
        clear(v + 1, m &- 1)
      }
    }
    spent &+= 2 &* m &* m
    k &+= 1
  }
  return k
}

/// A = H·A·H for the reflector H = 1 − β·v·vᵀ, as the rank-two update A − v·wᵀ − w·vᵀ.
@inline(__always)
private func reflectBothSides(
  _ a: MutableFloatPointer, stride: Int, _ m: Int, _ v: FloatPointer, _ beta: Float,
  _ w: MutableFloatPointer
) {
  var i = 0
  while i < m {
    w[i] = beta * dot(a + i &* stride, v, m)
    i &+= 1
  }
  addScaled(w, -0.5 * beta * dot(v, w, m), v, m)
  i = 0
  while i < m {
    addScaledPair(a + i &* stride, -v[i], w, -w[i], v, m)
    i &+= 1
  }
}

/// Fills a panel of 16 columns with those of Qᵀ, the product of all reflectors.
///
/// - Parameters:
///   - a, betas: As `tridiagonalize` left them.
///   - column: The panel's first column.
///   - panel: Output, `n × 16`.
@inline(never)
func reflectPanel(
  _ a: FloatPointer, _ betas: FloatPointer, _ n: Int, column: Int, _ panel: MutableFloatPointer
) {
  clear(panel, n &* 16)
  var lane = 0
  while lane < 16 && column &+ lane < n {
    panel[(column &+ lane) &* 16 &+ lane] = 1
    lane &+= 1
  }
  var k = 0
  while k &+ 2 < n {
    if betas[k] != 0 {
      reflectRows(panel + (k &+ 1) &* 16, n &- k &- 1, a + (k &* n &+ k &+ 1), betas[k])
    }
    k &+= 1
  }
}

/// P −= β·v·(vᵀ·P) for a panel of `m` rows.
@inline(__always)
private func reflectRows(_ p: MutableFloatPointer, _ m: Int, _ v: FloatPointer, _ beta: Float) {
  var s0 = Floats8.zero, s1 = Floats8.zero
  var i = 0
  while i < m {
    let x = Floats8(repeating: v[i])
    s0 = ws_fma(s0, x, load8(p, i &* 16))
    s1 = ws_fma(s1, x, load8(p, i &* 16 &+ 8))
    i &+= 1
  }
  let b = Floats8(repeating: -beta)
  s0 *= b
  s1 *= b
  i = 0
  while i < m {
    let x = Floats8(repeating: v[i])
    store8(p, i &* 16, ws_fma(load8(p, i &* 16), x, s0))
    store8(p, i &* 16 &+ 8, ws_fma(load8(p, i &* 16 &+ 8), x, s1))
    i &+= 1
  }
}

/// The QL iteration on a tridiagonal matrix, resumable between sweeps.
struct TridiagonalQL {
  /// The eigenvalue being worked on; all before it are done.
  var row = 0
  private var sweeps = 0

  /// Runs until all eigenvalues are found or `rotations` might not hold another sweep.
  ///
  /// - Parameters:
  ///   - diagonal: `n`; the eigenvalues in the end, in no order.
  ///   - offDiagonal: `n`, of which the last is unused; destroyed.
  ///   - rotations: Output, for the rows of the axes; at least `n`.
  /// - Returns: The number of rotations.
  mutating func run(
    _ n: Int, diagonal d: UnsafeMutablePointer<Double>, offDiagonal e: UnsafeMutablePointer<Double>,
    _ rotations: UnsafeMutablePointer<Rotation>, capacity: Int
  ) -> Int {
    var used = 0
    while row < n {
      let end = blockEnd(n, d, e)
      // Fifty sweeps never fail to separate an eigenvalue of finite numbers; give up on others.
      if end == row || sweeps == 50 {
        row &+= 1
        sweeps = 0
        continue
      }
      if used &+ (end &- row) > capacity { return used }
      sweeps &+= 1
      used &+= sweep(end, d, e, rotations + used)
    }
    return used
  }

  /// The last row that off-diagonal elements still couple to `row`.
  private func blockEnd(
    _ n: Int, _ d: UnsafeMutablePointer<Double>, _ e: UnsafeMutablePointer<Double>
  ) -> Int {
    var m = row
    while m &+ 1 < n {
      let size = d[m].magnitude + d[m &+ 1].magnitude
      if !(e[m].magnitude > 1e-10 * size + 1e-15) { break }
      m &+= 1
    }
    return m
  }

  /// One implicit sweep from row `m` up to `row`.
  private func sweep(
    _ m: Int, _ d: UnsafeMutablePointer<Double>, _ e: UnsafeMutablePointer<Double>,
    _ rotations: UnsafeMutablePointer<Rotation>
  ) -> Int {
    let l = row
    var g = (d[l &+ 1] - d[l]) / (2 * e[l])
    var r = ws_sqrt_double(g * g + 1)
    g = d[m] - d[l] + e[l] / (g + (g >= 0 ? r : -r))
    var s = 1.0, c = 1.0, p = 0.0
    var used = 0
    var i = m &- 1
    while i >= l {
      let f = s * e[i], b = c * e[i]
      r = ws_sqrt_double(f * f + g * g)
      e[i &+ 1] = r
      if r == 0 {
        d[i &+ 1] -= p
        e[m] = 0
        return used
      }
      s = f / r
      c = g / r
      g = d[i &+ 1] - p
      r = (d[i] - g) * s + 2 * c * b
      p = s * r
      d[i &+ 1] = g + p
      g = c * r - b
      rotations[used] = Rotation(
        row: Int32(truncatingIfNeeded: i), cosine: Float(c), sine: Float(s))
      used &+= 1
      i &-= 1
    }
    d[l] -= p
    e[l] = g
    e[m] = 0
    return used
  }
}

/// Applies rotations to the rows of a panel.
@inline(never)
func rotatePanel(
  _ panel: MutableFloatPointer, _ rotations: UnsafePointer<Rotation>, _ count: Int
) {
  var k = 0
  while k < count {
    let c = Floats8(repeating: rotations[k].cosine), s = Floats8(repeating: rotations[k].sine)
    let p = panel + Int(rotations[k].row) &* 16
    let a0 = load8(p, 0), a1 = load8(p, 8), b0 = load8(p, 16), b1 = load8(p, 24)
    store8(p, 0, ws_fma(c * a0, -s, b0))
    store8(p, 8, ws_fma(c * a1, -s, b1))
    store8(p, 16, ws_fma(s * a0, c, b0))
    store8(p, 24, ws_fma(s * a1, c, b1))
    k &+= 1
  }
}
