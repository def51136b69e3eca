import Testing
import WRVQ

@testable import WRVQCommand

@Suite struct SampleCheckTests {
  private static func check(_ levels: String, rows: Int) throws -> SampleCheck {
    SampleCheck(try LevelSpecification.parse(levels), rows: rows)
  }

  @Test(
    arguments: [
      ("flat:100,flat:16,product:4", 0), ("flat:100,flat:16,product:4", 99), ("flat:4,flat:16", 15),
      ("flat:4,product:4", 15), ("flat:1", 0),
    ])
  func fewerRowsThanCodewordsAreRefused(levels: String, rows: Int) throws {
    let failure = try #require(try Self.check(levels, rows: rows).failure)
    #expect(failure.description.hasPrefix("\(rows) vector"))
    #expect(failure.hint?.contains("--levels") == true)
  }

  @Test func theLevelIsNamed() throws {
    #expect(
      try Self.check("flat:4,flat:16,product:4", rows: 1).failure?.description
        == "1 vector is too few to train the 16 codewords of level 1 (flat:16); "
        + "expected at least one a codeword, and better 10")
  }

  @Test(
    arguments: [
      ("flat:100,flat:16,product:4", 100, "1.0"), ("flat:100,flat:16,product:4", 999, "9.9"),
      ("flat:4,flat:16", 16, "1.0"), ("flat:4,product:4", 159, "9.9"),
    ])
  func fewRowsAreWarnedOf(levels: String, rows: Int, each: String) throws {
    let check = try Self.check(levels, rows: rows)
    #expect(check.failure == nil)
    #expect(check.warning?.contains(": \(each) a codeword\nhint: Below 10 a codeword") == true)
  }

  @Test(arguments: [
    ("flat:100,flat:16,product:4", 1000), ("flat:4,product:4", 160), ("flat:1", 10),
  ])
  func enoughIsEnough(levels: String, rows: Int) throws {
    let check = try Self.check(levels, rows: rows)
    #expect(check.failure == nil && check.warning == nil)
  }

  /// Whatever the table and the vectors, what is chosen by default is neither refused, nor warned
  /// of where there are some rows.
  @Test(arguments: [1, 3, 384, 1_536, 16_000]) func defaultsSuitTheirSample(dimensions: Int) throws
  {
    for rows in [16, 159, 160, 1_000, 1_600, 100_000, 10_000_000, 1_000_000_000, 100_000_000_000] {
      let request = TrainingSample.Request(levels: nil, count: nil, seed: 1)
      let levels = try request.levels(rows: rows, dimensions: dimensions)
      let sample = min(rows, request.count(of: levels, dimensions: dimensions))
      let check = SampleCheck(levels, rows: sample)
      #expect(check.failure == nil)
      if (160...10_000_000).contains(rows) || dimensions <= 384 && rows > 160 {
        #expect(check.warning == nil || dimensions == 16_000)
      }
    }
  }

  @Test func rowsWithoutADirectionTeachNothingUnderCosine() throws {
    let rows: [Float] = [1, 0, 0, 0, 0, 2]
    #expect(SampleCheck.usableRows(rows, dimensions: 2, .cosine) == 2)
    #expect(SampleCheck.usableRows(rows, dimensions: 2, .l2) == 3)
    #expect(SampleCheck.usableRows([0, 0], dimensions: 2, .cosine) == 0)
  }

  @Test func piecesLargerThanVectorsAreRefusedBeforeAnythingIsRead() throws {
    let request = TrainingSample.Request(
      levels: try LevelSpecification.parse("flat:4,product:4"), count: nil, seed: 1)
    #expect(throws: TrainingError.pieceTooLarge(pieceDimensions: 4, dimensions: 3)) {
      try request.levels(rows: 100, dimensions: 3)
    }
  }

  @Test func aLevelTooLargeForTheCatalogIsRefused() throws {
    let levels = try LevelSpecification.parse("flat:65536,flat:16")
    #expect(throws: Never.self) { try CodebookCatalog.checkSize(of: levels, dimensions: 7_000) }
    let error = #expect(throws: CommandFailure.self) {
      try CodebookCatalog.checkSize(of: levels, dimensions: 16_000)
    }
    #expect(error?.description.hasPrefix("level 0 takes 2097152000 bytes") == true)
  }
}
