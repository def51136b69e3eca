import CWRVQKernels
import WRVQ

/// An instruction-set level, with its table of kernels.
public typealias KernelLevel = Kernels.Level

extension Kernels.Level {
  /// The levels that this processor runs; says once which one it cannot.
  public static let available: [Kernels.Level] = allCases.filter { level in
    if !level.isSupported { print("\(level.rawValue) kernels not tested: no such processor") }
    return level.isSupported
  }

  public var kernels: wrvq_kernels { Kernels(self).table }
}
