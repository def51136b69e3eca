import CWRVQKernels

// The loops over one or two rows that training is made of.

/// y += w·x
@inline(__always)
func addScaled(_ y: MutableFloatPointer, _ w: Float, _ x: FloatPointer, _ n: Int) {
  let w8 = Floats8(repeating: w)
  var i = 0
  while i &+ 8 <= n {
    store8(y, i, ws_fma(load8(y, i), w8, load8(x, i)))
    i &+= 8
  }
  while i < n {
    y[i] += w * x[i]
    i &+= 1
  }
}

/// y += a·x + b·z
@inline(__always)
func addScaledPair(
  _ y: MutableFloatPointer, _ a: Float, _ x: FloatPointer, _ b: Float, _ z: FloatPointer, _ n: Int
) {
  let a8 = Floats8(repeating: a), b8 = Floats8(repeating: b)
  var i = 0
  while i &+ 8 <= n {
    store8(y, i, ws_fma(ws_fma(load8(y, i), a8, load8(x, i)), b8, load8(z, i)))
    i &+= 8
  }
  while i < n {
    y[i] += a * x[i] + b * z[i]
    i &+= 1
  }
}

/// y = y·w
@inline(__always)
func scale(_ y: MutableFloatPointer, _ w: Float, _ n: Int) {
  let w8 = Floats8(repeating: w)
  var i = 0
  while i &+ 8 <= n {
    store8(y, i, load8(y, i) * w8)
    i &+= 8
  }
  while i < n {
    y[i] *= w
    i &+= 1
  }
}

@inline(__always)
func copy(_ source: FloatPointer, _ n: Int, to target: MutableFloatPointer) {
  var i = 0
  while i &+ 8 <= n {
    store8(target, i, load8(source, i))
    i &+= 8
  }
  while i < n {
    target[i] = source[i]
    i &+= 1
  }
}

@inline(__always) func clear(_ target: MutableFloatPointer, _ n: Int) {
  var i = 0
  while i < n {
    target[i] = 0
    i &+= 1
  }
}

/// The value that comes back from a stored half.
@inline(__always) func roundedThroughHalf(_ value: Float) -> Float {
  floatFromHalf(halfFromFloat(value))
}

/// Rounds `n` values through halves, in place.
@inline(never) func roundThroughHalves(_ values: MutableFloatPointer, _ n: Int) {
  var i = 0
  while i < n {
    values[i] = roundedThroughHalf(values[i])
    i &+= 1
  }
}

@inline(__always) func lesser(_ a: Int, _ b: Int) -> Int { a < b ? a : b }
@inline(__always) func greater(_ a: Int, _ b: Int) -> Int { a > b ? a : b }
