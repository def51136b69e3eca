import ArgumentParser
import Foundation
import WRVQ

/// `wrvq train`: from vectors to a codebook.
struct TrainCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "train",
    abstract: "Trains a codebook on vectors from a table or a file.",
    usage: """
      wrvq train (--table <table> --column <column> | --input <file>)
                        (--name <name> | --output <file>) [<options>]
      """,
    discussion: """
      Give the vectors as --table and --column, or as --input; give the codebook a --name in the \
      database, or an --output file. The same vectors, options and seed give the same codebook.
      """)

  /// `--weight`: the rules that make sense above level 0.
  enum Weight: String, CaseIterable, ExpressibleByArgument {
    case projection
    case norm
  }

  @OptionGroup
  var vectors: VectorOptions

  @Option(help: "Store the codebook in the database under this name.")
  var name: String?

  @Option(
    help: ArgumentHelp(
      "Write the codebook to this file (.safetensors); - is standard output.", valueName: "file"))
  var output: String?

  @Option(help: "The distance to preserve.")
  var metric: Codebook.Metric = .l2

  @Option(
    help: """
      The levels, for example flat:1024,flat:16,product:4: codewords of a flat level, dimensions \
      a piece of a product level. (default: by the number of rows)
      """)
  var levels: String?

  /// `--method`.
  enum Method: String, CaseIterable, ExpressibleByArgument {
    case linear
    case adam
  }

  @Option(
    help: """
      linear: level by level; adam: then all levels together by gradient descent, for less loss in \
      more time.
      """)
  var method: Method = .linear

  @Option(help: "Of adam: mini-batches, 1 to 100000. (default: 1000)")
  var iterations: Int?

  @Option(
    help: """
      Of adam: the rate that it begins with, at most 1. (default: 0.001; 0.01 for four flat levels \
      of 256 codewords and up)
      """)
  var learningRate: Float?

  @Option(help: "Of adam: rows of a mini-batch. (default: 4096)")
  var batch: Int?

  @Option(
    help: "Of adam: ways to code a vector that its search of codes keeps, 1 to 256. (default: 2)")
  var beam: Int?

  @Option(
    help: ArgumentHelp(
      "Of adam: a file that keeps the state; if it is there, training goes on from it.",
      valueName: "file"))
  var checkpoint: String?

  @Option(help: "How a level's weight is chosen.")
  var weight: Weight = .projection

  @Option(help: "Bits of a stored weight: 16, 8, 4, 3 or 2.")
  var weightBits = 16

  @Option(
    help: """
      Train on this many vectors: at least one a codeword, better 10. (default: 50 for each \
      codeword of level 0, but 10000 to 200000, or 10 for each, and at most 1 GiB)
      """)
  var sample: Int?

  @OptionGroup
  var work: WorkOptions

  @OptionGroup(title: "Connection")
  var connection: ConnectionOptions

  func validate() throws {
    guard (name == nil) != (output == nil) else {
      throw ValidationError("give either --name or --output")
    }
    if let name { try validateCodebookName(name) }
    if let levels {
      do {
        _ = try LevelSpecification.parse(levels)
      } catch {
        throw ValidationError("--levels: \(error)")
      }
    }
    guard Codebook.Level.weightBitsChoices.contains(weightBits) else {
      throw ValidationError("--weight-bits must be 16, 8, 4, 3 or 2")
    }
    try validateAdam()
    try validateOutput(output, json: work.json)
    guard sample ?? 1 >= 1 else { throw ValidationError("--sample must be at least 1") }
  }

  private func validateAdam() throws {
    let given = [
      ("--iterations", iterations != nil), ("--learning-rate", learningRate != nil),
      ("--batch", batch != nil), ("--beam", beam != nil), ("--checkpoint", checkpoint != nil),
    ]
    if method != .adam, let option = given.first(where: \.1)?.0 {
      throw ValidationError("\(option) goes with --method adam")
    }
    guard (1...100_000).contains(iterations ?? 1) else {
      throw ValidationError("--iterations must be from 1 to 100000")
    }
    if let learningRate, !(learningRate > 0 && learningRate <= 1) {
      throw ValidationError("--learning-rate must be above 0 and at most 1")
    }
    guard batch ?? 1 >= 1 else { throw ValidationError("--batch must be at least 1") }
    guard (1...256).contains(beam ?? 1) else {
      throw ValidationError("--beam must be from 1 to 256")
    }
  }

  /// How to go on after training level by level.
  private var adam: AdamConfiguration? {
    guard method == .adam else { return nil }
    var adam = AdamConfiguration(checkpoint: checkpoint)
    if let learningRate { adam.learningRate = learningRate }
    if let iterations { adam.iterations = iterations }
    if let batch { adam.batchRows = batch }
    if let beam { adam.beam = beam }
    return adam
  }

  func run() throws {
    try checkDestination()
    let progress = ProgressReporter()
    let request = TrainingSample.Request(
      levels: try levels.map(LevelSpecification.parse), count: self.sample, seed: work.seed)
    let sample = try vectors.sample(request, connection, progress)
    let configuration = TrainingConfiguration(
      metric: metric, levels: sample.levels,
      weightRule: weight == .norm ? .norm : .projection, weightBits: weightBits, adam: adam,
      seed: work.seed, threads: work.threadCount)
    let usable = SampleCheck.usableRows(sample.values, dimensions: sample.dimensions, metric)
    try SampleCheck(sample.levels, rows: configuration.trainingRows(of: usable)).run()
    if name != nil {
      try CodebookCatalog.checkSize(of: sample.levels, dimensions: sample.dimensions)
    }
    let codebook = try train(sample, configuration, progress)
    progress.finish()
    // What cannot be read again must not be written.
    try codebook.validate()
    let origin = CodebookOrigin(
      method: method.rawValue, sample: sample.count, seed: work.seed, source: sample.source)
    try deliver(codebook, origin)
    let summary = CodebookSummary(codebook, name: name, origin: origin)
    try report(
      work.json ? jsonText(summary) : summary.text, besides: output,
      done: name.map { "Codebook \"\($0)\" is stored" } ?? "\(output!) is written")
  }

  private func train(
    _ sample: TrainingSample, _ configuration: TrainingConfiguration, _ progress: ProgressReporter
  ) throws -> Codebook {
    // The only file that training reads and writes by itself.
    try namingFile(checkpoint ?? "") {
      try CodebookTrainer.train(
        sample: sample.values, dimensions: sample.dimensions, configuration: configuration
      ) { step in
        if let descent = step.descent {
          progress.report(
            "training all levels, \(descent.count) iterations", step.fraction,
            detail: "loss \(lossText(descent.loss))", estimate: true)
          return
        }
        let level = min(step.level + 1, step.levelCount)
        progress.report("training level \(level) of \(step.levelCount)", step.fraction)
      }
    }
  }

  /// Finds out before the work what would make it vain.
  private func checkDestination() throws {
    if let name {
      try CodebookCatalog(on: connection.connect()).checkStorable(name)
    }
    for file in [output, checkpoint].compactMap(\.self) {
      try namingFile(file) { try OutputFile.checkWritable(path: file) }
    }
  }

  private func deliver(_ codebook: Codebook, _ origin: CodebookOrigin) throws {
    if let output {
      try namingFile(output) { try CodebookFile.write(codebook, path: output) }
    }
    if let name {
      try CodebookCatalog(on: connection.connect()).store(codebook, name: name, origin: origin)
    }
  }
}

extension Codebook.Metric: ExpressibleByArgument {}
