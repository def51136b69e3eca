import CWRVQKernels

// Vectors of unlike lengths.  A codebook's scale brings their median length near one; a few that are far
// longer must neither decide it nor leave the range of halves, in which codes and codewords are kept.

/// The longest vector of an index's space, by metric; a longer one is brought to this length.
///
/// To the median a length of one, a vector beyond either is as good as infinitely far: it keeps its
/// direction, and so does a query from there, so that they find each other and reranking orders them.
/// Under L2 an entry's constant is at most the square of the length and of the centre's (at most 4)
/// together: (128 + 4)² = 17,424, of the 65,504 that a half can hold.  Inner products have no
/// constant; the weights of a vector of 2¹³ stay below 65,504 at the greatest correction of its decoded
/// length (Encoder.swift: 10 times, of which some 4 are ever met), and its length still counts.
@inline(__always) func lengthMax(_ metric: Int32) -> Float {
  metric == Int32(WRVQ_L2.rawValue) ? 128 : metric == Int32(WRVQ_IP.rawValue) ? 8192 : .infinity
}

/// Four times the median length: what is longer is an outlier.  It is encoded like all, but counts no
/// more than a vector of this length where means are taken that serve the others.
///
/// Chosen between two bounds: lengths that embeddings ordinarily have must stay below it, and one row in
/// thousands begins to tell in a mean of squares at some thirty times (30² / 1,000 is about one).
let typicalLengthMax: Float = 4

/// What a residual of this length counts as.
@inline(__always) func limitedLength(_ length: Float) -> Float {
  length < typicalLengthMax ? length : typicalLengthMax
}

/// A row's scaled length, if it is an outlier's, is brought down to the longest that there can be.
///
/// - Parameter out: `d`: `x`, scaled.
@inline(__always)
func limitLength(_ x: FloatPointer, _ d: Int, _ metric: Int32, _ out: MutableFloatPointer) {
  let most = lengthMax(metric)
  // Also false where the square is beyond single precision.
  if dot(out, out, d) <= most * most { return }
  if most < .infinity { shorten(x, d, to: most, out) }
}

/// `x` of length `length`, which it exceeds.
@inline(never)
private func shorten(
  _ x: FloatPointer, _ d: Int, to length: Float, _ out: MutableFloatPointer
) {
  let factor = Double(length) / ws_sqrt_double(innerProductReference(x, x, d))
  var i = 0
  while i < d {
    out[i] = Float(Double(x[i]) * factor)
    i &+= 1
  }
}

/// Lengths as numbers in the same order.
///
/// - Parameters:
///   - rows: `n × d`, finite.
///   - keys: Output, `n`.
@inline(never)
func lengthKeys(
  _ rows: FloatPointer, _ n: Int, _ d: Int, _ keys: UnsafeMutablePointer<UInt64>
) {
  var row = 0
  while row < n {
    let x = rows + row &* d
    keys[row] = ws_sqrt_double(innerProduct(x, x, d)).bitPattern
    row &+= 1
  }
}

/// The power of two that brings the median of the lengths that are not zero nearest to one.
///
/// The median, so that no minority of rows, however long or short, spoils it for the others; a power
/// of two, so that scaling is exact.
///
/// - Parameter keys: `n`, as `lengthKeys` makes them; consumed.
@inline(never)
func medianScale(_ keys: UnsafeMutablePointer<UInt64>, _ n: Int) -> Float {
  var count = 0
  var i = 0
  while i < n {
    if keys[i] != 0 {
      keys[count] = keys[i]
      count &+= 1
    }
    i &+= 1
  }
  if count == 0 { return 1 }
  let middle = count / 2 &+ 1
  selectSmallest(keys, count, middle)
  let bits = largest(keys, middle)
  // Above √2·2ᵏ the next power is nearer.
  let isUpper = bits & 0x000f_ffff_ffff_ffff > 0x0006_a09e_667f_3bcc
  let exponent = Int(bits &>> 52) &- 1023 &+ (isUpper ? 1 : 0)
  // Normal numbers, and their reciprocals too.
  let bounded = lesser(126, greater(-126, -exponent))
  return Float(bitPattern: UInt32(truncatingIfNeeded: 127 &+ bounded) &<< 23)
}

/// Brings the rows of a sample into the space that a codebook is trained in, in place.
///
/// - Parameter rows: `n × d`, finite.
/// - Returns: How many are left, in order: under cosine those of length zero go.
@inline(never)
func prepareSample(
  _ rows: MutableFloatPointer, _ n: Int, _ d: Int, _ metric: Int32, _ scale: Float
) -> Int {
  var kept = 0
  var row = 0
  while row < n {
    let x = rows + row &* d, out = rows + kept &* d
    if metric == Int32(WRVQ_COSINE.rawValue) {
      if scaleVector(x, d, by: scale, normalised: true, out) == WRVQ_OK { kept &+= 1 }
    } else {
      scaleSampleRow(x, d, metric, scale, out)
      kept &+= 1
    }
    row &+= 1
  }
  return kept
}

/// The scaled row, or a shorter one; `out` may be `x`.
private func scaleSampleRow(
  _ x: FloatPointer, _ d: Int, _ metric: Int32, _ scale: Float, _ out: MutableFloatPointer
) {
  let most = lengthMax(metric)
  let length = ws_sqrt_double(innerProduct(x, x, d))
  let factor =
    length * Double(scale) > Double(most) ? Double(most) / length : Double(scale)
  var i = 0
  while i < d {
    out[i] = Float(Double(x[i]) * factor)
    i &+= 1
  }
}
