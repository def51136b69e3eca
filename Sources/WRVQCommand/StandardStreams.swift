import ArgumentParser
import Foundation
import WRVQ

/// Writes a line to standard output, and tells if that fails.
///
/// - Parameter done: What the command has done by now, for the user to know if only the report of
///   it is lost.
func report(_ text: String, done: String? = nil) throws {
  try write(text, to: STDOUT_FILENO, done: done)
}

/// Like `report`, but where the data themselves went to standard output, to standard error.
func report(_ text: String, besides output: String?, done: String? = nil) throws {
  let isTaken = output.map(OutputFile.isStandardOutput) ?? false
  try write(text, to: isTaken ? STDERR_FILENO : STDOUT_FILENO, done: done)
}

/// Throws a usage error if the data and JSON would both go to standard output.
func validateOutput(_ output: String?, json: Bool) throws {
  if let output, json, OutputFile.isStandardOutput(path: output) {
    throw ValidationError("--json and --output both go to standard output: name a file")
  }
}

private func write(_ text: String, to descriptor: Int32, done: String?) throws {
  guard let error = writeAll(Data("\(text)\n".utf8), to: descriptor) else { return }
  let stream = descriptor == STDOUT_FILENO ? "standard output" : "standard error"
  throw CommandFailure(
    "\(stream) cannot be written: \(String(cString: strerror(error)))",
    hint: done.map { "\($0); only the report of it is lost." })
}

/// Writes to standard error; there is nobody to tell if that fails.
func tell(_ text: String) {
  _ = writeAll(Data(text.utf8), to: STDERR_FILENO)
}

/// Makes errors of the standard streams visible, before anything is opened.
func prepareStandardStreams() {
  // A closed pipe is an error like others, with a message and an exit status.
  signal(SIGPIPE, SIG_IGN)
  // A closed stream's number would go to the next file or connection opened, which would then get
  // what is printed.  One that cannot be written keeps the number, and lets printing fail.
  for (stream, mode) in [
    (STDIN_FILENO, O_WRONLY), (STDOUT_FILENO, O_RDONLY), (STDERR_FILENO, O_RDONLY),
  ] where fcntl(stream, F_GETFD) < 0 {
    _ = open("/dev/null", mode)
  }
}

/// The library's `print` ignores that a disk is full or a pipe closed.
@available(*, unavailable, message: "use report(), which checks that the text was written")
func print(_ items: Any...) {}
