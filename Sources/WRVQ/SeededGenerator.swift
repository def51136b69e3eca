/// Pseudo-random numbers from a seed (SplitMix64; Steele, Lea and Flood, OOPSLA 2014): the same on
/// every machine.
///
/// No `RandomNumberGenerator`: what the standard library draws with one may change with its version,
/// and a seed is to give the same result for good.
struct SeededGenerator {
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

  /// Uniform in `0..<bound`: the upper half of a product, unless that is one of the few that would
  /// make some numbers more frequent (Lemire, TOMACS 2019).
  mutating func next(below bound: Int) -> Int {
    let bound = UInt64(bound)
    var product = next().multipliedFullWidth(by: bound)
    if product.low < bound {
      let excess = (0 &- bound) % bound
      while product.low < excess { product = next().multipliedFullWidth(by: bound) }
    }
    return Int(product.high)
  }

  /// The elements in random order (Fisher and Yates, from the front).
  mutating func shuffled<Element>(_ elements: [Element]) -> [Element] {
    var elements = elements
    for i in elements.indices.dropLast() {
      elements.swapAt(i, i + next(below: elements.count - i))
    }
    return elements
  }
}
