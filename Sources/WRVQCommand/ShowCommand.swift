import ArgumentParser
import WRVQ

/// `wrvq show`: one codebook, level by level.
struct ShowCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "show", abstract: "Shows a codebook of a database, or in a file.")

  @Argument(
    help: ArgumentHelp(
      "A codebook's name, or a file: what has a slash in it or ends in .safetensors.",
      valueName: "name-or-file"))
  var codebook: String

  @Flag(help: "Print JSON.")
  var json = false

  @OptionGroup(title: "Connection")
  var connection: ConnectionOptions

  func validate() throws {
    try validateCodebookName(codebook)
  }

  func run() throws {
    let summary = try isFile ? summaryOfFile() : summaryInDatabase()
    if json {
      try printJSON(summary)
    } else {
      print(summary.text)
    }
  }

  var isFile: Bool {
    codebook.contains("/") || codebook.hasSuffix(".safetensors")
  }

  private func summaryOfFile() throws -> CodebookSummary {
    try namingFile(codebook) { CodebookSummary(try CodebookFile.read(path: codebook)) }
  }

  private func summaryInDatabase() throws -> CodebookSummary {
    let catalog = try CodebookCatalog(on: connection.connect())
    guard let summary = try catalog.summaries(named: codebook).first else {
      throw CodebookCatalog.noSuchCodebook(codebook)
    }
    return summary
  }
}
