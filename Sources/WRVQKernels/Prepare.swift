import CWRVQKernels

// From a user's vector to the space that codes live in: scaled, of unit length under cosine,
// transformed, and for L2 seen from the centre.

/// Bytes of scratch for `prepare` on `n` rows: the rows before the transform, a panel and a tail.
func prepareScratchFloats(_ shape: UnsafePointer<wrvq_shape>, _ n: Int) -> Int {
  let d = shape.pointee.d
  return n &* d &+ 16 &* d &+ 16 &* n
}

/// Prepares a batch of vectors.
///
/// - Parameters:
///   - x: `n × d`.
///   - scratchMemory: `prepareScratchFloats` floats.
///   - prepared: Output, `n × d`.
///   - bad: Output: the row that cannot be prepared.
/// - Returns: `WRVQ_NOT_FINITE`, `WRVQ_ZERO_VECTOR` (under cosine) or `WRVQ_OK`.
@inline(never)
func prepare(
  _ codebook: UnsafePointer<wrvq_codebook>, _ x: FloatPointer, _ n: Int,
  _ scratchMemory: UnsafeMutableRawPointer, _ prepared: MutableFloatPointer,
  _ bad: UnsafeMutablePointer<Int>
) -> wrvq_status {
  let d = codebook.pointee.shape.d, b = codebook.pointee.shape.transformBlock
  let scratch = scratchMemory.assumingMemoryBound(to: Float.self)
  let rows = codebook.pointee.transform == nil ? prepared : scratch
  var row = 0
  while row < n {
    let status = scaleVector(codebook, x + row &* d, rows + row &* d)
    if status != WRVQ_OK {
      bad.pointee = row
      return status
    }
    row &+= 1
  }
  if let transform = codebook.pointee.transform {
    let panel = scratch + n &* d, tail = panel + 16 &* d
    var packed = HalfPointer(transform)
    var start = 0
    while start < d {
      let size = start &+ b < d ? b : d &- start
      batchWithHalves(
        scratch + start, d, n, size, packed, size, panel, tail, prepared + start, d)
      packed += ceil16(size) &* size
      start &+= b
    }
  }
  if codebook.pointee.shape.metric == Int32(WRVQ_L2.rawValue) {
    row = 0
    while row < n {
      subtract(codebook.pointee.center, prepared + row &* d, d)
      row &+= 1
    }
  }
  return WRVQ_OK
}

/// Scales one vector, or normalises it under cosine; an outlier becomes shorter (Lengths.swift).
func scaleVector(
  _ codebook: UnsafePointer<wrvq_codebook>, _ x: FloatPointer, _ out: MutableFloatPointer
) -> wrvq_status {
  let d = codebook.pointee.shape.d, metric = codebook.pointee.shape.metric
  let normalised = metric == Int32(WRVQ_COSINE.rawValue)
  let status = scaleVector(
    x, d, by: codebook.pointee.shape.scale, normalised: normalised, out)
  if status == WRVQ_OK && !normalised { limitLength(x, d, metric, out) }
  return status
}

/// `x·scale`, or `x·scale/‖x‖` if normalised.
func scaleVector(
  _ x: FloatPointer, _ d: Int, by scale: Float, normalised: Bool, _ out: MutableFloatPointer
) -> wrvq_status {
  if firstNotFinite(x, d) >= 0 { return WRVQ_NOT_FINITE }
  var factor = Double(scale)
  if normalised {
    // Double precision, so that no length under- or overflows.
    let squared = innerProductReference(x, x, d)
    if squared == 0 { return WRVQ_ZERO_VECTOR }
    factor /= ws_sqrt_double(squared)
  }
  var i = 0
  while i < d {
    out[i] = Float(Double(x[i]) * factor)
    i &+= 1
  }
  return WRVQ_OK
}

@inline(__always)
func subtract(_ a: FloatPointer, _ x: MutableFloatPointer, _ d: Int) {
  var i = 0
  while i &+ 8 <= d {
    store8(x, i, load8(x, i) - load8(a, i))
    i &+= 8
  }
  while i < d {
    x[i] -= a[i]
    i &+= 1
  }
}

/// Inner product in single precision, for residuals.
@inline(__always)
func dot(_ a: FloatPointer, _ b: FloatPointer, _ d: Int) -> Float {
  var s0 = Floats8.zero, s1 = Floats8.zero
  var i = 0
  while i &+ 16 <= d {
    s0 = ws_fma(s0, load8(a, i), load8(b, i))
    s1 = ws_fma(s1, load8(a, i &+ 8), load8(b, i &+ 8))
    i &+= 16
  }
  var sum = horizontalSum(s0 + s1)
  while i < d {
    sum += a[i] * b[i]
    i &+= 1
  }
  return sum
}

/// `x -= w·v`.
@inline(__always)
func subtractScaled(_ v: FloatPointer, _ w: Float, _ x: MutableFloatPointer, _ d: Int) {
  let factor = Floats8(repeating: -w)
  var i = 0
  while i &+ 8 <= d {
    store8(x, i, ws_fma(load8(x, i), factor, load8(v, i)))
    i &+= 8
  }
  while i < d {
    x[i] -= w * v[i]
    i &+= 1
  }
}
