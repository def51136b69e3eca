/// Random numbers, the same for the same seed on every machine: Steele, Lea and Flood's splitmix64
/// (OOPSLA 2014).
struct BaselineNumbers {
  private var state: UInt64

  init(seed: UInt64) { state = seed }

  mutating func next() -> UInt64 {
    state &+= 0x9e37_79b9_7f4a_7c15
    var z = state
    z = (z ^ (z &>> 30)) &* 0xbf58_476d_1ce4_e5b9
    z = (z ^ (z &>> 27)) &* 0x94d0_49bb_1331_11eb
    return z ^ (z &>> 31)
  }

  /// Uniform in `0..<bound`.
  mutating func below(_ bound: Int) -> Int {
    Int(next().multipliedFullWidth(by: UInt64(bound)).high)
  }

  /// Of mean 0 and variance 1, roughly normal: the sum of twelve uniform numbers.
  mutating func normal() -> Float {
    var sum = -6.0
    for _ in 0..<12 { sum += Double(next() &>> 11) * 0x1p-53 }
    return Float(sum)
  }
}
