import ArgumentParser
import Foundation

/// The command-line tool `wrvq`.
@main
struct WRVQCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "wrvq",
    abstract: "Trains codebooks for wrvq indexes and keeps them in PostgreSQL.",
    version: "wrvq 1.0",
    subcommands: [
      TrainCommand.self, LoadCommand.self, ExportCommand.self, ListCommand.self, ShowCommand.self,
      DropCommand.self, EncodeCommand.self, DecodeCommand.self, EvaluateCommand.self,
    ],
    // -h is the host, as in psql.
    helpNames: .long)

  static func main() {
    do {
      var command = try parseAsRoot()
      try command.run()
    } catch {
      let diagnostic = Diagnostic(error)
      let stream: FileHandle = diagnostic.isAnswer ? .standardOutput : .standardError
      stream.write(Data("\(diagnostic.text)\n".utf8))
      Foundation.exit(diagnostic.exitStatus)
    }
  }
}
