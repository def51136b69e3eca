import Testing

@testable import WRVQ

@Suite struct SeededGeneratorTests {
  /// Written down, so that neither a new Swift nor a new us changes what a seed has given.
  @Test func theOrderIsThatOfTheSeedForGood() {
    var generator = SeededGenerator(seed: 7, stream: 3)
    #expect(generator.shuffled(Array(0..<12)) == [3, 4, 2, 7, 11, 9, 5, 6, 0, 10, 1, 8])
  }

  @Test func everyElementComesOnce() {
    var generator = SeededGenerator(seed: 1, stream: 0)
    for count in [0, 1, 2, 3, 1000] {
      let order = generator.shuffled(Array(0..<count))
      #expect(order.sorted() == Array(0..<count))
    }
  }

  @Test func placesAreUniform() {
    var generator = SeededGenerator(seed: 2, stream: 0)
    var counts = [[Int]](repeating: [0, 0, 0, 0, 0], count: 5)
    for _ in 0..<10_000 {
      for (place, element) in generator.shuffled(Array(0..<5)).enumerated() {
        counts[element][place] += 1
      }
    }
    // Of 10,000 draws 2,000 each; five standard deviations are 200.
    for count in counts.joined() { #expect(abs(count - 2000) < 200) }
  }

  @Test func noNumberReachesTheBound() {
    var generator = SeededGenerator(seed: 3, stream: 0)
    for bound in [1, 2, 3, 1 << 62, .max] {
      for _ in 0..<100 { #expect((0..<bound).contains(generator.next(below: bound))) }
    }
  }
}
