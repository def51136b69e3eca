import Foundation

/// How to train one of the quantizers that WRVQ is compared with.
public struct BaselineConfiguration: Sendable {
  /// The number of codewords behind each code: 1…65,536 of 1…256 codes.
  public var codewordCounts: [Int]
  /// k-means iterations, 1…100.
  public var iterations: Int
  /// The same vectors, configuration and seed give the same quantizer.
  public var seed: UInt64
  /// Threads to train and encode with; no result depends on them.
  public var threads: Int
  /// Instruction set; the results of two differ by rounding.
  public var kernels: Kernels

  public init(
    codewordCounts: [Int], iterations: Int = 15, seed: UInt64 = 1,
    threads: Int = ProcessInfo.processInfo.activeProcessorCount, kernels: Kernels = .best
  ) {
    self.codewordCounts = codewordCounts
    self.iterations = iterations
    self.seed = seed
    self.threads = threads
    self.kernels = kernels
  }

  /// Throws unless the configuration can be trained on `rows`.
  func check(_ rows: [Float], dimensions: Int) throws {
    guard (1...256).contains(codewordCounts.count) else {
      throw BaselineError.codeCount(codewordCounts.count, expected: 1...256)
    }
    if let bad = codewordCounts.first(where: { !(1...65_536).contains($0) }) {
      throw BaselineError.codewordCount(bad, expected: 1...65_536)
    }
    guard dimensionsRange.contains(dimensions) else {
      throw TrainingError.dimensions(dimensions, expected: dimensionsRange)
    }
    if rows.isEmpty { throw TrainingError.emptySample }
    guard rows.count.isMultiple(of: dimensions) else {
      throw TrainingError.sampleSize(values: rows.count, dimensions: dimensions)
    }
    guard (1...100).contains(iterations) else {
      throw TrainingError.iterations(iterations, expected: 1...100)
    }
    if threads < 1 { throw TrainingError.threads(threads) }
    if let bad = rows.firstIndex(where: { !$0.isFinite }) {
      throw TrainingError.notFinite(row: bad / dimensions, dimension: bad % dimensions)
    }
  }
}

/// Why a baseline cannot be trained.
public enum BaselineError: Error, Equatable, CustomStringConvertible {
  case codeCount(Int, expected: ClosedRange<Int>)
  case codewordCount(Int, expected: ClosedRange<Int>)

  public var description: String {
    switch self {
    case .codeCount(let count, let expected):
      "\(count) codes; expected \(expected.lowerBound) to \(expected.upperBound)"
    case .codewordCount(let count, let expected):
      "\(count) codewords; expected \(expected.lowerBound) to \(expected.upperBound)"
    }
  }
}
