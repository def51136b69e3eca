import CWRVQKernels
import TestSupport
import Testing

/// Selecting and sorting, by way of the lists' keys and the candidates' rows.
@Suite struct SelectionTests {
  private static let count = 1000
  private static let sample = SampleShape(
    name: "many lists", metric: WRVQ_L2, dimensions: 1, levels: [.flat(count, WRVQ_WEIGHT_ONE)])

  /// Orders that quicksorts stumble over; numbers are unique in the low half, as in every key.
  private static let patterns: [(name: String, value: @Sendable (Int) -> Int)] = [
    ("ascending", { $0 }), ("descending", { count - $0 }), ("equal", { _ in 7 }),
    ("two values", { $0 % 2 }), ("organ pipe", { $0 < count / 2 ? $0 : count - $0 }),
    ("saw", { $0 % 17 }), ("random", { $0 * 7919 % 1009 }), ("last is least", { ($0 + 1) % count }),
  ]

  @Test(arguments: KernelLevel.available, patterns.map(\.name))
  func theSmallestAreSelectedFromAnyOrder(_ level: KernelLevel, _ name: String) {
    let pattern = Self.patterns.first { $0.name == name }!.value
    let codebook = SampleCodebook(level, Self.sample)
    let query = SampleQuery(codebook, [0.5])
    let scores = (0..<Self.count).map { Float(pattern($0)) }
    // As keys are made of scores that are not negative.
    let keys = scores.enumerated().map {
      UInt64($1.bitPattern | 0x8000_0000) << 32 | UInt64($0)
    }
    let sorted = keys.sorted()
    for (i, score) in scores.enumerated() { query.query.pointee.list_scores![i] = score }
    for wanted in [1, 2, 3, 10, 499, 500, 501, 998, 999, 1000] {
      for (i, key) in keys.enumerated() { query.query.pointee.list_keys![i] = key }
      let expected = sorted.prefix(wanted).map { UInt32(truncatingIfNeeded: $0) }
      #expect(query.lists(0, wanted) == expected.sorted(), "\(wanted) of \(name)")
      let all = (0..<Self.count).map { query.query.pointee.list_keys![$0] }
      #expect(all.sorted() == sorted, "no key is lost")
      let next = sorted.dropFirst(wanted).prefix(300).map { UInt32(truncatingIfNeeded: $0) }
      #expect(query.lists(wanted, 300) == next.sorted(), "300 after \(wanted) of \(name)")
    }
  }

  @Test(arguments: KernelLevel.available)
  func keysOrderAsTheirValues(_ level: KernelLevel) {
    let codebook = SampleCodebook(level, Self.sample)
    let query = SampleQuery(codebook, [0])
    let keys = (0..<Self.count).map { query.query.pointee.list_keys![$0] }
    for (i, key) in keys.enumerated() { #expect(key & 0xffff_ffff == UInt64(i)) }
    let byKey = keys.sorted().map { KernelReference.value(ofKey: $0) }
    #expect(byKey == byKey.sorted())
    #expect(byKey.first! < 0 || byKey.first! >= 0)
  }

  @Test(arguments: KernelLevel.available)
  func takenRowsAreSortedWhateverTheOrder(_ level: KernelLevel) {
    let codebook = SampleCodebook(level, Self.sample)
    let query = SampleQuery(codebook, [0.5])
    for n in [1, 2, 3, 31, 32, 33, 500] {
      var numbers = TestNumbers(seed: UInt64(n))
      let rows = (0..<n).map { _ in numbers.next() >> 16 }
      query.beginRound(n)
      for start in stride(from: 0, to: n, by: 32) {
        let part = Array(rows[start..<min(start + 32, n)])
        let block = codebook.block(part, part.map { _ in [0, 0] })
        query.scan(0, block, part.count)
      }
      #expect(query.take() == rows.sorted())
    }
  }
}
