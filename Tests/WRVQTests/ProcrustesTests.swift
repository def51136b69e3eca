import TestSupport
import Testing

@testable import WRVQ

@Suite struct ProcrustesTests {
  private static let kernels = Kernels.best.table

  /// An orthogonal matrix: products of plane rotations.
  private static func rotation(_ d: Int, seed: UInt64) -> [Float] {
    var numbers = TestNumbers(seed: seed)
    var matrix = (0..<d * d).map { Double($0 / d == $0 % d ? 1 : 0) }
    for k in 0..<4 * d {
      let i = k % d, j = (i + 1 + k / d) % d
      if i == j { continue }
      let angle = Double(numbers.uniform())
      let c = (1 - angle * angle) / (1 + angle * angle), s = 2 * angle / (1 + angle * angle)
      for column in 0..<d {
        let (a, b) = (matrix[i * d + column], matrix[j * d + column])
        (matrix[i * d + column], matrix[j * d + column]) = (c * a - s * b, s * a + c * b)
      }
    }
    return matrix.map(Float.init)
  }

  private static func product(_ a: [Float], _ b: [Float], _ d: Int) -> [Float] {
    (0..<d * d).map { index in
      Float(
        (0..<d).reduce(0.0) { $0 + Double(a[index / d * d + $1]) * Double(b[$1 * d + index % d]) })
    }
  }

  @Test(arguments: [1, 2, 5, 17, 40]) func theOrthogonalFactorIsFound(d: Int) {
    let expected = Self.rotation(d, seed: 3)
    // A symmetric matrix of wide spectrum: S = Qᵀ·diag·Q.
    let q = Self.rotation(d, seed: 4)
    let scaled = (0..<d * d).map { q[$0] * (0.01 + Float($0 / d) * Float($0 / d)) }
    let qt = (0..<d * d).map { q[$0 % d * d + $0 / d] }
    let moments = Self.product(expected, Self.product(qt, scaled, d), d)
    let found = nearestRotation(
      to: moments, startingFrom: Self.rotation(d, seed: 3), dimensions: d, threads: 2, Self.kernels)
    #expect(zip(found, expected).allSatisfy { abs($0 - $1) < 2e-3 })
    let transposed = (0..<d * d).map { found[$0 % d * d + $0 / d] }
    let identity = Self.product(found, transposed, d)
    #expect((0..<d * d).allSatisfy { abs(identity[$0] - ($0 / d == $0 % d ? 1 : 0)) < 1e-4 })
  }

  @Test func withoutDataTheStartStays() {
    let start = Self.rotation(6, seed: 1)
    let found = nearestRotation(
      to: [Float](repeating: 0, count: 36), startingFrom: start, dimensions: 6, threads: 1,
      Self.kernels)
    #expect(found == start)
  }

  @Test(arguments: [1, 511, 513, 1300]) func momentsAreThoseOfTheTwin(n: Int) {
    let d = 3, a = SeededVectors.clustered(n, d), b = SeededVectors.clustered(n, d, seed: 2)
    let found = crossMoments(a, b, dimensions: d, threads: 2, Self.kernels)
    for i in 0..<d {
      for j in 0..<d {
        let expected = (0..<n).reduce(0.0) { $0 + Double(a[$1 * d + i]) * Double(b[$1 * d + j]) }
        #expect(abs(Double(found[i * d + j]) - expected / Double(n)) < 1e-4)
      }
    }
  }
}
