import CWRVQKernels
import TestSupport
import Testing

/// Against element-by-element arithmetic in Swift, at every tail, next to guarded memory.
@Suite struct ArithmeticTests {
  @Test(arguments: KernelLevel.available)
  func elementsAreCombinedOneByOne(_ level: KernelLevel) {
    let kernels = level.kernels
    var numbers = TestNumbers(seed: 11)
    for n in tailLengths {
      let x = numbers.normals(n, times: 3), y = numbers.normals(n, times: 2)
      let a = GuardedBuffer(x), b = GuardedBuffer(y),
        out = GuardedBuffer([Float](repeating: 0, count: n))
      kernels.add_scaled(a.pointer, b.pointer, 1, out.pointer, n)
      #expect(out.elements == zip(x, y).map { $0 + $1 }, "sum, n = \(n)")
      kernels.add_scaled(a.pointer, b.pointer, -1, out.pointer, n)
      #expect(out.elements == zip(x, y).map { $0 - $1 }, "difference, n = \(n)")
      kernels.multiply(a.pointer, b.pointer, out.pointer, n)
      #expect(out.elements == zip(x, y).map { $0 * $1 }, "products, n = \(n)")
      kernels.divide(a.pointer, 1e-40, out.pointer, n)
      #expect(out.elements == x.map { Float(Double($0) / 1e-40) }, "quotients, n = \(n)")
    }
  }

  @Test(arguments: KernelLevel.available)
  func sumsKeepDoublePrecision(_ level: KernelLevel) {
    let kernels = level.kernels
    var numbers = TestNumbers(seed: 12)
    for n in tailLengths {
      let x = numbers.normals(n, times: 1)
      let a = GuardedBuffer(x), sums = GuardedBuffer([Double](repeating: 1e9, count: n))
      let out = GuardedBuffer([Float](repeating: 0, count: n))
      kernels.add_to_sums(sums.pointer, a.pointer, n)
      #expect(sums.elements == x.map { 1e9 + Double($0) }, "n = \(n)")
      let others = GuardedBuffer(sums.elements)
      kernels.add_sums(sums.pointer, others.pointer, n)
      #expect(sums.elements == x.map { 2 * (1e9 + Double($0)) }, "n = \(n)")
      kernels.divide_sums(sums.pointer, 2e9, out.pointer, n)
      #expect(out.elements == sums.elements.map { Float($0 / 2e9) }, "n = \(n)")
    }
  }
}
