import ArgumentParser

/// `wrvq list`: the codebooks of a database.
struct ListCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "list", abstract: "Lists the codebooks in a database.")

  @Flag(help: "Print JSON.")
  var json = false

  @OptionGroup(title: "Connection")
  var connection: ConnectionOptions

  func run() throws {
    let summaries = try CodebookCatalog(on: connection.connect()).summaries()
    try report(json ? jsonText(summaries) : table(summaries))
  }

  private func table(_ summaries: [CodebookSummary]) -> String {
    var table = TextTable(
      header: ["name", "dimensions", "metric", "levels", "loss", "indexes", "created"])
    for summary in summaries {
      table.append([
        summary.name ?? "", "\(summary.dimensions)", summary.metric, summary.levelsText,
        summary.levels.last?.loss.map(lossText) ?? "–", "\(summary.indexes?.count ?? 0)",
        summary.created ?? "",
      ])
    }
    return "\(table)"
  }
}
