import ArgumentParser
import WRVQ

/// `wrvq show`: one codebook, level by level.
struct ShowCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "show", abstract: "Shows a codebook of a database, or in a file.")

  @Argument(help: ArgumentHelp(CodebookReference.help, valueName: "name-or-file"))
  var codebook: CodebookReference

  @Flag(help: "Print JSON.")
  var json = false

  @OptionGroup(title: "Connection")
  var connection: ConnectionOptions

  func validate() throws {
    try codebook.validate()
  }

  func run() throws {
    let summary = try codebook.isFile ? summaryOfFile() : summaryInDatabase()
    try report(json ? jsonText(summary) : summary.text)
  }

  private func summaryOfFile() throws -> CodebookSummary {
    CodebookSummary(try codebook.read(connection))
  }

  private func summaryInDatabase() throws -> CodebookSummary {
    let catalog = try CodebookCatalog(on: connection.connect())
    guard let summary = try catalog.summaries(named: codebook.text).first else {
      throw CodebookCatalog.noSuchCodebook(codebook.text)
    }
    return summary
  }
}
