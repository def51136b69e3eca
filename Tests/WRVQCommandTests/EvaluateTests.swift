import Foundation
import Testing
import WRVQ

@testable import WRVQCommand

@Suite struct EvaluateTests {
  private static let d = 6

  /// Rows around eight corners.
  private static func rows(_ count: Int, phase: Int = 0) -> [Float] {
    (0..<count * d).map { i -> Float in
      let row = i / d, k = i % d
      let noise = Float((row * 37 + k * 101 + row * row * 7 + phase * 13) % 23) / 23
      return ((row % 8) >> (k % 3) & 1 == 1 ? 2 : -2) + noise
    }
  }

  private let folder: URL

  init() throws {
    folder = URL(fileURLWithPath: NSTemporaryDirectory() + "wrvq-\(UUID().uuidString)")
    try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: false)
    for (name, values) in [("in", Self.rows(200)), ("queries", Self.rows(30, phase: 5))] {
      let writer = try NpyWriter(
        path: path("\(name).npy"), rowCount: values.count / Self.d, dimensions: Self.d)
      try writer.append(values)
      try writer.finish()
    }
  }

  private func path(_ name: String) -> String { folder.appendingPathComponent(name).path }

  private func command(_ arguments: String...) throws -> EvaluateCommand {
    let line = ["evaluate", "--input", path("in.npy"), "--threads", "2"] + arguments
    return try #require(try WRVQCommand.parseAsRoot(line) as? EvaluateCommand)
  }

  @Test func everyQuantizerIsJudgedAtEqualCodesAndBytes() throws {
    defer { try? FileManager.default.removeItem(at: folder) }
    let report = try command(
      "--levels", "flat:4,flat:4", "--weight-bits", "4", "--beam", "2", "--refit", "--test-rows",
      "120", "--queries", path("queries.npy")
    ).evaluate()
    #expect(report.trainingRows == 80 && report.testRows == 120 && report.queries == 30)
    #expect(report.comparisons.map(\.weightBits) == [4])
    let names = ["RVQ", "PQ", "OPQ", "additive"]
    for comparison in report.comparisons {
      #expect(comparison.levels == "flat:4,flat:4" && comparison.notes.isEmpty)
      let quantizers = comparison.quantizers
      #expect(
        quantizers.map(\.quantizer) == ["WRVQ (L)", "WRVQ (L), beam 2, refit"] + names + names)
      #expect(
        quantizers.map(\.equal) == [nil, nil] + names.map { _ in "codes" }
          + names.map { _ in "bytes" })
      for quantizer in quantizers {
        #expect(quantizer.bytes == Double(quantizer.codeBits + quantizer.weightBits) / 8)
        #expect(quantizer.compressionRatio == 24 / quantizer.bytes)
        #expect(quantizer.recall.map(\.k) == [1, 10, 100, 10, 10])
        #expect(
          quantizer.recall.allSatisfy { (0...1).contains($0.adc) && (0...1).contains($0.sdc) })
        #expect(quantizer.lossesPerDimension == quantizer.losses.map { $0 / 6 })
      }
      // Two codes of two bits; at equal bytes whole bytes, rounded up.
      #expect(quantizers[2...5].allSatisfy { $0.codeBits == 4 && $0.bytes == 0.5 })
      let bytes = (4 + Double(comparison.weightBits)) / 8
      #expect(quantizers[0].bytes == bytes)
      #expect(quantizers[6...].allSatisfy { $0.bytes == bytes.rounded(.up) })
      #expect(quantizers[0].losses.count == 2 && quantizers[0].losses[1] < quantizers[0].losses[0])
    }
    // Eq. 9, with weights of 4 bits: d / (n·(4 + log₂ s)).
    #expect(report.comparisons[0].quantizers[0].paperCompressionRatio == 6.0 / (2 * (4 + 2)))
    try checkJSON(report)
    #expect(
      report.text.contains("in.npy: 6 dimensions, l2; trained on 80 rows, tested on 120 others"))
  }

  private func checkJSON(_ report: EvaluationReport) throws {
    let json = try JSONSerialization.jsonObject(with: Data(jsonText(report).utf8))
    let object = try #require(json as? [String: Any])
    #expect(
      Set(object.keys) == [
        "source", "dimensions", "metric", "training_rows", "test_rows", "queries", "seed",
        "comparisons",
      ])
    let comparison = try #require((object["comparisons"] as? [[String: Any]])?.first)
    #expect(Set(comparison.keys) == ["levels", "weight_bits", "quantizers", "notes"])
    let quantizer = try #require((comparison["quantizers"] as? [[String: Any]])?.last)
    #expect(
      Set(quantizer.keys) == [
        "quantizer", "equal", "codes", "code_bits", "weight_bits", "bytes", "compression_ratio",
        "paper_compression_ratio", "losses", "losses_per_dimension", "recall", "training_seconds",
        "encoded_rows_per_second",
      ])
    let recall = try #require((quantizer["recall"] as? [[String: Any]])?.last)
    #expect(Set(recall.keys) == ["k", "among", "adc", "sdc"])
  }

  @Test func aCodebookIsJudgedAsItIs() throws {
    defer { try? FileManager.default.removeItem(at: folder) }
    let codebook = try CodebookTrainer.train(
      sample: Self.rows(200), dimensions: Self.d,
      configuration: TrainingConfiguration(
        metric: .cosine, levels: LevelSpecification.parse("flat:4,product:3")))
    try CodebookFile.write(codebook, path: path("book.safetensors"))
    let report = try command(
      "--codebook", path("book.safetensors"), "--test", path("queries.npy"), "--baseline", "none"
    ).evaluate()
    #expect(report.metric == "cosine" && report.trainingRows == 200)
    // The test rows are queries themselves, each without itself: too few to find 50 others.
    #expect(report.testRows == 30 && report.queries == 30)
    let quantizer = try #require(report.comparisons.first?.quantizers.first)
    #expect(report.comparisons.count == 1 && report.comparisons[0].quantizers.count == 1)
    #expect(quantizer.quantizer == "WRVQ" && quantizer.trainingSeconds == nil)
    #expect(quantizer.codes == "4 + 2 × 16" && quantizer.bytes == (2 + 8 + 16) / 8)
    #expect(quantizer.recall.map(\.among) == [1, 10, 20])
    let encoded = try Codebook.Encoder(codebook, threads: 1).encode(Self.rows(30, phase: 5))
    for (found, expected) in zip(quantizer.losses, encoded.loss) {
      #expect(abs(found - expected) < 1e-4)
    }
  }

  @Test func whatIsRepeatedIsComparedInTurn() throws {
    defer { try? FileManager.default.removeItem(at: folder) }
    let report = try command(
      "--levels", "flat:4,flat:4", "--levels", "flat:2", "--weight-bits", "16", "--weight-bits",
      "2",
      "--baseline", "none", "--metric", "ip", "--method", "adam", "--iterations", "2", "--method",
      "linear"
    ).evaluate()
    for comparison in report.comparisons {
      #expect(comparison.quantizers.map(\.quantizer) == ["WRVQ (T)", "WRVQ (L)"])
    }
    #expect(
      report.comparisons.map(\.levels) == ["flat:4,flat:4", "flat:4,flat:4", "flat:2", "flat:2"])
    #expect(report.comparisons.map(\.quantizers[0].bytes) == [2.5, 0.75, 0.125, 0.125])
    // Eq. 9: d / (n·(16 + log₂ s)).
    #expect(report.comparisons[0].quantizers[0].paperCompressionRatio == 6.0 / (2 * (16 + 2)))
  }

  @Test func theSplitIsRepeatable() throws {
    defer { try? FileManager.default.removeItem(at: folder) }
    let vectors = try [1, 1, 2].map { seed in
      try EvaluationVectors(
        command("--test-rows", "50", "--seed", "\(seed)"), metric: .l2,
        progress: ProgressReporter())
    }
    #expect(vectors[0].test == vectors[1].test && vectors[0].test != vectors[2].test)
    // Every row is on one side.
    func rows(_ values: [Float]) -> [[Float]] {
      stride(from: 0, to: values.count, by: Self.d).map { Array(values[$0..<$0 + Self.d]) }
    }
    let both = rows(vectors[0].training) + rows(vectors[0].test)
    #expect(both.map(\.description).sorted() == rows(Self.rows(200)).map(\.description).sorted())
    let default_ = try EvaluationVectors(command(), metric: .l2, progress: ProgressReporter())
    #expect(default_.test.count == 100 * Self.d && default_.training.count == 100 * Self.d)
  }

  @Test func whatCannotBeEvaluatedIsNamed() throws {
    defer { try? FileManager.default.removeItem(at: folder) }
    func message(_ arguments: [String]) throws -> String? {
      let line = ["evaluate", "--input", path("in.npy")] + arguments
      let command = try #require(try WRVQCommand.parseAsRoot(line) as? EvaluateCommand)
      let error = #expect(throws: (any Error).self) { try command.evaluate() }
      return error.map { "\($0)" }
    }
    #expect(try message(["--test-rows", "200"]) == "200 rows are too few to hold out 200 of them")
    let writer = try NpyWriter(path: path("other.npy"), rowCount: 1, dimensions: 3)
    try writer.append([1, 2, 3])
    try writer.finish()
    #expect(
      try message(["--queries", path("other.npy")])
        == "\(path("other.npy")): vectors have 3 dimensions; expected 6")
    #expect(try message(["--test", path("none.npy")])?.hasSuffix("no such file") == true)
  }
}
