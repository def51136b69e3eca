import ArgumentParser
import Testing

@testable import WRVQCommand

@Suite struct HelpTests {
  static let commands: [(any ParsableCommand.Type, String)] = [
    (WRVQCommand.self, HelpTexts.wrvq), (TrainCommand.self, HelpTexts.train),
    (LoadCommand.self, HelpTexts.load), (ExportCommand.self, HelpTexts.export),
    (ListCommand.self, HelpTexts.list), (ShowCommand.self, HelpTexts.show),
    (DropCommand.self, HelpTexts.drop), (EncodeCommand.self, HelpTexts.encode),
    (DecodeCommand.self, HelpTexts.decode), (EvaluateCommand.self, HelpTexts.evaluate),
  ]

  @Test(arguments: commands.indices) func helpIsWhatUsersRead(index: Int) {
    let (command, expected) = Self.commands[index]
    let help = WRVQCommand.helpMessage(for: command, columns: 80)
    let lines = help.split(separator: "\n", omittingEmptySubsequences: false).map { line in
      String(line.reversed().drop { $0 == " " }.reversed())
    }
    #expect(lines.joined(separator: "\n") == expected)
  }

  @Test func everyCommandIsTested() {
    #expect(WRVQCommand.configuration.subcommands.count + 1 == Self.commands.count)
  }

  @Test(arguments: [["--help"], ["train", "--help"], ["--version"]])
  func helpIsAnAnswer(arguments: [String]) throws {
    // To show help is a command, too: it ends by throwing the text.
    let error = #expect(throws: (any Error).self) {
      var command = try WRVQCommand.parseAsRoot(arguments)
      try command.run()
    }
    let diagnostic = Diagnostic(try #require(error))
    #expect(diagnostic.isAnswer && diagnostic.exitStatus == 0)
  }
}
