import ArgumentParser
import Foundation
import WRVQ

/// `wrvq load`: from a file into a database.
struct LoadCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "load", abstract: "Stores a codebook file in a database.")

  @Argument(help: "A codebook file (.safetensors).")
  var file: String

  @Option(help: "The codebook's name in the database.")
  var name: String

  @Flag(help: "Print JSON.")
  var json = false

  @OptionGroup(title: "Connection")
  var connection: ConnectionOptions

  func validate() throws {
    try validateCodebookName(name)
  }

  func run() throws {
    let codebook = try namingFile(file) { try CodebookFile.read(path: file) }
    let catalog = try CodebookCatalog(on: connection.connect())
    let origin = CodebookOrigin(source: "file \(URL(fileURLWithPath: file).lastPathComponent)")
    try catalog.store(codebook, name: name, origin: origin)
    let summary = CodebookSummary(codebook, name: name, origin: origin)
    let text =
      "codebook \"\(name)\" stored: \(summary.dimensions) dimensions, \(summary.levelsText)"
    try report(json ? jsonText(summary) : text, done: "Codebook \"\(name)\" is stored")
  }
}

/// Throws a usage error unless a codebook could have this name.
func validateCodebookName(_ name: String) throws {
  guard !name.isEmpty else { throw ValidationError("a codebook's name cannot be empty") }
  guard !name.unicodeScalars.contains(where: { $0.properties.generalCategory == .control }) else {
    throw ValidationError("a codebook's name cannot have control characters")
  }
}
