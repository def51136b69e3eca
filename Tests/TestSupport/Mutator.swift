import Foundation

/// Damages bytes at random, repeatably.
public struct Mutator {
  private var state: UInt64

  public init(seed: UInt64) {
    state = seed
  }

  /// Uniform in `0..<bound`, near enough for a test.
  public mutating func next(_ bound: Int) -> Int {
    state &+= 0x9e37_79b9_7f4a_7c15
    var z = state
    z = (z ^ (z &>> 30)) &* 0xbf58_476d_1ce4_e5b9
    z = (z ^ (z &>> 27)) &* 0x94d0_49bb_1331_11eb
    return Int((z ^ (z &>> 31)) % UInt64(max(bound, 1)))
  }

  /// One to four changes: bits, interesting bytes, digits, cuts, repetitions.
  public mutating func mutate(_ original: Data) -> Data {
    var bytes = [UInt8](original)
    for _ in 0...next(4) {
      // Most of what can go wrong is in the first bytes.
      let reach = next(2) == 0 ? min(bytes.count, 400) : bytes.count
      let position = next(reach)
      guard position < bytes.count else { break }
      switch next(7) {
      case 0: bytes[position] ^= 1 << UInt8(next(8))
      case 1: bytes[position] = [0, 1, 0x7f, 0x80, 0xff][next(5)]
      case 2: bytes.removeLast(next(bytes.count))
      case 3: bytes.remove(at: position)
      case 4: bytes.insert(UInt8(next(256)), at: position)
      case 5:
        // Another number, perhaps a huge one, where there is a digit.
        guard let digit = bytes[position...].firstIndex(where: { (0x30...0x39).contains($0) })
        else { continue }
        let digits = Array(String(repeating: "9", count: 1 + next(20)).utf8)
        bytes.replaceSubrange(digit...digit, with: next(2) == 0 ? digits : [UInt8(0x30 + next(10))])
      default:
        let end = min(bytes.count, position + 1 + next(40))
        bytes.insert(contentsOf: bytes[position..<end], at: next(bytes.count))
      }
    }
    return Data(bytes)
  }
}
