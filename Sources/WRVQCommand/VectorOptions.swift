import ArgumentParser
import Foundation
import WRVQ

/// Where the vectors to train on are.
struct VectorOptions: ParsableArguments {
  @Option(
    help: ArgumentHelp(
      "A table or a view, named as in SQL; its sample is repeatable.", valueName: "table"))
  var table: String?

  @Option(help: "Its column of vectors: real[], or pgvector's vector or halfvec.")
  var column: String?

  @Option(help: ArgumentHelp("A file of vectors: .npy or .fvecs.", valueName: "file"))
  var input: String?

  func validate() throws {
    guard (table == nil) != (input == nil) else {
      throw ValidationError("give either --table and --column, or --input")
    }
    guard (table == nil) == (column == nil) else {
      throw ValidationError(
        table == nil ? "--column goes with --table" : "--table goes with --column")
    }
  }

  /// Draws some of them.
  func sample(
    _ request: TrainingSample.Request, _ connection: ConnectionOptions, _ progress: ProgressReporter
  ) throws -> TrainingSample {
    if let input {
      return try namingFile(input) {
        try TrainingSample(ofFile: input, request, progress: progress)
      }
    }
    // Closed before training: servers and firewalls hang up on idle connections.
    return try TrainingSample(
      ofTable: table!, column: column!, on: connection.connect(), request, progress: progress)
  }
}

/// How to work, and how to tell of it.
struct WorkOptions: ParsableArguments {
  @Option(help: "Seed of all random choices.")
  var seed: UInt64 = 1

  @Option(help: "Threads. (default: as many as processors)")
  var threads: Int?

  @Flag(help: "Print JSON.")
  var json = false

  func validate() throws { try validateThreads(threads) }

  var threadCount: Int { threads ?? ProcessInfo.processInfo.activeProcessorCount }
}

/// Throws a usage error unless there can be so many threads.
func validateThreads(_ threads: Int?) throws {
  guard (1...1024).contains(threads ?? 1) else {
    throw ValidationError("--threads must be from 1 to 1024")
  }
}
