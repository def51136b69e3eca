import ArgumentParser
import Foundation
import WRVQ

/// `wrvq evaluate`: a codebook beside the quantizers it has to beat.
struct EvaluateCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "evaluate",
    abstract: "Compares codebooks with other quantizers on vectors held out of training.",
    usage: """
      wrvq evaluate (--table <table> --column <column> | --input <file>) [<options>]
      """,
    discussion: """
      Trains WRVQ and, at as many codes and at as many bytes a vector, RVQ, PQ, OPQ and an additive \
      quantizer; encodes the test rows, and ranks them for the queries by their codes. Prints the \
      quantization loss, and the recall: of the 10 nearest test rows, say, the share among the 10 \
      that the codes put first (ADC: the query itself compared with codes; SDC: its code). Bytes \
      count all codes and all weights of a vector.
      """)

  @OptionGroup
  var vectors: VectorOptions

  @Option(
    help: ArgumentHelp(
      "Judge this codebook, a name or a file, instead of training one.",
      valueName: "name-or-file"))
  var codebook: CodebookReference?

  @Option(
    parsing: .singleValue,
    help: "The levels to train, as for train; may be repeated. (default: by the number of rows)")
  var levels: [String] = []

  @Option(
    parsing: .singleValue,
    help: "Bits of a stored weight; may be repeated. (default: 16)")
  var weightBits: [Int] = []

  @Option(
    parsing: .singleValue,
    help: "How to train: linear (L) or adam (T), as train; may be repeated. (default: linear)")
  var method: [TrainCommand.Method] = []

  @Option(help: "Of adam: mini-batches, 1 to 100000. (default: 1000)")
  var iterations: Int?

  @Option(help: "How a level's weight is chosen. (default: projection)")
  var weight: TrainCommand.Weight?

  @Option(
    help: "Encode with the codebook a second time, with a beam of so many ways to code, 1 to 256.")
  var beam = 1

  @Flag(help: "Encode with it a second time, and fit all weights of a vector together.")
  var refit = false

  @Option(help: "The distance to rank by. (default: l2, or the codebook's)")
  var metric: Codebook.Metric?

  @Option(
    parsing: .singleValue,
    help: "Compare with this quantizer, or with none; may be repeated. (default: all)")
  var baseline: [BaselineChoice] = []

  @Option(help: "Train on this many vectors. (default: as train)")
  var sample: Int?

  @Option(help: "Hold out this many rows for the test. (default: 10000, or half of the rows)")
  var testRows: Int?

  @Option(help: ArgumentHelp("A file of test rows instead: .npy or .fvecs.", valueName: "file"))
  var test: String?

  @Option(
    help: ArgumentHelp(
      "A file of queries: .npy or .fvecs. (default: 1000 of the test rows)", valueName: "file"))
  var queries: String?

  @OptionGroup
  var work: WorkOptions

  @OptionGroup(title: "Connection")
  var connection: ConnectionOptions

  func validate() throws {
    try validateTraining()
    guard (1...256).contains(beam) else { throw ValidationError("--beam must be from 1 to 256") }
    guard testRows == nil || test == nil else {
      throw ValidationError("give either --test-rows or --test")
    }
    guard testRows ?? 1 >= 1 else { throw ValidationError("--test-rows must be at least 1") }
    guard sample ?? 1 >= 1 else { throw ValidationError("--sample must be at least 1") }
    guard baseline.count < 2 || !baseline.contains(.none) else {
      throw ValidationError("--baseline none goes with no other")
    }
  }

  private func validateTraining() throws {
    if let codebook {
      try codebook.validate()
      guard levels.isEmpty, method.isEmpty, weightBits.isEmpty, weight == nil, metric == nil else {
        throw ValidationError(
          "--levels, --method, --weight, --weight-bits and --metric do not go with --codebook, "
            + "which has its own")
      }
    }
    for levels in levels {
      do {
        _ = try LevelSpecification.parse(levels)
      } catch {
        throw ValidationError("--levels: \(error)")
      }
    }
    guard iterations == nil || method.contains(.adam) else {
      throw ValidationError("--iterations goes with --method adam")
    }
    guard (1...100_000).contains(iterations ?? 1) else {
      throw ValidationError("--iterations must be from 1 to 100000")
    }
    guard Set(method).count == method.count else {
      throw ValidationError("--method is given twice with the same value")
    }
    guard weightBits.allSatisfy(Codebook.Level.weightBitsChoices.contains) else {
      throw ValidationError("--weight-bits must be 16, 8, 4, 3 or 2")
    }
  }

  func run() throws {
    let evaluation = try evaluate()
    try report(work.json ? jsonText(evaluation) : evaluation.text)
  }

  /// Does the work.
  func evaluate() throws -> EvaluationReport {
    let codebook = try codebook?.read(connection)
    let progress = ProgressReporter()
    let metric = codebook?.metric ?? metric ?? .l2
    let vectors = try EvaluationVectors(self, metric: metric, progress: progress)
    if let codebook, codebook.dimensions != vectors.dimensions {
      throw EncodingError.dimensions(vectors.dimensions, expected: codebook.dimensions)
    }
    if codebook == nil { try checkSample(vectors, metric) }
    progress.report("finding the queries' true neighbours")
    let set = EvaluationSet(
      rows: vectors.test, queries: vectors.queries, dimensions: vectors.dimensions, metric: metric,
      threads: work.threadCount)
    var comparison = QuantizerComparison(
      training: vectors.training, set: set, metric: metric, seed: work.seed,
      threads: work.threadCount,
      baselines: baseline.isEmpty ? BaselineKind.allCases : baseline.compactMap(\.kind),
      search: beam > 1 || refit ? QuantizerComparison.Search(beam: beam, refits: refit) : nil,
      progress: progress)
    var report = EvaluationReport(set, vectors, metric: metric, seed: work.seed)
    if let codebook {
      report.comparisons = [try comparison.compare(codebook)]
    } else {
      for levels in try allLevels(vectors) {
        for bits in weightBits.isEmpty ? [16] : weightBits {
          report.comparisons.append(
            try comparison.compare(
              levels, weight: weight == .norm ? .norm : .projection, weightBits: bits,
              methods: methods))
        }
      }
    }
    progress.finish()
    return report
  }
}

extension EvaluateCommand {
  /// Finds out before the work whether there are rows enough for each of the levels.
  private func checkSample(_ vectors: EvaluationVectors, _ metric: Codebook.Metric) throws {
    for levels in try allLevels(vectors) {
      try LevelSpecification.check(levels, dimensions: vectors.dimensions)
      let rows = methods.map { method in
        TrainingConfiguration(metric: metric, levels: levels, adam: method.adam)
          .trainingRows(of: vectors.training.count / vectors.dimensions)
      }
      try SampleCheck(levels, rows: rows.min()!).run()
    }
  }

  private func allLevels(_ vectors: EvaluationVectors) throws -> [[LevelSpecification]] {
    try levels.isEmpty ? [vectors.levels] : levels.map(LevelSpecification.parse)
  }

  private var methods: [QuantizerComparison.Method] {
    (method.isEmpty ? [.linear] : method).map { method in
      QuantizerComparison.Method(
        adam: method == .adam ? AdamConfiguration(iterations: iterations ?? 1000) : nil)
    }
  }
}

/// `--baseline`.
enum BaselineChoice: String, CaseIterable, ExpressibleByArgument {
  case rvq
  case pq
  case opq
  case additive
  case none

  var kind: BaselineKind? { BaselineKind(rawValue: rawValue) }
}
