/// Pseudo-random numbers from a seed (Steele, Lea and Flood, OOPSLA 2014): small, fast and
/// the same on every machine.
struct SplitMix64 {
  var state: UInt64

  /// A generator for one purpose of one seed: different streams do not overlap in practice.
  init(seed: UInt64, stream: UInt64) {
    state = seed ^ (stream &* 0xd6e8_feb8_6659_fd93)
    _ = next()
  }

  mutating func next() -> UInt64 {
    state &+= 0x9e37_79b9_7f4a_7c15
    var z = state
    z = (z ^ (z &>> 30)) &* 0xbf58_476d_1ce4_e5b9
    z = (z ^ (z &>> 27)) &* 0x94d0_49bb_1331_11eb
    return z ^ (z &>> 31)
  }

  /// A number in `0 ..< bound`; 0 if the bound is not positive.
  mutating func next(below bound: Int) -> Int {
    if bound <= 1 { return 0 }
    let bound = UInt64(truncatingIfNeeded: bound)
    return Int(truncatingIfNeeded: next().multipliedFullWidth(by: bound).high)
  }

  /// A number in `0 ..< 1`.
  mutating func nextUnit() -> Float {
    // 24 bits always convert exactly.
    Float(UInt32(truncatingIfNeeded: next() &>> 40)) * 0x1p-24
  }
}
