import Foundation
import Testing
import WRVQ

@testable import WRVQCommand

@Suite struct EncodeTests {
  private let folder: URL
  private let vectors: [Float]
  private let codebook: Codebook

  init() throws {
    folder = URL(fileURLWithPath: NSTemporaryDirectory() + "wrvq-\(UUID().uuidString)")
    try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: false)
    vectors = (0..<300).map { (i: Int) -> Float in Float((i / 6 * 7 + i % 6 * 5) % 11) - 5 }
    codebook = try CodebookTrainer.train(
      sample: vectors, dimensions: 6,
      configuration: TrainingConfiguration(
        metric: .l2, levels: LevelSpecification.parse("flat:4,flat:3,product:4"), weightBits: 4))
    try CodebookFile.write(codebook, path: path("book.safetensors"))
    let writer = try NpyWriter(path: path("in.npy"), rowCount: 50, dimensions: 6)
    try writer.append(vectors)
    try writer.finish()
  }

  private func path(_ name: String) -> String { folder.appendingPathComponent(name).path }

  private func run(_ command: String, _ input: String, _ output: String, _ more: String...) throws {
    var command = try WRVQCommand.parseAsRoot(
      [
        command, "--codebook", path("book.safetensors"), "--input", path(input), "--output",
        path(output),
      ] + more)
    try command.run()
  }

  @Test func whatIsEncodedIsDecoded() throws {
    defer { try? FileManager.default.removeItem(at: folder) }
    try run("encode", "in.npy", "codes.safetensors")
    let encoded = try EncodedFile.read(path: path("codes.safetensors"), codebook: codebook)
    #expect(try encoded == Codebook.Encoder(codebook).encode(vectors))
    for (levels, more) in [(3, []), (1, ["--levels", "1"])] {
      try run("decode", "codes.safetensors", "out.npy", more.first ?? "--threads", more.last ?? "1")
      let decoded = try NpyFile(path: path("out.npy")).vectors(0..<50)
      #expect(try decoded == Codebook.Decoder(codebook, levels: levels).decode(encoded))
    }
  }

  @Test func beamAndRefitAreUsed() throws {
    defer { try? FileManager.default.removeItem(at: folder) }
    for (beam, refit) in [(4, false), (1, true), (4, true)] {
      try run(
        "encode", "in.npy", "codes.safetensors", "--beam", "\(beam)",
        refit ? "--refit" : "--threads=1")
      let encoded = try EncodedFile.read(path: path("codes.safetensors"), codebook: codebook)
      let encoder = try Codebook.Encoder(codebook, beam: beam, refitsWeights: refit)
      #expect(try encoded == encoder.encode(vectors))
    }
  }

  @Test func whatFailsNamesItsFile() throws {
    defer { try? FileManager.default.removeItem(at: folder) }
    func expect(_ message: String, _ command: String, _ input: String, _ more: String...) {
      let error = #expect(throws: (any Error).self) {
        try run(command, input, "out", more.first ?? "--threads", more.last ?? "1")
      }
      #expect(error.map { "\($0)" } == message.replacing("@", with: folder.path))
      #expect(!FileManager.default.fileExists(atPath: path("out")))
    }
    let writer = try NpyWriter(path: path("other.npy"), rowCount: 1, dimensions: 3)
    try writer.append([1, 2, 3])
    try writer.finish()
    expect(
      "@/other.npy: vectors have 3 dimensions; expected 6 as the codebook", "encode", "other.npy")
    expect("@/none.npy: cannot be read: no such file", "encode", "none.npy")
    expect(
      "@/book.safetensors: not encoded vectors: the metadata's format is \"wrvq-codebook-1\"; "
        + "expected \"wrvq-encoded-1\"", "decode", "book.safetensors")
    expect("cannot decode 4 levels; expected 1 to 3", "decode", "in.npy", "--levels", "4")
  }

  @Test func aSummaryReadsWell() {
    defer { try? FileManager.default.removeItem(at: folder) }
    var encoded = EncodedVectors(for: codebook)
    (encoded.rowCount, encoded.loss) = (7, [0.5, 0.25, 0.125])
    #expect(
      EncodingSummary(encoded, codebook, output: "a.safetensors").text == """
        7 vectors of 6 dimensions encoded to a.safetensors

        level  kind      loss
            0  flat       0.5
            1  flat      0.25
            2  product  0.125
        """)
  }
}
