/// Chooses a given number of items from a stream of unknown length, each with the same
/// probability, repeatable by seed (Waterman's algorithm R).
public struct Reservoir: Sendable {
  /// The number of items to keep.
  public let capacity: Int
  /// The number of items offered so far.
  public private(set) var offered = 0
  private var generator: SplitMix64

  public init(capacity: Int, seed: UInt64) {
    precondition(capacity > 0)
    self.capacity = capacity
    generator = SplitMix64(state: seed)
  }

  /// Where to put the next item, overwriting what is there; nil to pass over it.
  ///
  /// The first `capacity` places are 0, 1, 2, …
  public mutating func place() -> Int? {
    offered += 1
    if offered <= capacity { return offered - 1 }
    // The high half of a product is uniform to 2^-64, and the same on every Swift version.
    let place = Int(generator.next().multipliedFullWidth(by: UInt64(offered)).high)
    return place < capacity ? place : nil
  }
}

/// Steele, Lea and Flood's generator (OOPSLA 2014).
struct SplitMix64: Sendable {
  private var state: UInt64

  init(state: UInt64) {
    self.state = state
  }

  mutating func next() -> UInt64 {
    state &+= 0x9e37_79b9_7f4a_7c15
    var z = state
    z = (z ^ (z &>> 30)) &* 0xbf58_476d_1ce4_e5b9
    z = (z ^ (z &>> 27)) &* 0x94d0_49bb_1331_11eb
    return z ^ (z &>> 31)
  }

  /// Uniform in 0..<1, from the upper 53 bits.
  mutating func nextFraction() -> Double {
    Double(next() &>> 11) * 0x1p-53
  }
}
