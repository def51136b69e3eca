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
  private var stageBegin: (time: ContinuousClock.Instant, fraction: Double) = (.now, 0)

  /// Reports a stage's share done, from 0 to 1; nil if that is not known.
  ///
  /// - Parameters:
  ///   - detail: What there is to say beside it.
  ///   - estimate: Say how long the stage will still take, by what it took.
  func report(
    _ stage: String, _ fraction: Double? = nil, detail: String? = nil, estimate: Bool = false
  ) {
    let isNewStage = stage != lastStage
    if isNewStage { stageBegin = (.now, fraction ?? 0) }
    let tenth = fraction.map { Int(min(max($0, 0), 1) * 10) } ?? 0
    let now = ContinuousClock.now
    var percent = fraction.map { ": \(Int(min(max($0, 0), 1) * 100)) %" } ?? ""
    if let detail { percent += ", \(detail)" }
    if estimate, let left = timeLeft(fraction ?? 0) { percent += ", \(left) left" }
    if isTerminal {
      guard isNewStage || tenth == 10 || now - lastTime >= .milliseconds(100) else { return }
      // Back to the first column, and clear what the shorter line leaves.
      tell("\r\(stage)\(percent)\u{1b}[K")
      hasOpenLine = true
    } else {
      guard isNewStage || tenth > lastTenth else { return }
      tell("\(stage)\(percent)\n")
    }
    (lastStage, lastTenth, lastTime) = (stage, tenth, now)
  }

  /// As minutes and seconds; nil while there is nothing to tell it by.
  private func timeLeft(_ fraction: Double) -> String? {
    let done = fraction - stageBegin.fraction
    guard done > 0 else { return nil }
    let elapsed = Double((ContinuousClock.now - stageBegin.time).components.seconds)
    let seconds = Int(elapsed * (1 - fraction) / done)
    return "\(seconds / 60):\(seconds % 60 < 10 ? "0" : "")\(seconds % 60)"
  }

  /// Clears the line, so that results or an error begin on a fresh one.
  func finish() {
    if hasOpenLine { tell("\r\u{1b}[K") }
    hasOpenLine = false
  }

  deinit {
    finish()
  }
}
