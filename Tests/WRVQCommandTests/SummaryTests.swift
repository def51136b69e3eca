import Foundation
import Testing
import WRVQ

@testable import WRVQCommand

@Suite struct SummaryTests {
  private let codebook = Codebook(
    dimensions: 3, metric: .l2,
    levels: [
      Codebook.Level(kind: .flat(count: 1), weightRule: .one, codewords: [1, 2, 3]),
      Codebook.Level(
        kind: .product(pieces: 2, pieceDimensions: 2), weightRule: .projection,
        codewords: [Float](repeating: 0, count: 64), transform: [1, 0, 0, 0, 1, 0, 0, 0, 1]),
    ],
    loss: [0.5, 0.125])

  @Test func aSummaryReadsWell() {
    let summary = CodebookSummary(
      codebook, name: "n",
      origin: CodebookOrigin(method: "linear", sample: 7, seed: 1, source: "table t, column c"))
    #expect(
      summary.text == """
        codebook    n
        dimensions  3
        metric      l2
        scale       1.0
        sha256      \(hexadecimal(codebook.sha256))
        method      linear
        sample      7 vectors
        seed        1
        source      table t, column c

        level  kind     codewords  weight      bits  transform   loss
            0  flat     1          one            –  –            0.5
            1  product  2 × 16     projection    16  dense      0.125
        """)
    #expect(summary.levelsText == "flat:1,product:2")
  }

  @Test func aSampleIsByTheLevelsUnlessGiven() throws {
    func count(_ levels: String, dimensions: Int = 100, asked: Int? = nil) throws -> Int {
      let levels = try LevelSpecification.parse(levels)
      let request = TrainingSample.Request(levels: levels, count: asked, seed: 1)
      return request.count(of: levels, dimensions: dimensions)
    }
    #expect(try count("flat:10") == 10_000)
    #expect(try count("flat:1000") == 50_000)
    #expect(try count("flat:65536") == 655_360)
    #expect(try count("flat:65536", dimensions: 16_000) == 16_777)
    #expect(try count("flat:10", asked: 5) == 5)
  }

  @Test(arguments: [1, 5, 100]) func aFilesSampleIsRepeatable(size: Int) throws {
    // Row i is (i, -i).
    var fvecs = Data()
    for row in 0..<100 {
      withUnsafeBytes(of: Int32(2).littleEndian) { fvecs += $0 }
      for value in [Float(row), Float(-row)] {
        withUnsafeBytes(of: value.bitPattern.littleEndian) { fvecs += $0 }
      }
    }
    let path = NSTemporaryDirectory() + "wrvq-\(UUID().uuidString).fvecs"
    try fvecs.write(to: URL(fileURLWithPath: path))
    defer { try? FileManager.default.removeItem(atPath: path) }
    func sample(seed: UInt64) throws -> TrainingSample {
      try TrainingSample(
        ofFile: path, TrainingSample.Request(levels: nil, count: size, seed: seed), progress: nil)
    }
    let first = try sample(seed: 1)
    #expect(first.count == size && first.dimensions == 2)
    #expect(try sample(seed: 1).values == first.values)
    if size < 100 { #expect(try sample(seed: 2).values != first.values) }
    let rows = stride(from: 0, to: first.values.count, by: 2).map { first.values[$0] }
    #expect(Set(rows).count == size)
    #expect(first.levels.first == LevelSpecification(.flat(10)))
  }
}
