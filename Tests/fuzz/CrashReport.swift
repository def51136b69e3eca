import Foundation

/// Says which cases were being read when the process dies.
enum CrashReport {
  /// `[workers × 2]`: the reader's and the case's numbers.
  nonisolated(unsafe) private static var current: UnsafeMutablePointer<Int>?
  nonisolated(unsafe) private static var workers = 0

  /// Longer than a million cases take; a reader that does not end is as bad as one that crashes.
  private static let seconds: UInt32 = 900

  static func install(workers: Int) {
    current = .allocate(capacity: 2 * workers)
    current!.initialize(repeating: -1, count: 2 * workers)
    Self.workers = workers
    for number in [SIGILL, SIGTRAP, SIGSEGV, SIGBUS, SIGABRT, SIGFPE, SIGALRM] {
      signal(number) { number in CrashReport.tell(number) }
    }
    alarm(seconds)
  }

  static func now(_ worker: Int, _ reader: Int, _ number: Int) {
    current![2 * worker] = reader
    current![2 * worker + 1] = number
  }

  /// Only what a signal handler may do: no allocation.
  private static func tell(_ number: Int32) {
    write("not ok: killed by signal ", Int(number))
    for worker in 0..<workers {
      write("\n  reader ", current![2 * worker])
      write(", case ", current![2 * worker + 1])
    }
    write("\n")
    _exit(1)
  }

  private static func write(_ text: StaticString, _ value: Int? = nil) {
    _ = Foundation.write(STDOUT_FILENO, text.utf8Start, text.utf8CodeUnitCount)
    guard var rest = value.map({ UInt64(max($0, 0)) }) else { return }
    withUnsafeTemporaryAllocation(of: UInt8.self, capacity: 20) { digits in
      var first = 20
      repeat {
        first -= 1
        digits[first] = UInt8(48 + rest % 10)
        rest /= 10
      } while rest > 0
      _ = Foundation.write(STDOUT_FILENO, digits.baseAddress! + first, 20 - first)
    }
  }
}
