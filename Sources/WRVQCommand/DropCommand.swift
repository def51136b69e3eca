import ArgumentParser

/// `wrvq drop`: removes a codebook from a database.
struct DropCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "drop", abstract: "Removes a codebook from a database.",
    discussion: """
      An index keeps its own copy of the codebook and works on, but can only be restored from a \
      dump while a codebook of that name exists. So a codebook that indexes name is kept, unless \
      forced.
      """)

  @Argument(help: "The codebook's name.")
  var name: String

  @Flag(help: "Remove it although indexes name it.")
  var force = false

  @OptionGroup(title: "Connection")
  var connection: ConnectionOptions

  func validate() throws {
    try validateCodebookName(name)
  }

  func run() throws {
    let catalog = try CodebookCatalog(on: connection.connect())
    try catalog.connection.transaction {
      let indexes = force ? [] : try catalog.indexes(using: name)
      guard indexes.isEmpty else {
        throw CommandFailure(
          "codebook \"\(name)\" is named by \(indexes.count == 1 ? "index" : "indexes") "
            + indexes.joined(separator: ", "),
          hint: "Drop or rebuild them first, or use --force: they carry their own copy.")
      }
      try catalog.drop(name)
    }
    try report("codebook \"\(name)\" dropped", done: "Codebook \"\(name)\" is dropped")
  }
}
