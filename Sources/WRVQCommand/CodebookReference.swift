import ArgumentParser
import PostgresClient
import WRVQ

/// A codebook as users name it: by its name in a database, or by a file.
struct CodebookReference: ExpressibleByArgument, Equatable {
  static let help = "A codebook's name, or a file: what has a slash in it or ends in .safetensors."

  var text: String

  init?(argument: String) {
    text = argument
  }

  var isFile: Bool {
    text.contains("/") || text.hasSuffix(".safetensors")
  }

  func validate() throws {
    try validateCodebookName(text)
  }

  /// The codebook, from its file or from the database.
  func read(_ connection: ConnectionOptions) throws -> Codebook {
    if isFile { return try namingFile(text) { try CodebookFile.read(path: text) } }
    return try CodebookCatalog(on: connection.connect()).codebook(named: text)
  }
}
