import Foundation

/// The time of one call of a kernel, and what it comes to.
struct Measurement {
  let name: String
  /// Whether measurements are the fastest samples instead of the median ones: for a busy machine.
  nonisolated(unsafe) static var takesFastest = false

  /// Of a call.
  let nanoseconds: Double
  /// In `unit`.
  let rate: Double
  let unit: String

  /// Both, for the table.
  var text: String {
    let time =
      nanoseconds < 10_000
      ? String(format: "%.1f ns", nanoseconds) : String(format: "%.1f µs", nanoseconds / 1000)
    return unit == "ns"
      ? time : "\(time), \(String(format: rate < 100 ? "%.2f" : "%.0f", rate)) \(unit)"
  }

  /// Times a call: the median over samples of some milliseconds.
  ///
  /// - Parameters:
  ///   - unit: What one call's worth is measured in; `ns` for plain time.
  ///   - rate: From nanoseconds of a call to `unit`.
  init(
    _ name: String, unit: String = "ns", rate: (Double) -> Double = { $0 }, _ call: () -> Void
  ) {
    self.name = name
    self.unit = unit
    func nanoseconds(_ calls: Int) -> Double {
      let start = threadTime()
      for _ in 0..<calls { call() }
      return threadTime() - start
    }
    // As many calls as take about 3 ms; this also warms the caches.
    var calls = 1
    while nanoseconds(calls) < 3e6 { calls *= 2 }
    let samples = (0..<21).map { _ in nanoseconds(calls) / Double(calls) }.sorted()
    self.nanoseconds = samples[Self.takesFastest ? 0 : samples.count / 2]
    self.rate = rate(self.nanoseconds)
  }
}

/// Nanoseconds that this thread has run: unlike the clock on the wall, not what others take of the
/// processor.
private func threadTime() -> Double {
  var time = timespec()
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time)
  return Double(time.tv_sec) * 1e9 + Double(time.tv_nsec)
}

/// Memory on a boundary of 64 bytes, kept until the program ends.
func aligned<Element: BitwiseCopyable>(
  _ count: Int, of type: Element.Type = Element.self
) -> UnsafeMutablePointer<Element> {
  let bytes = max(count * MemoryLayout<Element>.stride, 64)
  let memory = UnsafeMutableRawPointer.allocate(byteCount: bytes, alignment: 64)
  memory.initializeMemory(as: UInt8.self, repeating: 0, count: bytes)
  return memory.bindMemory(to: Element.self, capacity: max(count, 1))
}

func aligned<Element: BitwiseCopyable>(_ elements: [Element]) -> UnsafeMutablePointer<Element> {
  let memory = aligned(elements.count, of: Element.self)
  memory.update(from: elements, count: elements.count)
  return memory
}

/// Roughly normal numbers from a seed.
struct RandomNumbers {
  private var state: UInt64

  init(seed: UInt64) { state = seed &* 0x9e37_79b9_7f4a_7c15 | 1 }

  /// xorshift64* (Vigna 2016).
  mutating func next() -> UInt64 {
    state ^= state >> 12
    state ^= state << 25
    state ^= state >> 27
    return state &* 0x2545_f491_4f6c_dd1d
  }

  mutating func normal() -> Float {
    var sum: Float = 0
    for _ in 0..<6 { sum += Float(next() >> 40) * 0x1p-23 - 1 }
    return sum * 0.7071
  }

  mutating func normals(_ count: Int, times factor: Float = 1) -> [Float] {
    (0..<count).map { _ in normal() * factor }
  }
}
