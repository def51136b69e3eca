import Foundation
import WRVQ

/// The quantizers that WRVQ is compared with.
enum BaselineKind: String, CaseIterable {
  case rvq
  case pq
  case opq
  case additive

  var name: String {
    switch self {
    case .rvq: "RVQ"
    case .pq: "PQ"
    case .opq: "OPQ"
    case .additive: "additive"
    }
  }
}

/// Trains quantizers on the same vectors, and judges them on the same others.
struct QuantizerComparison {
  private let training: [Float]
  private let set: EvaluationSet
  private let metric: Codebook.Metric
  private let seed: UInt64
  private let threads: Int
  private let baselines: [BaselineKind]
  /// Ways of encoding with a codebook besides the greedy one.
  private let search: Search?
  private let progress: ProgressReporter
  /// What has been judged already: many comparisons want the same.
  private var judged: [Baseline: EvaluationReport.Quantizer] = [:]

  /// How to choose codes and weights with more effort.
  struct Search {
    var beam: Int
    var refits: Bool

    /// As in “WRVQ (L), beam 8, refit”.
    fileprivate var text: String {
      (beam > 1 ? ", beam \(beam)" : "") + (refits ? ", refit" : "")
    }
  }

  /// How to train a codebook: level by level (L), or all levels together after that (T).
  struct Method {
    var adam: AdamConfiguration?
  }

  private struct Baseline: Hashable {
    var kind: BaselineKind
    var codewordCounts: [Int]
  }

  init(
    training: [Float], set: EvaluationSet, metric: Codebook.Metric, seed: UInt64, threads: Int,
    baselines: [BaselineKind], search: Search?, progress: ProgressReporter
  ) {
    self.training = training
    self.set = set
    self.metric = metric
    self.seed = seed
    self.threads = threads
    self.baselines = baselines
    self.search = search
    self.progress = progress
  }

  /// Trains WRVQ by each method, and compares it with the baselines.
  mutating func compare(
    _ levels: [LevelSpecification], weight: Codebook.WeightRule, weightBits: Int,
    methods: [Method]
  ) throws -> EvaluationReport.Comparison {
    let progress = progress
    return try compare(
      methods.map { method in
        let configuration = TrainingConfiguration(
          metric: metric, levels: levels, weightRule: weight, weightBits: weightBits,
          adam: method.adam, seed: seed, threads: threads)
        let name = method.adam == nil ? "WRVQ (L)" : "WRVQ (T)"
        let start = ContinuousClock.now
        let codebook = try CodebookTrainer.train(
          sample: training, dimensions: set.dimensions, configuration: configuration
        ) { step in
          progress.report(
            "training \(name)" + (step.descent == nil ? "" : ", all levels"), step.fraction)
        }
        return (name, codebook, (ContinuousClock.now - start) / .seconds(1))
      })
  }

  /// Compares a codebook that there is with the baselines.
  mutating func compare(_ codebook: Codebook) throws -> EvaluationReport.Comparison {
    try compare([("WRVQ", codebook, nil)])
  }

  private mutating func compare(
    _ contestants: [(name: String, codebook: Codebook, seconds: Double?)]
  ) throws -> EvaluationReport.Comparison {
    let first = contestants[0].codebook
    var comparison = EvaluationReport.Comparison(first)
    for contestant in contestants {
      for search in [nil] + (search.map { [$0] } ?? []) {
        let quantizer = try CodebookQuantizer(
          contestant.codebook, beam: search?.beam ?? 1, refitsWeights: search?.refits ?? false,
          threads: threads)
        comparison.quantizers.append(
          try judge(
            quantizer, contestant.name + (search?.text ?? ""), codes: first.codeText,
            paperBits: first.paperBits, seconds: contestant.seconds))
      }
    }
    let atCodes = Self.counts(atCodesOf: first)
    let atBytes = Self.counts(atBytesOf: try CodebookQuantizer(first, threads: threads).bytes)
    for (equal, counts) in [("codes", atCodes), ("bytes", atBytes)] {
      if equal == "bytes" && counts == atCodes { continue }
      for kind in baselines {
        do {
          var quantizer = try judge(Baseline(kind: kind, codewordCounts: counts))
          quantizer.equal = equal
          comparison.quantizers.append(quantizer)
        } catch let error as BaselineError {
          comparison.notes.append("\(kind.name) at equal \(equal) is left out: \(error)")
        }
      }
    }
    return comparison
  }

  /// As many codewords for each code as the levels have; of product levels, codes of 8 bits.
  private static func counts(atCodesOf codebook: Codebook) -> [Int] {
    let counts = codebook.levels.map { level -> Int? in
      if case .flat(let count) = level.kind { count } else { nil }
    }
    if !counts.contains(nil) { return counts.compactMap { $0 } }
    let bits = codebook.levels.reduce(0) { $0 + $1.codeBits }
    return [Int](repeating: 256, count: (bits + 7) / 8)
  }

  /// Codes of a byte each, rounded up in favour of the baselines.
  private static func counts(atBytesOf bytes: Double) -> [Int] {
    [Int](repeating: 256, count: max(1, Int(bytes.rounded(.up))))
  }

  private mutating func judge(_ baseline: Baseline) throws -> EvaluationReport.Quantizer {
    if let known = judged[baseline] { return known }
    let counts = baseline.codewordCounts, name = baseline.kind.name, progress = progress
    let configuration = BaselineConfiguration(
      codewordCounts: counts, seed: seed, threads: threads)
    let stage = "training \(name) of \(counts.count) codes"
    progress.report(stage, 0)
    let start = ContinuousClock.now
    let quantizer = try train(baseline.kind, configuration) { progress.report(stage, $0) }
    let seconds = (ContinuousClock.now - start) / .seconds(1)
    let text = Set(counts).count == 1 ? "\(counts.count) × \(counts[0])" : "\(counts.count)"
    let result = try judge(quantizer, name, codes: text, paperBits: nil, seconds: seconds)
    judged[baseline] = result
    return result
  }

  private func train(
    _ kind: BaselineKind, _ configuration: BaselineConfiguration,
    _ progress: @escaping (Double) -> Void
  ) throws -> any VectorQuantizer {
    let d = set.dimensions
    return switch kind {
    case .rvq:
      try ResidualQuantizer(
        training: training, dimensions: d, configuration, progress: progress)
    case .pq:
      try ProductQuantizer(training: training, dimensions: d, configuration, progress: progress)
    case .opq:
      try RotatedProductQuantizer(
        training: training, dimensions: d, configuration, progress: progress)
    case .additive:
      try AdditiveQuantizer(training: training, dimensions: d, configuration, progress: progress)
    }
  }

  private func judge(
    _ quantizer: some VectorQuantizer, _ name: String, codes: String, paperBits: Int?,
    seconds: Double?
  ) throws -> EvaluationReport.Quantizer {
    progress.report("judging \(name) of \(quantizer.bytes) bytes")
    let evaluation = try QuantizerEvaluation(quantizer, on: set)
    return EvaluationReport.Quantizer(
      name, quantizer, evaluation, set, codes: codes, paperBits: paperBits, seconds: seconds)
  }
}

extension Codebook {
  /// The levels' codewords in short, `16 × 256` where all are alike.
  fileprivate var codeText: String {
    let texts = levels.map { level in
      switch level.kind {
      case .flat(let count): "\(count)"
      case .product(let pieces, _): "\(pieces) × 16"
      }
    }
    return texts.count > 1 && Set(texts).count == 1
      ? "\(texts.count) × \(texts[0])" : texts.joined(separator: " + ")
  }

  /// Bits as the paper counts them (eq. 9): a weight at every level, the first one too.
  fileprivate var paperBits: Int {
    let weightBits = levels.last?.weightBits ?? 0
    return levels.reduce(0) { $0 + $1.codeBits + weightBits }
  }
}
