import CWRVQKernels

// Exact distances of two vectors.  Sums run in single precision over 256
// elements at most and are then added up in double: the error stays below 1e-6
// of the sum of magnitudes at any length.  Where single precision overflows or
// underflows, the double-precision reference takes over.

private let chunkElements = 256

/// Euclidean distance.
@inline(never)
func l2Distance(_ a: FloatPointer, _ b: FloatPointer, _ n: Int) -> Double {
  var sum = 0.0
  var start = 0
  while start < n {
    let end = start &+ chunkElements < n ? start &+ chunkElements : n
    sum += Double(squaredChunk(a, b, start, end))
    start = end
  }
  return isSafe(sum) ? ws_sqrt_double(sum) : l2DistanceReference(a, b, n)
}

/// Inner product.
@inline(never)
func innerProduct(_ a: FloatPointer, _ b: FloatPointer, _ n: Int) -> Double {
  var sum = 0.0
  var start = 0
  while start < n {
    let end = start &+ chunkElements < n ? start &+ chunkElements : n
    sum += Double(productChunk(a, b, start, end))
    start = end
  }
  return isSafe(sum.magnitude) ? sum : innerProductReference(a, b, n)
}

/// One minus the cosine; NaN if either vector is zero.
@inline(never)
func cosineDistance(_ a: FloatPointer, _ b: FloatPointer, _ n: Int) -> Double {
  var product = 0.0, aa = 0.0, bb = 0.0
  var start = 0
  while start < n {
    let end = start &+ chunkElements < n ? start &+ chunkElements : n
    let sums = cosineChunk(a, b, start, end)
    product += Double(sums.0)
    aa += Double(sums.1)
    bb += Double(sums.2)
    start = end
  }
  if !(isSafe(aa) && isSafe(bb)) { return cosineDistanceReference(a, b, n) }
  return cosineFromSums(product, aa, bb)
}

/// Index of the first NaN or infinity, or -1.
@inline(never)
func firstNotFinite(_ a: FloatPointer, _ n: Int) -> Int {
  var i = 0
  while i < n {
    if a[i].bitPattern & 0x7f80_0000 == 0x7f80_0000 { return i }
    i &+= 1
  }
  return -1
}

/// Neither overflown nor so small that squares may have been lost; false for NaN.
@inline(__always) private func isSafe(_ sum: Double) -> Bool { sum > 1e-20 && sum < 1e37 }

@inline(__always) private func cosineFromSums(
  _ product: Double, _ aa: Double, _ bb: Double
) -> Double {
  // One root of the product, which nothing in range overflows: two roots multiplied would not give
  // back `aa` from equal sums, and the distance to itself would not be 0.  Rounding may leave the
  // cosine of nearly parallel vectors just outside its range.
  let cosine = product / ws_sqrt_double(aa * bb)
  if cosine > 1 { return 0 }
  if cosine < -1 { return 2 }
  return 1 - cosine
}

@inline(__always)
private func squaredChunk(_ a: FloatPointer, _ b: FloatPointer, _ start: Int, _ end: Int) -> Float {
  var s0 = Floats8.zero, s1 = Floats8.zero, s2 = Floats8.zero, s3 = Floats8.zero
  var i = start
  while i &+ 32 <= end {
    let d0 = load8(a, i) - load8(b, i), d1 = load8(a, i &+ 8) - load8(b, i &+ 8)
    let d2 = load8(a, i &+ 16) - load8(b, i &+ 16), d3 = load8(a, i &+ 24) - load8(b, i &+ 24)
    s0 = ws_fma(s0, d0, d0)
    s1 = ws_fma(s1, d1, d1)
    s2 = ws_fma(s2, d2, d2)
    s3 = ws_fma(s3, d3, d3)
    i &+= 32
  }
  while i &+ 8 <= end {
    let d0 = load8(a, i) - load8(b, i)
    s0 = ws_fma(s0, d0, d0)
    i &+= 8
  }
  var sum = horizontalSum((s0 + s1) + (s2 + s3))
  while i < end {
    let d = a[i] - b[i]
    sum += d * d
    i &+= 1
  }
  return sum
}

@inline(__always)
private func productChunk(_ a: FloatPointer, _ b: FloatPointer, _ start: Int, _ end: Int) -> Float {
  var s0 = Floats8.zero, s1 = Floats8.zero, s2 = Floats8.zero, s3 = Floats8.zero
  var i = start
  while i &+ 32 <= end {
    s0 = ws_fma(s0, load8(a, i), load8(b, i))
    s1 = ws_fma(s1, load8(a, i &+ 8), load8(b, i &+ 8))
    s2 = ws_fma(s2, load8(a, i &+ 16), load8(b, i &+ 16))
    s3 = ws_fma(s3, load8(a, i &+ 24), load8(b, i &+ 24))
    i &+= 32
  }
  while i &+ 8 <= end {
    s0 = ws_fma(s0, load8(a, i), load8(b, i))
    i &+= 8
  }
  var sum = horizontalSum((s0 + s1) + (s2 + s3))
  while i < end {
    sum += a[i] * b[i]
    i &+= 1
  }
  return sum
}

/// ⟨a,b⟩, ⟨a,a⟩ and ⟨b,b⟩, summed in one order so that a vector's distance to itself is exactly 0.
@inline(__always)
private func cosineChunk(
  _ a: FloatPointer, _ b: FloatPointer, _ start: Int, _ end: Int
) -> (Float, Float, Float) {
  var p0 = Floats8.zero, p1 = Floats8.zero, p2 = Floats8.zero, p3 = Floats8.zero
  var a0 = Floats8.zero, a1 = Floats8.zero, a2 = Floats8.zero, a3 = Floats8.zero
  var b0 = Floats8.zero, b1 = Floats8.zero, b2 = Floats8.zero, b3 = Floats8.zero
  var i = start
  while i &+ 32 <= end {
    var x = load8(a, i), y = load8(b, i)
    p0 = ws_fma(p0, x, y)
    a0 = ws_fma(a0, x, x)
    b0 = ws_fma(b0, y, y)
    x = load8(a, i &+ 8)
    y = load8(b, i &+ 8)
    p1 = ws_fma(p1, x, y)
    a1 = ws_fma(a1, x, x)
    b1 = ws_fma(b1, y, y)
    x = load8(a, i &+ 16)
    y = load8(b, i &+ 16)
    p2 = ws_fma(p2, x, y)
    a2 = ws_fma(a2, x, x)
    b2 = ws_fma(b2, y, y)
    x = load8(a, i &+ 24)
    y = load8(b, i &+ 24)
    p3 = ws_fma(p3, x, y)
    a3 = ws_fma(a3, x, x)
    b3 = ws_fma(b3, y, y)
    i &+= 32
  }
  while i &+ 8 <= end {
    let x = load8(a, i), y = load8(b, i)
    p0 = ws_fma(p0, x, y)
    a0 = ws_fma(a0, x, x)
    b0 = ws_fma(b0, y, y)
    i &+= 8
  }
  // Opaque, or else the compiler takes all lanes apart to add up two of the sums side by side, at
  // the cost of half the distance.
  var p = ws_opaque(horizontalSum((p0 + p1) + (p2 + p3)))
  var aa = ws_opaque(horizontalSum((a0 + a1) + (a2 + a3)))
  var bb = ws_opaque(horizontalSum((b0 + b1) + (b2 + b3)))
  while i < end {
    p += a[i] * b[i]
    aa += a[i] * a[i]
    bb += b[i] * b[i]
    i &+= 1
  }
  return (p, aa, bb)
}

// The references: obvious, in double precision; also the way out at extreme magnitudes.

@inline(never)
func l2DistanceReference(_ a: FloatPointer, _ b: FloatPointer, _ n: Int) -> Double {
  var sum = 0.0
  var i = 0
  while i < n {
    let d = Double(a[i]) - Double(b[i])
    sum += d * d
    i &+= 1
  }
  return ws_sqrt_double(sum)
}

@inline(never)
func innerProductReference(_ a: FloatPointer, _ b: FloatPointer, _ n: Int) -> Double {
  var sum = 0.0
  var i = 0
  while i < n {
    sum += Double(a[i]) * Double(b[i])
    i &+= 1
  }
  return sum
}

@inline(never)
func cosineDistanceReference(_ a: FloatPointer, _ b: FloatPointer, _ n: Int) -> Double {
  var product = 0.0, aa = 0.0, bb = 0.0
  var i = 0
  while i < n {
    product += Double(a[i]) * Double(b[i])
    aa += Double(a[i]) * Double(a[i])
    bb += Double(b[i]) * Double(b[i])
    i &+= 1
  }
  return cosineFromSums(product, aa, bb)
}
