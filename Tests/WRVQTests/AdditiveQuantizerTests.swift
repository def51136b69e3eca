import TestSupport
import Testing

@testable import WRVQ

@Suite struct AdditiveQuantizerTests {
  private static let kernels = Kernels.best.table

  private static func sets(_ counts: [Int], _ d: Int, seed: UInt64 = 5) -> [CodewordSet] {
    var numbers = TestNumbers(seed: seed)
    return counts.map { CodewordSet(numbers.normals($0 * d), dimensions: d, kernels: kernels) }
  }

  /// Squared length of what codes leave of a row.
  private static func rest(
    _ row: ArraySlice<Float>, _ codes: [Int], _ sets: [CodewordSet]
  ) -> Double {
    var rest = row.map(Double.init)
    for (set, code) in zip(sets, codes) { rest = Twin.differences(rest, set)[code] }
    return dot(rest, rest)
  }

  @Test(arguments: [[4, 5, 3], [17, 2], [6]])
  func theSearchFindsTheBestOfAll(counts: [Int]) {
    let d = 6, sets = Self.sets(counts, d), rows = SeededVectors.clustered(60, d)
    let search = AdditiveSearch(sets, kernels: Self.kernels)
    let codes = search.codes(
      of: rows, startingFrom: nil, .init(trials: 64, disturbed: 2), seed: 3, threads: 2)
    let combinations = counts.reduce([[Int]]([[]])) { lists, count in
      lists.flatMap { list in (0..<count).map { list + [$0] } }
    }
    for row in 0..<60 {
      let x = rows[row * d..<(row + 1) * d]
      let least = combinations.map { Self.rest(x, $0, sets) }.min()!
      let found = codes.values[row * counts.count..<(row + 1) * counts.count].map(Int.init)
      #expect(abs(Self.rest(x, found, sets) - least) < 1e-4, "row \(row)")
    }
  }

  @Test func moreTrialsNeverLoseMore() {
    let d = 8, sets = Self.sets([9, 9, 9, 9], d), rows = SeededVectors.clustered(80, d)
    let search = AdditiveSearch(sets, kernels: Self.kernels)
    var before = [Double](repeating: .infinity, count: 80)
    for trials in [0, 2, 8] {
      let codes = search.codes(
        of: rows, startingFrom: nil, .init(trials: trials), seed: 3, threads: 1)
      let rests = (0..<80).map { row in
        Self.rest(
          rows[row * d..<(row + 1) * d], codes.values[row * 4..<row * 4 + 4].map(Int.init), sets)
      }
      #expect(zip(rests, before).allSatisfy { $0 <= $1 + 1e-4 })
      before = rests
    }
  }

  @Test func codewordsSolveTheNormalEquations() throws {
    let d = 5, n = 400, rows = SeededVectors.clustered(n, d)
    let sets = Self.sets([6, 7, 3], d)
    let codes = AdditiveSearch(sets, kernels: Self.kernels).codes(
      of: rows, startingFrom: nil, .init(trials: 2), seed: 1, threads: 1)
    let fit = AdditiveFit(rows: rows, dimensions: d, threads: 3, kernels: Self.kernels)
    let fitted = try fit.codewords(sets, for: codes)
    let sums = try fitted.sums(of: codes, leading: 3, threads: 1)
    for (index, set) in fitted.enumerated() {
      for code in 0..<set.count {
        let members = (0..<n).filter { codes.values[$0 * 3 + index] == code }
        for k in 0..<d {
          // The rows of a codeword leave nothing on average, but for the ridge's pull.
          let change = Double(set.rows[code * d + k] - sets[index].rows[code * d + k])
          let rest = members.reduce(0.0) {
            $0 + Double(rows[$1 * d + k]) - Double(sums[$1 * d + k])
          }
          #expect(abs(rest - 0.01 * change) < 1e-2, "set \(index), code \(code)")
        }
      }
    }
  }

  @Test func sumsAreFoundAgain() throws {
    // Rows that are sums of a codeword from each of two sets, which overlap in all dimensions.
    let d = 8, hidden = Self.sets([3, 3], d, seed: 9)
    var rows: [Float] = []
    for i in 0..<180 {
      rows += (0..<d).map { hidden[0].rows[i % 3 * d + $0] + hidden[1].rows[i / 3 % 3 * d + $0] }
    }
    let quantizer = try AdditiveQuantizer(
      training: rows, dimensions: d, BaselineConfiguration(codewordCounts: [3, 3], threads: 1))
    let decoded = try quantizer.decode(quantizer.encode(rows), levels: 1)
    #expect(zip(rows, decoded).allSatisfy { abs($0 - $1) < 1e-2 })
  }
}
