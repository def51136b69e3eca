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
    prepareStandardStreams()
    do {
      var command = try parseAsRoot()
      try command.run()
    } catch {
      Foundation.exit(end(with: Diagnostic(error)))
    }
  }

  /// Tells how the process ends, and returns its exit status.
  private static func end(with diagnostic: Diagnostic) -> Int32 {
    guard diagnostic.isAnswer else {
      tell("\(diagnostic.text)\n")
      return diagnostic.exitStatus
    }
    do {
      try report(diagnostic.text)
      return diagnostic.exitStatus
    } catch {
      return end(with: Diagnostic(error))
    }
  }
}
