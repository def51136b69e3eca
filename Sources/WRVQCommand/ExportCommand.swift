import ArgumentParser
import WRVQ

/// `wrvq export`: from a database into a file.
struct ExportCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "export", abstract: "Writes a codebook from a database to a file.")

  @Argument(help: "The codebook's name in the database.")
  var name: String

  @Option(
    help: ArgumentHelp(
      "The file to write (.safetensors); replaced if it exists; - is standard output.",
      valueName: "file")
  )
  var output: String

  @OptionGroup(title: "Connection")
  var connection: ConnectionOptions

  func validate() throws {
    try validateCodebookName(name)
  }

  func run() throws {
    try namingFile(output) { try OutputFile.checkWritable(path: output) }
    let catalog = try CodebookCatalog(on: connection.connect())
    let codebook = try catalog.codebook(named: name)
    try namingFile(output) { try CodebookFile.write(codebook, path: output) }
    try report(
      "codebook \"\(name)\" written to \(output)", besides: output, done: "\(output) is written")
  }
}
