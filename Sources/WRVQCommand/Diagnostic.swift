import ArgumentParser
import PostgresClient
import WRVQ

/// How the process ends when a command did not simply succeed.
struct Diagnostic: Equatable {
  /// One line, and a second one with advice if there is any; the usage after a usage error.
  var text: String
  /// Whether the user asked for this text: help, or the version.
  var isAnswer: Bool
  /// 0 ok, 1 failed, 2 usage.
  var exitStatus: Int32

  init(_ error: any Error) {
    switch WRVQCommand.exitCode(for: error) {
    case .success:
      self.init(text: WRVQCommand.fullMessage(for: error), isAnswer: true, exitStatus: 0)
    case .validationFailure:
      var text = WRVQCommand.fullMessage(for: error)
      if text.hasPrefix("Error: ") { text.removeFirst("Error: ".count) }
      self.init(text: "wrvq: \(text)", isAnswer: false, exitStatus: 2)
    default:
      let message = "\(error)".split(whereSeparator: \.isNewline).joined(separator: " ")
      let advice = hint(for: error).map { "\nhint: \($0)" } ?? ""
      self.init(text: "wrvq: \(message)\(advice)", isAnswer: false, exitStatus: 1)
    }
  }

  private init(text: String, isAnswer: Bool, exitStatus: Int32) {
    self.text = text
    self.isAnswer = isAnswer
    self.exitStatus = exitStatus
  }
}

/// A failure that a command reports in its own words.
struct CommandFailure: Error, Equatable, CustomStringConvertible {
  var description: String
  var hint: String?

  init(_ description: String, hint: String? = nil) {
    self.description = description
    self.hint = hint
  }
}

private func hint(for error: any Error) -> String? {
  switch error {
  case let failure as CommandFailure: failure.hint
  case let error as PostgresError: error.hint
  case let error as VectorColumnError: error.hint
  default: nil
  }
}

/// Names the file in whatever goes wrong with it.
func namingFile<Value>(_ path: String, _ body: () throws -> Value) throws -> Value {
  do {
    return try body()
  } catch let error as FileError {
    throw CommandFailure("\(path): \(error)")
  } catch let error as EncodingError {
    throw CommandFailure("\(path): \(error)")
  } catch let error as CodebookError {
    throw CommandFailure("\(path): not a valid codebook: \(error)")
  }
}
