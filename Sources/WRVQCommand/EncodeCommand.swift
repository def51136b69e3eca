import ArgumentParser
import Foundation
import WRVQ

/// `wrvq encode`: from vectors to codes and weights.
struct EncodeCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "encode",
    abstract: "Encodes the vectors of a file with a codebook.",
    discussion: """
      Prints the quantization loss after each level: the mean squared length of what is still \
      missing of the vectors, scaled (and normalised under cosine) as the codebook says.
      """)

  @Option(help: ArgumentHelp(CodebookReference.help, valueName: "name-or-file"))
  var codebook: CodebookReference

  @Option(help: ArgumentHelp("A file of vectors: .npy or .fvecs.", valueName: "file"))
  var input: String

  @Option(
    help: ArgumentHelp(
      "The file of codes and weights to write (.safetensors); replaced if it exists; - is standard output.",
      valueName: "file"))
  var output: String

  @Option(
    help: "Search with a beam of so many ways to code a vector: less loss for more time, 1 to 256.")
  var beam = 1

  @Flag(help: "Fit all weights of a vector together once its codes are chosen.")
  var refit = false

  @Option(help: "Threads. (default: as many as processors)")
  var threads: Int?

  @Flag(help: "Print JSON.")
  var json = false

  @OptionGroup(title: "Connection")
  var connection: ConnectionOptions

  func validate() throws {
    try codebook.validate()
    guard (1...256).contains(beam) else { throw ValidationError("--beam must be from 1 to 256") }
    try validateThreads(threads)
    try validateOutput(output, json: json)
  }

  func run() throws {
    try namingFile(output) { try OutputFile.checkWritable(path: output) }
    let codebook = try codebook.read(connection)
    let encoder = try Codebook.Encoder(
      codebook, beam: beam, refitsWeights: refit,
      threads: threads ?? ProcessInfo.processInfo.activeProcessorCount)
    let encoded = try namingFile(input) { try encode(openVectorFile(path: input), encoder) }
    try namingFile(output) {
      try EncodedFile.write(encoded, codebook: codebook, path: output)
    }
    let summary = EncodingSummary(encoded, codebook, output: output)
    try report(
      json ? jsonText(summary) : summary.text, besides: output, done: "\(output) is written")
  }

  private func encode(
    _ file: any VectorFile, _ encoder: Codebook.Encoder
  ) throws -> EncodedVectors {
    let codebook = encoder.codebook
    guard file.dimensions == codebook.dimensions else {
      throw EncodingError.dimensions(file.dimensions, expected: codebook.dimensions)
    }
    var encoded = EncodedVectors(for: codebook)
    try forEachBatch(
      of: file.rowCount, dimensions: file.dimensions, "encoding \(file.rowCount) vectors"
    ) { rows in
      encoded.append(try encoder.encode(file.vectors(rows)))
    }
    return encoded
  }
}

/// Works through rows some megabytes at a time, what caches hold, and reports progress.
func forEachBatch(
  of rowCount: Int, dimensions: Int, _ stage: String, _ body: (Range<Int>) throws -> Void
) rethrows {
  let progress = ProgressReporter()
  defer { progress.finish() }
  let size = max(1, min(16_384, (1 << 20) / dimensions))
  for first in stride(from: 0, to: rowCount, by: size) {
    progress.report(stage, Double(first) / Double(rowCount))
    try body(first..<min(first + size, rowCount))
  }
  progress.report(stage, 1)
}

/// What `encode` tells of its work.
struct EncodingSummary: Encodable, Equatable {
  struct Level: Encodable, Equatable {
    var level: Int
    var kind: String
    /// Quantization loss after this level; of no vectors there is none.
    var loss: Double?
  }

  var vectors: Int
  var dimensions: Int
  var output: String
  var levels: [Level]

  init(_ encoded: EncodedVectors, _ codebook: Codebook, output: String) {
    vectors = encoded.rowCount
    dimensions = codebook.dimensions
    self.output = output
    levels = codebook.levels.enumerated().map { index, level in
      Level(
        level: index, kind: level.kind.name,
        loss: encoded.loss.isEmpty ? nil : encoded.loss[index])
    }
  }

  var text: String {
    var table = TextTable(header: ["level", "kind", "loss"])
    for level in levels {
      table.append(["\(level.level)", level.kind, level.loss.map(lossText) ?? "–"])
    }
    return "\(vectors) vectors of \(dimensions) dimensions encoded to \(output)\n\n\(table)"
  }
}
