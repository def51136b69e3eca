import CWRVQKernels
import TestSupport
import Testing

private let one = WRVQ_WEIGHT_ONE, projection = WRVQ_WEIGHT_PROJECTION

@Suite struct SymmetricEigenTests {
  private static func train(
    _ kernels: KernelLevel, _ sample: [Float], _ d: Int, block: Int
  ) -> TrainedSample {
    TrainedSample(
      kernels, sample, dimensions: d, block: block,
      levels: [.flat(1, one), .product(pieces: (d + 3) / 4, dimensions: 4, projection)],
      iterations: 1)
  }

  @Test(
    arguments: KernelLevel.available,
    [(1, 1), (2, 2), (3, 3), (5, 5), (7, 7), (16, 16), (17, 17), (34, 34), (20, 8), (9, 2), (6, 1)])
  func axesAreOrthogonal(_ kernels: KernelLevel, _ sizes: (Int, Int)) {
    let (d, block) = sizes
    let trained = Self.train(kernels, SeededVectors.clustered(80, d), d, block: block)
    let transform = trained.denseTransform
    for i in 0..<d {
      for j in 0...i {
        let product = dot(
          Array(transform[i * d..<(i + 1) * d]), Array(transform[j * d..<(j + 1) * d]))
        #expect(abs(product - (i == j ? 1 : 0)) < 2e-3, "rows \(i) and \(j)")
      }
    }
  }

  @Test(arguments: KernelLevel.available, [2, 3, 8, 19, 33])
  func axesDiagonaliseTheCovariance(_ kernels: KernelLevel, _ d: Int) {
    let deviations = (0..<d).map { 1 / Float($0 + 1) }
    let sample = SeededVectors.spectrum(90, deviations: deviations)
    let trained = Self.train(kernels, sample, d, block: d)
    let rotated = trained.unitResiduals(after: 1).map {
      Reference.transformed($0, trained.denseTransform)
    }
    let covariance = Reference.covariance(rotated)
    let trace = (0..<d).reduce(0) { $0 + covariance[$1][$1] }
    for i in 0..<d {
      for j in 0..<i { #expect(abs(covariance[i][j]) < 1e-3 * trace, "\(i), \(j)") }
    }
  }

  @Test(arguments: KernelLevel.available)
  func equalVariancesKeepTheAxesOrthogonal(_ kernels: KernelLevel) {
    // Plus and minus each unit vector: the covariance is a multiple of the identity.
    let d = 12
    let sample = (0..<2 * d).flatMap { i -> [Float] in
      let sign: Float = i % 2 == 0 ? 1 : -1
      return (0..<d).map { $0 == i / 2 ? sign : 0 }
    }
    let transform = Self.train(kernels, sample, d, block: d).denseTransform
    for i in 0..<d {
      #expect(abs(length(Array(transform[i * d..<(i + 1) * d])) - 1) < 2e-3)
    }
  }
}
