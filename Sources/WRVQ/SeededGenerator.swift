/// Pseudo-random numbers from a seed (SplitMix64; Steele, Lea and Flood, OOPSLA 2014): the same on
/// every machine.
struct SeededGenerator: RandomNumberGenerator {
  private var state: UInt64

  /// A generator for one purpose of one seed.
  init(seed: UInt64, stream: UInt64) {
    state = seed ^ (stream &* 0xd6e8_feb8_6659_fd93)
    _ = next()
  }

  mutating func next() -> UInt64 {
    state &+= 0x9e37_79b9_7f4a_7c15
    var z = state
    z = (z ^ (z >> 30)) &* 0xbf58_476d_1ce4_e5b9
    z = (z ^ (z >> 27)) &* 0x94d0_49bb_1331_11eb
    return z ^ (z >> 31)
  }
}
