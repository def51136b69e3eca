import Testing

@testable import PostgresClient

@Suite struct ReservoirTests {
  private func choose(_ capacity: Int, of count: Int, seed: UInt64) -> [Int] {
    var reservoir = Reservoir(capacity: capacity, seed: seed)
    var chosen: [Int] = []
    for item in 0..<count {
      guard let place = reservoir.place() else { continue }
      if place == chosen.count { chosen.append(item) } else { chosen[place] = item }
    }
    return chosen
  }

  @Test func fewItemsAreAllKeptInOrder() {
    #expect(choose(5, of: 3, seed: 1) == [0, 1, 2])
    #expect(choose(5, of: 5, seed: 1) == [0, 1, 2, 3, 4])
  }

  @Test func theSeedDecides() {
    #expect(choose(10, of: 1000, seed: 7) == choose(10, of: 1000, seed: 7))
    #expect(choose(10, of: 1000, seed: 7) != choose(10, of: 1000, seed: 8))
  }

  @Test func everyItemIsChosenAlikeOften() {
    var counts = [Int](repeating: 0, count: 20)
    for seed in 0..<10_000 {
      for item in choose(5, of: 20, seed: UInt64(seed)) { counts[item] += 1 }
    }
    // 2,500 expected, with a standard deviation of 43.
    for count in counts { #expect(abs(count - 2500) < 260) }
  }
}
