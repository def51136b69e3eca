import ArgumentParser

/// `wrvq drop`: removes a codebook from a database.
struct DropCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "drop", abstract: "Removes a codebook from a database.",
    discussion: """
      A codebook that anything needs is kept, unless forced: indexes and expressions that name it, \
      and columns that hold codes of it, or that cannot be read. All columns of type wrvq_code are \
      searched. An index keeps its own copy and works on, but can only be restored from a dump \
      while a codebook of that name exists; codes cannot be read without their codebook.
      """)

  @Argument(help: "The codebook's name.")
  var name: String

  @Flag(help: "Remove it whatever needs it, without a search.")
  var force = false

  @OptionGroup(title: "Connection")
  var connection: ConnectionOptions

  func validate() throws {
    try validateCodebookName(name)
  }

  func run() throws {
    let catalog = try CodebookCatalog(on: connection.connect())
    try catalog.checkRemovable(name)
    if !force { try catalog.checkUnneeded(name, ProgressReporter()) }
    try catalog.drop(name)
    try report("codebook \"\(name)\" dropped", done: "Codebook \"\(name)\" is dropped")
  }
}
