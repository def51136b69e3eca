import CWRVQKernels

// Arithmetic of SQL values, element by element.  Each loop is its own reference: elements do not
// depend on each other, so the compiler vectorizes it without changing a result.

/// out = a + factor * b; a factor of 1 or -1 rounds as a sum or a difference does.
@inline(never)
func addScaled(
  _ a: FloatPointer, _ b: FloatPointer, _ factor: Float, _ out: UnsafeMutablePointer<Float>,
  _ n: Int
) {
  var i = 0
  while i < n {
    out[i] = a[i] + factor * b[i]
    i &+= 1
  }
}

/// out = a * b
@inline(never)
func multiply(
  _ a: FloatPointer, _ b: FloatPointer, _ out: UnsafeMutablePointer<Float>, _ n: Int
) {
  var i = 0
  while i < n {
    out[i] = a[i] * b[i]
    i &+= 1
  }
}

/// sums += a, in double precision: a million rows add up without loss that a float would show.
@inline(never)
func addToSums(_ sums: UnsafeMutablePointer<Double>, _ a: FloatPointer, _ n: Int) {
  var i = 0
  while i < n {
    sums[i] += Double(a[i])
    i &+= 1
  }
}

/// sums += others
@inline(never)
func addSums(
  _ sums: UnsafeMutablePointer<Double>, _ others: UnsafePointer<Double>, _ n: Int
) {
  var i = 0
  while i < n {
    sums[i] += others[i]
    i &+= 1
  }
}

/// out = a / divisor, divided in double precision: lengths of less than 1e-38 have no reciprocal in single.
@inline(never)
func divide(
  _ a: FloatPointer, _ divisor: Double, _ out: UnsafeMutablePointer<Float>, _ n: Int
) {
  var i = 0
  while i < n {
    out[i] = Float(Double(a[i]) / divisor)
    i &+= 1
  }
}

/// out = sums / divisor
@inline(never)
func divideSums(
  _ sums: UnsafePointer<Double>, _ divisor: Double, _ out: UnsafeMutablePointer<Float>, _ n: Int
) {
  var i = 0
  while i < n {
    out[i] = Float(sums[i] / divisor)
    i &+= 1
  }
}
