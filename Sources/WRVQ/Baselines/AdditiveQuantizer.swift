import CWRVQKernels

/// Additive quantization (AQ, LSQ): vectors as sums of codewords of which every one is in full
/// dimension, all codes of a vector chosen together; no weights.
///
/// Starting from residual quantization, training takes turns: the codewords by least squares, and
/// the codes by iterated conditional modes, disturbed at random and repeated.
/// - seealso: Babenko, Lempitsky, "Additive quantization for extreme vector compression", CVPR 2014;
///   Martinez, Clement, Hoos, Little, "Revisiting additive quantization", ECCV 2016 (LSQ), and its
///   successor of ECCV 2018 (LSQ++), from which the noise on the codewords is taken.
public struct AdditiveQuantizer: VectorQuantizer {
  /// More codes than this would take hours and gigabytes.
  public static let maximumCodes = 32

  /// How hard to look for a vector's codes.
  public struct Effort: Sendable, Equatable {
    /// How often codes are disturbed, of which the best are kept.
    public var trials: Int
    /// Passes over all codes after each disturbance, at most.
    public var passes: Int
    /// Codes that are disturbed at a time.
    public var disturbed: Int

    public init(trials: Int, passes: Int = 4, disturbed: Int = 4) {
      precondition(trials >= 0 && passes >= 1 && disturbed >= 1)
      (self.trials, self.passes, self.disturbed) = (trials, passes, disturbed)
    }
  }

  let codewords: [CodewordSet]
  public let dimensions: Int
  private let search: AdditiveSearch
  private let effort: Effort
  private let seed: UInt64
  private let threads: Int

  public var codeBits: Int { codewords.reduce(0) { $0 + WRVQ.codeBits($1.count) } }
  public var weightBits: Int { 0 }
  public var levelCount: Int { 1 }

  /// Trains on vectors.
  ///
  /// - Parameters:
  ///   - rows: `n × dimensions`, finite.
  ///   - configuration: At most `maximumCodes` numbers of codewords.
  ///   - rounds: How often codewords and codes take turns, at least 1.
  ///   - effort: Of encoding; in training, half the trials.
  ///   - progress: Told the share of the work that is done.
  /// - Throws: `BaselineError` or `TrainingError`.
  /// - Complexity: O(rows × codes² × codewords × trials × passes) for each round, and memory for
  ///   the products of all codewords, once in tables and once more while they are fitted.
  public init(
    training rows: [Float], dimensions: Int, _ configuration: BaselineConfiguration,
    rounds: Int = 25, effort: Effort = Effort(trials: 16), progress: ((Double) -> Void)? = nil
  ) throws {
    precondition(rounds >= 1)
    let count = configuration.codewordCounts.count
    guard (1...Self.maximumCodes).contains(count) else {
      throw BaselineError.codeCount(count, expected: 1...Self.maximumCodes)
    }
    let start = try ResidualQuantizer(training: rows, dimensions: dimensions, configuration)
    let kernels = configuration.kernels.table
    (seed, threads) = (configuration.seed, configuration.threads)
    (self.dimensions, self.effort) = (dimensions, effort)
    var codewords = start.levels
    var codes = try start.encode(rows)
    let quick = Effort(
      trials: (effort.trials + 1) / 2, passes: effort.passes, disturbed: effort.disturbed)
    let fit = AdditiveFit(rows: rows, dimensions: dimensions, threads: threads, kernels: kernels)
    for round in 0..<rounds {
      progress?(Double(round) / Double(rounds))
      codewords = try fit.codewords(codewords, for: codes)
      // Noise that dies down keeps the search out of the first hollow.
      let heat = 1 - Double(round + 1) / Double(rounds)
      let moved = fit.disturbed(codewords, heat: heat, seed: seed &+ UInt64(round))
      let search = AdditiveSearch(moved, kernels: kernels)
      codes = search.codes(
        of: rows, startingFrom: codes, quick, seed: seed &+ UInt64(round), threads: threads)
    }
    codewords = try fit.codewords(codewords, for: codes)
    self.codewords = codewords
    search = AdditiveSearch(codewords, kernels: kernels)
  }

  /// Chooses codes greedily, then all of them over and over.
  ///
  /// A row's codes do not depend on the rows that it is encoded with.
  /// - Throws: `EncodingError`.
  /// - Complexity: O(rows × codes² × codewords × trials × passes).
  public func encode(_ rows: [Float]) throws -> QuantizerCodes {
    _ = try checkedRowCount(rows)
    return search.codes(of: rows, startingFrom: nil, effort, seed: seed, threads: threads)
  }

  public func decode(_ encoded: QuantizerCodes, levels: Int) throws -> [Float] {
    precondition(levels == 1)
    return try codewords.sums(of: encoded, leading: codewords.count, threads: threads)
  }
}
