import CWRVQKernels
import TestSupport
import Testing
import WRVQ

@Suite struct WeightGridTests {
  private static func grid(_ weights: [Float], _ count: Int, _ level: KernelLevel) -> [Float] {
    let input = GuardedBuffer(weights), bins = GuardedBuffer<UInt32>(count: 65536).spoil()
    let grid = GuardedBuffer<Float>(count: count).spoil()
    Kernels(level).training.fit_weights(
      input.pointer, weights.count, Int32(count), bins.pointer, grid.pointer)
    return grid.elements
  }

  /// The mean squared error of rounding, relative to the mean square.
  private static func error(_ weights: [Float], _ grid: [Float]) -> Double {
    var error = 0.0, square = 0.0
    for weight in weights {
      let least = grid.map { abs(Double($0) - Double(weight)) }.min()!
      (error, square) = (error + least * least, square + Double(weight) * Double(weight))
    }
    return error / square
  }

  /// Powers of two with normal exponents: of few rows most of the energy is in a thin tail.
  private static func lognormal(_ count: Int, seed: UInt64) -> [Float] {
    var numbers = TestNumbers(seed: seed)
    return (0..<count).map { _ in
      // Compound growth, because libraries' exponentials differ in the last digit.
      let x = numbers.normal()
      return (0..<64).reduce(Float(0.6)) { value, _ in value * (1 + x / 128) }
    }
  }

  /// A third more, or so, than the least that values for this distribution can cost.
  @Test(arguments: KernelLevel.available, [(256, 2e-5), (16, 4e-3), (8, 0.014), (4, 0.045)])
  func wideDistributionsAreMet(_ level: KernelLevel, _ promise: (count: Int, error: Double)) {
    let weights = Self.lognormal(12_000, seed: 1), others = Self.lognormal(12_000, seed: 2)
    let grid = Self.grid(weights, promise.count, level)
    #expect(grid == grid.sorted() && grid.allSatisfy { Float(Float16($0)) == $0 })
    #expect(Self.error(weights, grid) < promise.error)
    #expect(Self.error(others, grid) < 1.5 * promise.error)
  }

  @Test(arguments: KernelLevel.available)
  func manyValuesReachAboveTheGreatestWeight(_ level: KernelLevel) {
    let weights = Self.lognormal(500, seed: 3), greatest = weights.max()!
    let above = Self.grid(weights, 256, level).filter { $0 > 1.01 * greatest }
    #expect(above.count == 16 && above.last! > 3 * greatest)
    #expect(Self.grid(weights, 16, level).last! <= 1.01 * greatest)
  }

  @Test(arguments: KernelLevel.available, [2, 4, 8, 16, 256])
  func theValuesThatThereAreAreFound(_ level: KernelLevel, _ count: Int) {
    let values: [Float] = [-1, -0.25, 0, 0.5, 0.75, 3, 3.5, 100]
    for distinct in 1...min(count, values.count) {
      let weights = (0..<10 * distinct).map { values[$0 % distinct] }
      let grid = Self.grid(weights, count, level)
      #expect(grid == grid.sorted())
      #expect(weights.allSatisfy(grid.contains), "\(distinct) values in \(count)")
    }
  }

  @Test(arguments: KernelLevel.available)
  func extremesStayFinite(_ level: KernelLevel) {
    for weights in [
      [65504, 1, 2], [1e9, 1e9], [-65504, 65504], [0], [Float](repeating: -1, count: 9), [1e-8],
    ] as [[Float]] {
      for count in [4, 256] {
        let grid = Self.grid(weights, count, level)
        #expect(grid.allSatisfy(\.isFinite) && grid == grid.sorted())
      }
    }
  }
}
