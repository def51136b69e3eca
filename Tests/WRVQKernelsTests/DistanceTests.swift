import CWRVQKernels
import Foundation
import TestSupport
import Testing

@Suite struct DistanceTests {
  /// Two vectors whose last `n` elements end at a guarded page; `slack` elements before it.
  private struct Pair {
    let a: GuardedBuffer<Float>, b: GuardedBuffer<Float>

    init(_ a: [Float], _ b: [Float]) {
      self.a = GuardedBuffer(a)
      self.b = GuardedBuffer(b)
    }

    init(_ n: Int, times factor: Float = 1, seed: UInt64) {
      var numbers = TestNumbers(seed: seed)
      self.init(numbers.normals(n, times: factor), numbers.normals(n, times: factor))
    }

    /// The `n` elements that end `slack` before the guard.
    func elements(_ n: Int, slack: Int = 0) -> ([Float], [Float]) {
      (Array(a.elements.dropLast(slack).suffix(n)), Array(b.elements.dropLast(slack).suffix(n)))
    }

    /// All three distances of those elements against double precision.
    func expectDistances(
      _ kernels: wrvq_kernels, _ n: Int, slack: Int = 0,
      at location: SourceLocation = #_sourceLocation
    ) {
      let (x, y) = elements(n, slack: slack)
      let p = a.suffix(n + slack), q = b.suffix(n + slack)
      let l2 = KernelReference.l2Distance(x, y)
      #expect(
        abs(kernels.l2_distance(p, q, n) - l2) <= 1e-5 * l2, "l2, n = \(n)",
        sourceLocation: location)
      #expect(
        abs(kernels.inner_product(p, q, n) - KernelReference.innerProduct(x, y))
          <= 1e-5 * KernelReference.magnitude(x, y), "ip, n = \(n)", sourceLocation: location)
      #expect(
        abs(kernels.cosine_distance(p, q, n) - KernelReference.cosineDistance(x, y)) <= 1e-6,
        "cosine, n = \(n)", sourceLocation: location)
      withExtendedLifetime(self) {}
    }
  }

  @Test(arguments: KernelLevel.available)
  func distancesAreRightAtEveryTailAndAlignment(_ level: KernelLevel) {
    let kernels = level.kernels, pair = Pair(1008, seed: 1)
    for n in tailLengths {
      for slack in [0, 1, 5, 8] { pair.expectDistances(kernels, n, slack: slack) }
    }
  }

  @Test(
    arguments: KernelLevel.available,
    [1e-44, 1e-38, 1e-30, 1e-23, 1e-22, 1e-21, 1e-19, 1e-10, 1, 1e10, 1e18, 1e30, 1e37] as [Double])
  func distancesAreRightAtAnyMagnitude(_ level: KernelLevel, _ magnitude: Double) {
    let kernels = level.kernels, pair = Pair(16_000, times: Float(magnitude), seed: 2)
    for n in [1, 2, 9, 100, 384, 16_000] { pair.expectDistances(kernels, n) }
  }

  @Test(arguments: KernelLevel.available)
  func distancesAreRightOfVectorsWithAFewDominantElements(_ level: KernelLevel) {
    var numbers = TestNumbers(seed: 3)
    for (large, small) in [(1e19, 1e-19), (1e30, 1), (3e38, 1e-38), (1, 1e-22)] as [(Float, Float)]
    {
      var a = numbers.normals(1000, times: small), b = numbers.normals(1000, times: small)
      for i in [0, 255, 256, 999] {
        a[i] = large
        b[i] = -large
      }
      Pair(a, b).expectDistances(level.kernels, 1000)
      for i in [0, 256] { b[i] = large }  // their products now cancel
      Pair(a, b).expectDistances(level.kernels, 1000)
    }
  }

  /// Errors of one sign add up where those of random numbers do not.
  @Test(arguments: KernelLevel.available)
  func distancesAreRightOfNearlyEqualElements(_ level: KernelLevel) {
    for value: Float in [0.1, 0.3, 1.7, 123.456] {
      let a = [Float](repeating: value, count: 16_000)
      let b = a.indices.map { value * (1 + 0.01 * sin(Float($0))) }
      let pair = Pair(a, b)
      for n in [15, 31, 63, 255, 256, 511, 16_000] { pair.expectDistances(level.kernels, n) }
    }
  }

  @Test(arguments: KernelLevel.available)
  func distancesFarFromTheOriginKeepTheirPrecision(_ level: KernelLevel) {
    var numbers = TestNumbers(seed: 4)
    let a = numbers.normals(1000).map { $0 + 1000 }, b = numbers.normals(1000).map { $0 + 1000 }
    Pair(a, b).expectDistances(level.kernels, 1000)
  }

  @Test(arguments: KernelLevel.available)
  func theDistanceToItselfIsZero(_ level: KernelLevel) {
    let kernels = level.kernels
    for magnitude: Float in [1e-40 as Double, 1e-30, 1e-10, 0.3, 1, 7, 1e10, 1e30].map(Float.init) {
      let pair = Pair(1000, times: magnitude, seed: UInt64(magnitude.bitPattern))
      for n in tailLengths {
        let a = pair.a.suffix(n)
        #expect(kernels.l2_distance(a, a, n) == 0)
        #expect(kernels.cosine_distance(a, a, n) == 0, "n = \(n), \(magnitude)")
      }
    }
  }

  @Test(arguments: KernelLevel.available)
  func theCosineDistanceIsBetweenZeroAndTwo(_ level: KernelLevel) {
    let kernels = level.kernels
    for n in tailLengths {
      var numbers = TestNumbers(seed: UInt64(n))
      let a = numbers.normals(n), factor = numbers.uniform() + 1.5
      let parallel = kernels.cosine_distance(a, a.map { $0 * factor }, n)
      #expect(parallel >= 0 && parallel < 1e-6)
      let opposite = kernels.cosine_distance(a, a.map { -$0 * factor }, n)
      #expect(opposite <= 2 && opposite > 2 - 1e-6)
      #expect(kernels.cosine_distance(a, a.map { -$0 }, n) == 2)
    }
  }

  @Test(arguments: KernelLevel.available)
  func aZeroVectorHasNoCosine(_ level: KernelLevel) {
    let kernels = level.kernels
    for n in [1, 7, 8, 33, 384] {
      let zero = [Float](repeating: 0, count: n), one = [Float](repeating: 1, count: n)
      #expect(kernels.cosine_distance(zero, one, n).isNaN)
      #expect(kernels.cosine_distance(one, zero, n).isNaN)
      #expect(kernels.cosine_distance(zero, zero, n).isNaN)
      #expect(kernels.inner_product(zero, one, n) == 0)
      #expect(kernels.l2_distance(zero, one, n) == Double(n).squareRoot())
    }
  }

  @Test(arguments: KernelLevel.available)
  func notANumberIsContagious(_ level: KernelLevel) {
    let kernels = level.kernels
    for n in [1, 8, 33, 300] {
      for at in [0, n / 2, n - 1] {
        let a = [Float](repeating: 1, count: n)
        var b = a
        b[at] = .nan
        #expect(kernels.l2_distance(a, b, n).isNaN)
        #expect(kernels.inner_product(a, b, n).isNaN)
        #expect(kernels.cosine_distance(a, b, n).isNaN)
      }
    }
  }

  @Test(arguments: KernelLevel.available)
  func theFirstNumberThatIsNotFiniteIsFound(_ level: KernelLevel) {
    let kernels = level.kernels
    for n in tailLengths {
      let buffer = GuardedBuffer([Float](repeating: -.greatestFiniteMagnitude, count: n))
      #expect(kernels.first_not_finite(buffer.pointer, n) == -1)
      for at in Set([0, n / 3, n / 2, n - 1]) {
        for value in [Float.nan, .signalingNaN, .infinity, -.infinity] {
          buffer[at] = value
          buffer[n - 1] = .nan
          #expect(kernels.first_not_finite(buffer.pointer, n) == at)
          buffer[n - 1] = 0
          buffer[at] = 0
        }
      }
    }
  }
}
