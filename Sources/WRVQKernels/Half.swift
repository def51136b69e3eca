import CWRVQKernels

/// Widens halves to floats.
///
/// - Parameters:
///   - halves: `count` IEEE binary16.
///   - floats: Output, `count`.
@inline(never)
func halfToFloat(_ halves: HalfPointer, _ floats: MutableFloatPointer, _ count: Int) {
  var i = 0
  while i &+ 8 <= count {
    store8(floats, i, load8(halves, i))
    i &+= 8
  }
  while i < count {
    floats[i] = floatFromHalf(halves[i])
    i &+= 1
  }
}

/// Rounds floats to halves, to nearest even; what exceeds the range becomes ±65504, NaN becomes 0.
@inline(never)
func floatToHalf(_ floats: FloatPointer, _ halves: MutableHalfPointer, _ count: Int) {
  var i = 0
  while i < count {
    halves[i] = halfFromFloat(floats[i])
    i &+= 1
  }
}

/// Exact, by bits, so that baseline code needs no library call.
@inline(__always) func floatFromHalf(_ half: UInt16) -> Float {
  let magnitude = UInt32(half & 0x7fff) &<< 13
  let sign = UInt32(half & 0x8000) &<< 16
  // The exponents' biases differ by 112; the multiplication also normalises subnormals.
  let value = Float(bitPattern: magnitude) * Float(bitPattern: 0x7780_0000)
  let infinite: UInt32 = magnitude >= 0x0f80_0000 ? 0x7f80_0000 : 0
  return Float(bitPattern: value.bitPattern | infinite | sign)
}

/// To nearest even, saturating; NaN becomes 0 so that no stored number can spread it.
@inline(__always) func halfFromFloat(_ value: Float) -> UInt16 {
  let bits = value.bitPattern
  let sign = UInt16(truncatingIfNeeded: bits &>> 16) & 0x8000
  let magnitude = bits & 0x7fff_ffff
  if magnitude > 0x7f80_0000 { return 0 }
  if magnitude >= 0x477f_f000 { return sign | 0x7bff }
  if magnitude < 0x3880_0000 {
    // Subnormal: adding 0.5 aligns the last kept bit with the float's last bit and rounds there.
    let aligned = Float(bitPattern: magnitude) + 0.5
    return sign | UInt16(truncatingIfNeeded: aligned.bitPattern &- 0x3f00_0000)
  }
  let odd = (magnitude &>> 13) & 1
  return sign | UInt16(truncatingIfNeeded: (magnitude &- 0x3800_0000 &+ 0xfff &+ odd) &>> 13)
}
