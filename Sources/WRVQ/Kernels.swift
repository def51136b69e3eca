import CWRVQKernels
import Foundation
import WRVQKernels

#if WRVQ_HAVE_V3
  import WRVQKernelsV3
#endif

/// The kernels of one instruction-set level.
public struct Kernels: Sendable {
  /// Instruction sets that the kernels are compiled for.
  public enum Level: String, Sendable, CaseIterable {
    case baseline
    case v3 = "x86-64-v3"

    /// Does this machine run code of the level?
    public var isSupported: Bool {
      switch self {
      case .baseline: return true
      case .v3:
        #if WRVQ_HAVE_V3
          return wrvq_cpu_is_v3() != 0
        #else
          return false
        #endif
      }
    }
  }

  public let level: Level
  /// Distances, encoding, queries (wrvq_kernels.h).
  public let table: wrvq_kernels
  /// Vectors as values of codes (wrvq_codes.h).
  public let codes: wrvq_code_kernels
  /// Training (wrvq_training.h).
  public let training: wrvq_training_kernels

  /// The kernels of a level, which must be supported.
  public init(_ level: Level) {
    precondition(level.isSupported, "this machine does not run \(level.rawValue) code")
    self.level = level
    #if WRVQ_HAVE_V3
      if level == .v3 {
        table = filled(wrvq_kernels_v3)
        codes = filled(wrvq_code_kernels_v3)
        training = filled(wrvq_training_v3)
        return
      }
    #endif
    table = filled(wrvq_kernels_base)
    codes = filled(wrvq_code_kernels_base)
    training = filled(wrvq_training_base)
  }

  /// The levels that this machine supports, slowest first.
  public static let supported: [Kernels] = Level.allCases.filter(\.isSupported).map(Kernels.init)

  /// The fastest kernels that this machine supports.
  ///
  /// The environment variable `WRVQ_FORCE_BASELINE=1` makes that the baseline.
  public static let best: Kernels =
    ProcessInfo.processInfo.environment["WRVQ_FORCE_BASELINE"] == "1"
    ? Kernels(.baseline) : supported[supported.count - 1]
}

private func filled<Table>(_ fill: (UnsafeMutablePointer<Table>) -> Void) -> Table {
  withUnsafeTemporaryAllocation(of: Table.self, capacity: 1) {
    fill($0.baseAddress!)
    return $0[0]
  }
}
