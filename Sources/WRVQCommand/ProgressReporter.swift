import Foundation

/// Tells on standard error how far long work has come.
///
/// On a terminal one line is rewritten; elsewhere plain lines come, one per
/// stage and tenth of it.
final class ProgressReporter {
  private let isTerminal = isatty(STDERR_FILENO) == 1
  private var lastStage = ""
  private var lastTenth = -1
  private var lastTime = ContinuousClock.Instant.now
  private var hasOpenLine = false

  /// Reports a stage's share done, from 0 to 1; nil if that is not known.
  func report(_ stage: String, _ fraction: Double? = nil) {
    let isNewStage = stage != lastStage
    let tenth = fraction.map { Int(min(max($0, 0), 1) * 10) } ?? 0
    let now = ContinuousClock.now
    let percent = fraction.map { ": \(Int(min(max($0, 0), 1) * 100)) %" } ?? ""
    if isTerminal {
      guard isNewStage || tenth == 10 || now - lastTime >= .milliseconds(100) else { return }
      // Back to the first column, and clear what the shorter line leaves.
      write("\r\(stage)\(percent)\u{1b}[K")
      hasOpenLine = true
    } else {
      guard isNewStage || tenth > lastTenth else { return }
      write("\(stage)\(percent)\n")
    }
    (lastStage, lastTenth, lastTime) = (stage, tenth, now)
  }

  /// Clears the line, so that results or an error begin on a fresh one.
  func finish() {
    if hasOpenLine { write("\r\u{1b}[K") }
    hasOpenLine = false
  }

  deinit {
    finish()
  }

  private func write(_ text: String) {
    FileHandle.standardError.write(Data(text.utf8))
  }
}
