import CWRVQKernels
import TestSupport
import Testing

@testable import WRVQ

@Suite struct MatrixTests {
  private static func random(_ size: Int, seed: UInt64 = 1) -> Matrix {
    var numbers = TestNumbers(seed: seed)
    return Matrix(size: size, values: numbers.normals(size * size))
  }

  private static func product(_ a: Matrix, _ b: Matrix) -> [Double] {
    let n = a.size
    return (0..<n * n).map { k in
      (0..<n).reduce(0.0) {
        $0 + Double(a.values[k / n * n + $1]) * Double(b.values[$1 * n + k % n])
      }
    }
  }

  @Test(arguments: [1, 2, 7, 16, 33]) func productsAreThoseOfRows(size: Int) {
    let a = Self.random(size), b = Self.random(size, seed: 2)
    for kernels in Kernels.supported {
      let found = a.timesTransposed(b, kernels.table).values
      for (x, y) in zip(found, Self.product(a, b.transposed)) {
        #expect(abs(Double(x) - y) < 1e-4)
      }
    }
  }

  /// `M = U·S` with U orthogonal and S symmetric: that is the polar decomposition, and U the
  /// nearest orthogonal matrix, if S is positive as well, as its trace then beats any other's.
  @Test(arguments: [1, 2, 5, 16, 40]) func theNearestOrthogonalMatrixIsFound(size: Int) throws {
    let m = Self.random(size)
    let u = try #require(m.orthogonalized(Kernels.best.table))
    let identity = Self.product(u, u.transposed)
    let s = Self.product(u.transposed, m)
    for i in 0..<size {
      for j in 0..<size {
        #expect(abs(identity[i * size + j] - (i == j ? 1 : 0)) < 1e-3)
        #expect(abs(s[i * size + j] - s[j * size + i]) < 0.02)
      }
    }
    var numbers = TestNumbers(seed: 9)
    for _ in 0..<20 {
      let x = numbers.normals(size).map(Double.init)
      let sx = (0..<size).map { i in dot(Array(s[i * size..<(i + 1) * size]), x) }
      #expect(dot(x, sx) > -1e-2)
    }
  }

  @Test func whatIsOrthogonalStays() throws {
    var numbers = TestNumbers(seed: 3)
    let rotation = Matrix(size: 12, values: EncoderSample.rotation(12, &numbers))
    let found = try #require(rotation.orthogonalized(Kernels.best.table))
    #expect(zip(found.values, rotation.values).allSatisfy { abs($0 - $1) < 1e-3 })
  }

  @Test func singularMatricesAreRefused() {
    let kernels = Kernels.best.table
    #expect(Matrix(zero: 5).orthogonalized(kernels) == nil)
    #expect(
      Matrix(size: 2, values: [1, 2, 2, 4]).orthogonalized(kernels) == nil)
    #expect(Matrix(size: 2, values: [1, .nan, 2, 4]).orthogonalized(kernels) == nil)
  }
}
