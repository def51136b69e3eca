import ArgumentParser
import Foundation
import WRVQ

/// `wrvq decode`: from codes and weights back to vectors.
struct DecodeCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "decode",
    abstract: "Turns encoded vectors back into approximate ones.",
    discussion: """
      The vectors are in the scale of those that were encoded; under cosine they are of length \
      about one.
      """)

  @Option(help: ArgumentHelp(CodebookReference.help, valueName: "name-or-file"))
  var codebook: CodebookReference

  @Option(
    help: ArgumentHelp("A file that \"wrvq encode\" wrote with this codebook.", valueName: "file"))
  var input: String

  @Option(
    help: ArgumentHelp(
      "The file of vectors to write (.npy); replaced if it exists; - is standard output.",
      valueName: "file"))
  var output: String

  @Option(help: "Add up only so many levels, from level 0. (default: all)")
  var levels: Int?

  @Option(help: "Threads. (default: as many as processors)")
  var threads: Int?

  @OptionGroup(title: "Connection")
  var connection: ConnectionOptions

  func validate() throws {
    try codebook.validate()
    try validateThreads(threads)
    guard levels ?? 1 >= 1 else { throw ValidationError("--levels must be at least 1") }
  }

  func run() throws {
    try namingFile(output) { try OutputFile.checkWritable(path: output) }
    let codebook = try codebook.read(connection)
    let decoder = try Codebook.Decoder(
      codebook, levels: levels,
      threads: threads ?? ProcessInfo.processInfo.activeProcessorCount)
    let encoded = try namingFile(input) { try EncodedFile.read(path: input, codebook: codebook) }
    let count = encoded.rowCount, dimensions = codebook.dimensions
    try namingFile(output) {
      let writer = try NpyWriter(path: output, rowCount: count, dimensions: dimensions)
      try forEachBatch(of: count, dimensions: dimensions, "decoding \(count) vectors") { rows in
        try writer.append(decoder.decode(encoded, rows: rows))
      }
      try writer.finish()
    }
    try report(
      "\(count) vectors of \(dimensions) dimensions decoded to \(output), "
        + "by \(decoder.levelCount) of \(codebook.levels.count) levels",
      besides: output, done: "\(output) is written")
  }
}
