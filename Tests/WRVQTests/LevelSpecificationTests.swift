import TestSupport
import Testing

@testable import WRVQ

@Suite struct LevelSpecificationTests {
  @Test(arguments: ["flat:1", "flat:65536", "flat:1024,flat:16,product:4", "flat:8,product:16000"])
  func whatIsParsedPrintsTheSame(_ text: String) throws {
    let levels = try LevelSpecification.parse(text)
    #expect(levels.map(\.description).joined(separator: ",") == text)
  }

  @Test func levelsAreReadInOrder() throws {
    let levels = try LevelSpecification.parse("flat:1024,flat:16,product:4")
    #expect(levels.map(\.kind) == [.flat(1024), .flat(16), .product(pieceDimensions: 4)])
  }

  @Test(
    arguments: [
      "", "flat", "flat:", "flat:x", "flat:1:2", "cube:4", "flat:4,", ",flat:4", "flat:+4",
      "flat: 4", "Flat:4", "flat:-1", "flat:99999999999999999999",
    ])
  func malformedLevelsAreNamed(_ text: String) {
    #expect {
      try LevelSpecification.parse(text)
    } throws: { error in
      guard case .malformedLevel(let named)? = error as? TrainingError else { return false }
      return named.isEmpty || text.contains(named)
    }
  }

  @Test func numbersOutOfRangeAreNamed() {
    #expect(throws: TrainingError.levelOutOfRange("flat:0", expected: 1...65536)) {
      try LevelSpecification.parse("flat:0")
    }
    #expect(throws: TrainingError.levelOutOfRange("flat:65537", expected: 1...65536)) {
      try LevelSpecification.parse("flat:4,flat:65537")
    }
    #expect(throws: TrainingError.levelOutOfRange("product:0", expected: 1...16000)) {
      try LevelSpecification.parse("flat:4,product:0")
    }
  }

  @Test func theOrderOfLevelsIsChecked() {
    #expect(throws: TrainingError.firstLevelNotFlat("product:4")) {
      try LevelSpecification.parse("product:4")
    }
    #expect(throws: TrainingError.productLevelNotLast("product:4", level: 1)) {
      try LevelSpecification.parse("flat:4,product:4,flat:8")
    }
    #expect(throws: TrainingError.levelCount(17, expected: 1...16)) {
      try LevelSpecification.parse((1...17).map { "flat:\($0)" }.joined(separator: ","))
    }
  }

  @Test(
    arguments: [
      (0, 3, "flat:1,flat:16,product:3"), (1, 1, "flat:1,flat:16,product:1"),
      (100, 2, "flat:10,flat:16,product:2"), (1_600, 4, "flat:160,flat:16,product:4"),
      (100_000, 384, "flat:1265,flat:16,product:4"),
      (1_000_000, 1536, "flat:4000,flat:16,product:4"),
      (1_000_000_000, 3072, "flat:65536,flat:16,product:7"),
    ])
  func defaultsFollowTheTable(_ rows: Int, _ dimensions: Int, _ expected: String) {
    let levels = LevelSpecification.defaultLevels(rows: rows, dimensions: dimensions)
    #expect(levels.map(\.description).joined(separator: ",") == expected)
  }

  /// What the trainer says of a shape, without the training.
  private static func canTrain(_ levels: [LevelSpecification], dimensions: Int) -> Bool {
    let configuration = TrainingConfiguration(metric: .l2, levels: levels)
    let kernels = Kernels.best.training
    let block = kernels.default_transform_block(Int32(dimensions))
    let shape = CodebookTrainer.shape(
      configuration, dimensions: dimensions, scale: 1, block: Int(block))
    return withUnsafePointer(to: shape) { kernels.trainer_bytes($0, 1) > 0 }
  }

  @Test func defaultsFitVectorsOfEveryDimension() throws {
    for dimensions in 1...16_000 {
      let levels = LevelSpecification.defaultLevels(rows: 100_000, dimensions: dimensions)
      try LevelSpecification.check(levels, dimensions: dimensions)
      #expect(Self.canTrain(levels, dimensions: dimensions), "\(dimensions) dimensions")
    }
  }

  @Test(arguments: [1, 2, 3]) func shortVectorsAreTrainedOnByDefault(_ dimensions: Int) throws {
    let sample = SeededVectors.clustered(200, dimensions)
    let codebook = try CodebookTrainer.train(
      sample: sample, dimensions: dimensions,
      configuration: TrainingConfiguration(
        metric: .l2, levels: LevelSpecification.defaultLevels(rows: 200, dimensions: dimensions)))
    try codebook.validate()
    #expect(codebook.levels.last?.kind == .product(pieces: 1, pieceDimensions: dimensions))
  }
}
