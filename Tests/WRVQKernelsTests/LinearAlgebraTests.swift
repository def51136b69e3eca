import CWRVQKernels
import TestSupport
import Testing

/// Packed codewords and rows for them, guarded.
private struct Batch {
  let n: Int, d: Int, s: Int
  let x: GuardedBuffer<Float>, codewords: [Float], packed: GuardedBuffer<Float>
  var width: Int { (s + 15) / 16 * 16 }

  init(_ kernels: wrvq_kernels, n: Int, d: Int, s: Int, seed: UInt64 = 1) {
    var numbers = TestNumbers(seed: seed)
    self.n = n
    self.d = d
    self.s = s
    x = GuardedBuffer(numbers.normals(n * d))
    codewords = numbers.normals(s * d)
    packed = GuardedBuffer(count: (s + 15) / 16 * 16 * d)
    let rows = GuardedBuffer(codewords)
    kernels.pack(rows.pointer, s, d, packed.pointer)
  }

  func row(_ r: Int) -> [Float] { (0..<d).map { x[r * d + $0] } }
  func codeword(_ c: Int) -> [Float] { Array(codewords[c * d..<(c + 1) * d]) }

  func innerProducts(_ kernels: wrvq_kernels) -> [Float] {
    let products = GuardedBuffer<Float>(count: n * width)
    kernels.inner_products(x.pointer, n, d, packed.pointer, s, products.pointer)
    return products.elements
  }

  func assign(_ kernels: wrvq_kernels, _ halfNorms: [Float]) -> ([UInt32], [Float]) {
    let padded = halfNorms + Array(repeating: .infinity, count: width - s)
    let norms = GuardedBuffer(padded), scratch = GuardedBuffer<Float>(count: 32 * n)
    let codes = GuardedBuffer<UInt32>(count: n), scores = GuardedBuffer<Float>(count: n)
    kernels.assign(
      x.pointer, n, d, packed.pointer, norms.pointer, s, scratch.pointer, codes.pointer,
      scores.pointer)
    return (codes.elements, scores.elements)
  }
}

@Suite struct LinearAlgebraTests {
  private static let sizes: [(n: Int, d: Int, s: Int)] = [
    (1, 1, 1), (1, 7, 16), (2, 33, 17), (5, 8, 15), (6, 12, 31), (7, 3, 32), (12, 20, 33),
    (13, 64, 48), (23, 40, 100),
  ]

  @Test(arguments: KernelLevel.available)
  func packingTransposesPanelsOfSixteen(_ level: KernelLevel) {
    for (n, d, s) in Self.sizes {
      let batch = Batch(level.kernels, n: n, d: d, s: s)
      for c in 0..<batch.width {
        for i in 0..<d {
          let expected = c < s ? batch.codewords[c * d + i] : 0
          #expect(batch.packed[(c / 16 * d + i) * 16 + c % 16] == expected)
        }
      }
    }
  }

  @Test(arguments: KernelLevel.available)
  func productsAreInnerProducts(_ level: KernelLevel) {
    for (n, d, s) in Self.sizes {
      let batch = Batch(level.kernels, n: n, d: d, s: s)
      let products = batch.innerProducts(level.kernels)
      for r in 0..<n {
        for c in 0..<s {
          let expected = KernelReference.innerProduct(batch.row(r), batch.codeword(c))
          let slack = 1e-6 * KernelReference.magnitude(batch.row(r), batch.codeword(c)) + 1e-12
          #expect(abs(Double(products[r * batch.width + c]) - expected) <= slack)
        }
        for c in s..<batch.width { #expect(products[r * batch.width + c] == 0) }
      }
    }
  }

  @Test(arguments: KernelLevel.available)
  func aRowsProductsDoNotDependOnItsBatch(_ level: KernelLevel) {
    let kernels = level.kernels, d = 37, s = 50
    let whole = Batch(kernels, n: 23, d: d, s: s)
    let products = whole.innerProducts(kernels), width = whole.width
    for n in 1...22 {
      let x = GuardedBuffer(Array(whole.x.elements.suffix(n * d)))
      let output = GuardedBuffer<Float>(count: n * width)
      kernels.inner_products(x.pointer, n, d, whole.packed.pointer, s, output.pointer)
      #expect(output.elements == products.suffix(n * width), "batch of \(n)")
    }
  }

  @Test(arguments: KernelLevel.available)
  func assignmentFindsTheNearestCodeword(_ level: KernelLevel) {
    for (n, d, s) in Self.sizes {
      let batch = Batch(level.kernels, n: n, d: d, s: s)
      let halfNorms = (0..<s).map {
        Float(KernelReference.innerProduct(batch.codeword($0), batch.codeword($0)) / 2)
      }
      let (codes, scores) = batch.assign(level.kernels, halfNorms)
      for r in 0..<n {
        let distances = (0..<s).map { KernelReference.l2Distance(batch.row(r), batch.codeword($0)) }
        let best = distances.min()!, chosen = Int(codes[r])
        #expect(distances[chosen] <= best * (1 + 1e-6) + 1e-6)
        let score =
          KernelReference.innerProduct(batch.row(r), batch.codeword(chosen))
          - Double(halfNorms[chosen])
        #expect(abs(Double(scores[r]) - score) <= 1e-5 * (abs(score) + 10))
      }
    }
  }

  /// Exact in integers, so that equal scores are equal.
  @Test(arguments: KernelLevel.available)
  func theLowerNumberWinsTies(_ level: KernelLevel) {
    let kernels = level.kernels, d = 3
    var numbers = TestNumbers(seed: 5)
    for s in [2, 15, 16, 17, 40, 64] {
      let rows = (0..<s * d).map { _ in Float(numbers.below(3)) }
      let x = (0..<19 * d).map { _ in Float(numbers.below(3)) }
      let input = GuardedBuffer(x), codewords = GuardedBuffer(rows)
      let width = (s + 15) / 16 * 16
      let packed = GuardedBuffer<Float>(count: width * d)
      kernels.pack(codewords.pointer, s, d, packed.pointer)
      let norms = GuardedBuffer(
        [Float](repeating: 0, count: s) + [Float](repeating: .infinity, count: width - s))
      let scratch = GuardedBuffer<Float>(count: 32 * 19)
      let codes = GuardedBuffer<UInt32>(count: 19), scores = GuardedBuffer<Float>(count: 19)
      kernels.assign(
        input.pointer, 19, d, packed.pointer, norms.pointer, s, scratch.pointer, codes.pointer,
        scores.pointer)
      for r in 0..<19 {
        let products = (0..<s).map { c in
          (0..<d).reduce(Float(0)) { $0 + x[r * d + $1] * rows[c * d + $1] }
        }
        #expect(Int(codes[r]) == products.firstIndex(of: products.max()!))
        #expect(scores[r] == products.max())
      }
    }
  }

  @Test(arguments: KernelLevel.available)
  func paddingIsNeverAssigned(_ level: KernelLevel) {
    let batch = Batch(level.kernels, n: 9, d: 5, s: 17)
    // Every real codeword is worse than the padding's product of zero.
    let (codes, _) = batch.assign(level.kernels, [Float](repeating: 1000, count: 17))
    #expect(codes.allSatisfy { $0 < 17 })
  }
}
