import CWRVQKernels
import TestSupport
import Testing

private let one = WRVQ_WEIGHT_ONE, norm = WRVQ_WEIGHT_NORM, projection = WRVQ_WEIGHT_PROJECTION

/// Levels, dimensions and transform that a trainer is tried with.
struct TrainingCase: Sendable, CustomStringConvertible {
  var description: String
  var rows: Int
  var dimensions: Int
  var block = 0
  var levels: [SampleShape.Level]

  static let all: [TrainingCase] = [
    .init(description: "lists only", rows: 50, dimensions: 3, levels: [.flat(5, one)]),
    .init(
      description: "one dimension", rows: 40, dimensions: 1, block: 1,
      levels: [
        .flat(3, one), .flat(2, projection), .product(pieces: 1, dimensions: 1, projection),
      ]),
    .init(
      description: "five dimensions, pieces of two", rows: 99, dimensions: 5, block: 5,
      levels: [.flat(4, one), .flat(3, norm), .product(pieces: 3, dimensions: 2, norm)]),
    .init(
      description: "seven dimensions, one piece of eight", rows: 65, dimensions: 7, block: 7,
      levels: [.flat(4, one), .product(pieces: 1, dimensions: 8, projection)]),
    .init(
      description: "plain residuals", rows: 130, dimensions: 9, block: 9,
      levels: [.flat(7, one), .flat(17, one), .product(pieces: 3, dimensions: 3, one)]),
    .init(
      description: "flat projection", rows: 200, dimensions: 17,
      levels: [.flat(6, one), .flat(20, projection), .flat(5, projection), .flat(5, norm)]),
    .init(
      description: "no transform", rows: 70, dimensions: 10,
      levels: [.flat(6, one), .product(pieces: 3, dimensions: 4, projection)]),
    .init(
      description: "blocks of eight, pieces across them", rows: 150, dimensions: 19, block: 8,
      levels: [.flat(4, one), .product(pieces: 7, dimensions: 3, projection)]),
    .init(
      description: "codewords in groups", rows: 1100, dimensions: 5,
      levels: [.flat(520, one), .flat(515, projection), .flat(3, projection)]),
    .init(
      description: "one row", rows: 1, dimensions: 6, block: 6,
      levels: [
        .flat(5, one), .flat(4, projection), .product(pieces: 2, dimensions: 4, projection),
      ]),
    .init(
      description: "fewer rows than codewords", rows: 6, dimensions: 4, block: 4,
      levels: [.flat(11, one), .flat(16, norm), .product(pieces: 1, dimensions: 4, norm)]),
  ]

  var sample: [Float] { SeededVectors.clustered(rows, dimensions) }

  func train(
    _ kernels: KernelLevel, _ sample: [Float]? = nil, iterations: Int = 3, seed: UInt64 = 1,
    order: TrainedSample.Order = .forwards
  ) -> TrainedSample {
    TrainedSample(
      kernels, sample ?? self.sample, dimensions: dimensions, block: block, levels: levels,
      iterations: iterations, seed: seed, order: order)
  }
}

@Suite struct TrainerTests {
  @Test(arguments: KernelLevel.available, TrainingCase.all)
  func lossesAreThoseOfTheObviousEncoder(_ kernels: KernelLevel, _ c: TrainingCase) {
    let trained = c.train(kernels)
    for (loss, expected) in zip(trained.losses, trained.referenceLosses) {
      #expect(abs(loss - expected) <= 2e-3 * expected + 1e-6)
    }
  }

  @Test(arguments: KernelLevel.available, TrainingCase.all)
  func addingALevelNeverIncreasesLoss(_ kernels: KernelLevel, _ c: TrainingCase) {
    let losses = c.train(kernels).losses
    for i in losses.indices.dropFirst() { #expect(losses[i] <= losses[i - 1] + 1e-6) }
  }

  @Test(arguments: KernelLevel.available, TrainingCase.all)
  func theResultDoesNotDependOnWhoDoesTheUnits(_ kernels: KernelLevel, _ c: TrainingCase) {
    let expected = c.train(kernels)
    for order in [TrainedSample.Order.backwards, .concurrent] {
      let trained = c.train(kernels, order: order)
      #expect(trained.values == expected.values)
      #expect(trained.losses == expected.losses)
    }
  }

  @Test(arguments: KernelLevel.available)
  func theSeedDecides(_ kernels: KernelLevel) {
    let c = TrainingCase.all[5]
    #expect(c.train(kernels, seed: 7).values == c.train(kernels, seed: 7).values)
    #expect(c.train(kernels, seed: 7).values != c.train(kernels, seed: 8).values)
  }

  @Test(arguments: KernelLevel.available, TrainingCase.all)
  func allValuesSurviveHalves(_ kernels: KernelLevel, _ c: TrainingCase) {
    for value in c.train(kernels).values { #expect(Float(Float16(value)) == value) }
  }

  @Test(arguments: KernelLevel.available, TrainingCase.all)
  func progressRisesFromZeroToOne(_ kernels: KernelLevel, _ c: TrainingCase) {
    let progress = c.train(kernels).progress
    #expect(progress.first == 0 && progress.last == 1)
    for (before, after) in zip(progress, progress.dropFirst()) { #expect(before <= after) }
  }

  // MARK: Degenerate samples

  @Test(arguments: KernelLevel.available, TrainingCase.all)
  func duplicatesAreCodedExactly(_ kernels: KernelLevel, _ c: TrainingCase) {
    let row = (0..<c.dimensions).map { Float($0 % 3) - 0.5 }
    let trained = c.train(kernels, SeededVectors.repeated(row, c.rows))
    #expect(trained.values.allSatisfy { $0.isFinite })
    #expect(trained.losses.allSatisfy { $0 < 1e-6 })
  }

  @Test(arguments: KernelLevel.available, TrainingCase.all)
  func zeroVectorsAreHarmless(_ kernels: KernelLevel, _ c: TrainingCase) {
    let trained = c.train(kernels, [Float](repeating: 0, count: c.rows * c.dimensions))
    #expect(trained.values.allSatisfy { $0.isFinite })
    #expect(trained.losses.allSatisfy { $0 == 0 })
  }

  @Test(arguments: KernelLevel.available, TrainingCase.all)
  func zeroResidualsAmongOthersAreHarmless(_ kernels: KernelLevel, _ c: TrainingCase) {
    // Half of the rows are exactly codewords of a sample with few distinct rows.
    let sample = c.sample.enumerated().map { i, x in i / c.dimensions % 2 == 0 ? 0.25 : x }
    let trained = c.train(kernels, sample)
    #expect(trained.values.allSatisfy { $0.isFinite })
    #expect(trained.losses.allSatisfy { $0.isFinite })
  }

  @Test(arguments: KernelLevel.available, TrainingCase.all)
  func constantDimensionsAreHarmless(_ kernels: KernelLevel, _ c: TrainingCase) {
    let sample = c.sample.enumerated().map { i, x in i % c.dimensions % 2 == 1 ? 2 : x }
    let trained = c.train(kernels, sample)
    #expect(trained.values.allSatisfy { $0.isFinite })
    for (loss, expected) in zip(trained.losses, trained.referenceLosses) {
      #expect(abs(loss - expected) <= 2e-3 * expected + 1e-5)
    }
  }

  @Test(arguments: KernelLevel.available)
  func extremeValuesNeitherTrapNorSpread(_ kernels: KernelLevel) {
    for c in TrainingCase.all {
      var sample = c.sample
      sample[0] = 3e38
      sample[sample.count - 1] = -3e38
      #expect(c.train(kernels, sample).values.allSatisfy { $0.isFinite })
    }
  }

  // MARK: Weights

  @Test(arguments: KernelLevel.available, [UInt64(1), 2, 3])
  func projectionLosesLessThanNormAndNormLessThanOne(_ kernels: KernelLevel, _ seed: UInt64) {
    let sample = SeededVectors.clustered(400, 12, clusters: 5, seed: seed)
    let losses = [projection, norm, one].map { rule in
      let levels = [.flat(5, one)] + [SampleShape.Level](repeating: .flat(16, rule), count: 4)
      return TrainedSample(kernels, sample, dimensions: 12, levels: levels).losses.last!
    }
    #expect(losses[0] < losses[1] && losses[1] < losses[2], "\(losses)")
  }

  // MARK: Shapes

  @Test(arguments: KernelLevel.available)
  func aBadShapeGetsNoMemory(_ kernels: KernelLevel) {
    func bytes(_ rows: Int64, _ change: (inout wrvq_shape) -> Void) -> Int64 {
      var shape = TrainedSample.shape(dimensions: 4, levels: [.flat(2, one), .flat(2, norm)])
      change(&shape)
      return kernels.training.trainer_bytes(&shape, rows)
    }
    #expect(bytes(10) { _ in } > 0)
    #expect(bytes(0) { _ in } == 0)
    #expect(bytes(-1) { _ in } == 0)
    #expect(bytes(10) { $0.dimensions = 0 } == 0)
    #expect(bytes(10) { $0.dimensions = 16001 } == 0)
    #expect(bytes(10) { $0.level_count = 17 } == 0)
    #expect(bytes(10) { $0.setLevel(0) { $0.codeword_count = 0 } } == 0)
    #expect(bytes(10) { $0.setLevel(1) { $0.kind = 7 } } == 0)
    #expect(bytes(10) { $0.transform_block_dimensions = -1 } == 0)
  }

  @Test(
    arguments: KernelLevel.available,
    [
      (1, 1), (384, 384), (768, 768), (769, 385), (1024, 512), (1536, 512), (4096, 512),
      (4097, 125), (16000, 128),
    ] as [(Int32, Int32)])
  func transformBlocksAreEqualAndBounded(_ kernels: KernelLevel, _ sizes: (Int32, Int32)) {
    #expect(kernels.training.default_transform_block(sizes.0) == sizes.1)
  }
}
