import CWRVQKernels
import TestSupport
import Testing

private let one = WRVQ_WEIGHT_ONE, norm = WRVQ_WEIGHT_NORM, projection = WRVQ_WEIGHT_PROJECTION

@Suite struct KMeansTests {
  @Test(arguments: KernelLevel.available)
  func oneCodewordIsTheMean(_ kernels: KernelLevel) {
    let sample: [Float] = [1, 2, 3, 6, 5, 4, 2, 2, -1]
    let trained = TrainedSample(kernels, sample, dimensions: 3, levels: [.flat(1, one)])
    #expect(trained.codewords[0] == [3, 3, 2])
    #expect(abs(trained.losses[0] - (6 + 17 + 11) / 3) < 1e-5)
  }

  @Test(arguments: KernelLevel.available, [UInt64(1), 2, 3, 4, 5])
  func everyDistinctRowOfASkewedSampleGetsItsCodeword(_ kernels: KernelLevel, _ seed: UInt64) {
    // Most rows are equal: most of the first codewords are duplicates and must be moved.
    let sample = (0..<400).flatMap { i -> [Float] in i < 393 ? [0, 0] : [Float(i - 390), 1] }
    let trained = TrainedSample(
      kernels, sample, dimensions: 2, levels: [.flat(8, one)], iterations: 25, seed: seed)
    #expect(trained.losses[0] < 1e-6)
  }

  @Test(arguments: KernelLevel.available)
  func aConvergedCodewordIsTheMeanOfItsRows(_ kernels: KernelLevel) {
    let d = 5, sample = SeededVectors.clustered(120, d)
    let trained = TrainedSample(
      kernels, sample, dimensions: d, levels: [.flat(6, one)], iterations: 60)
    var sums = [[Double]](repeating: [0, 0, 0, 0, 0], count: 6),
      counts = [Double](repeating: 0, count: 6)
    for start in stride(from: 0, to: sample.count, by: d) {
      let x = sample[start..<start + d].map(Double.init)
      let nearest = (0..<6).min {
        length(sum(x, -1, trained.codeword(0, $0))) < length(sum(x, -1, trained.codeword(0, $1)))
      }!
      sums[nearest] = sum(sums[nearest], 1, x)
      counts[nearest] += 1
    }
    for code in 0..<6 where counts[code] > 0 {
      for (total, value) in zip(sums[code], trained.codeword(0, code)) {
        #expect(abs(total / counts[code] - value) < 2e-3)
      }
    }
  }

  @Test(arguments: KernelLevel.available)
  func directionsHaveUnitLength(_ kernels: KernelLevel) {
    let trained = TrainedSample(
      kernels, SeededVectors.clustered(150, 11), dimensions: 11,
      levels: [.flat(4, one), .flat(20, projection)])
    for code in 0..<20 { #expect(abs(length(trained.codeword(1, code)) - 1) < 1e-3) }
  }

  @Test(arguments: KernelLevel.available)
  func directionsAreThoseOfTheData(_ kernels: KernelLevel) {
    // Four directions of differing lengths around the origin, which level 0 must keep.
    let sample = (0..<64).flatMap { i -> [Float] in
      let length = 1 + Float(i / 4 % 4), sign: Float = i % 4 < 2 ? 1 : -1
      return i % 2 == 0 ? [sign * length, 0] : [0, sign * length]
    }
    let trained = TrainedSample(
      kernels, sample, dimensions: 2, levels: [.flat(1, one), .flat(4, projection)], iterations: 20)
    #expect(trained.losses[1] < 1e-5, "\(trained.codewords)")
  }

  @Test(arguments: KernelLevel.available)
  func manyCodewordsAreTrainedAsATree(_ kernels: KernelLevel) {
    let rows = 4400, count = 4200
    var numbers = TestNumbers(seed: 5)
    let sample = numbers.normals(rows * 2)
    let levels: [SampleShape.Level] = [.flat(count, one)]
    let trained = TrainedSample(kernels, sample, dimensions: 2, levels: levels, iterations: 1)
    // Nearly a codeword a row: next to nothing is left of a variance of 2.
    #expect(trained.losses[0] < 2e-3)
    #expect(trained.values.allSatisfy { $0.isFinite })
    let again = TrainedSample(
      kernels, sample, dimensions: 2, levels: levels, iterations: 1, order: .concurrent)
    #expect(again.values == trained.values && again.losses == trained.losses)
  }

  @Test(arguments: KernelLevel.available)
  func aTreeManagesWithFewerRowsThanCodewords(_ kernels: KernelLevel) {
    let sample = SeededVectors.clustered(30, 3)
    let trained = TrainedSample(
      kernels, sample, dimensions: 3, levels: [.flat(5000, one), .flat(4, projection)],
      iterations: 2)
    #expect(trained.values.allSatisfy { $0.isFinite })
    #expect(trained.losses[0] < 1e-5)
  }
}
