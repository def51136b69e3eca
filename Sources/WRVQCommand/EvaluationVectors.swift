import Foundation
import WRVQ

/// The vectors of an evaluation: of unit length under cosine, and none of length zero.
struct EvaluationVectors {
  var dimensions: Int
  /// `n × dimensions`.
  var training: [Float]
  var test: [Float]
  var queries: EvaluationSet.Queries
  /// The levels that suit the number of rows.
  var levels: [LevelSpecification]
  var source: String

  private static let defaultTestRows = 10_000
  private static let defaultQueries = 1_000

  init(_ command: EvaluateCommand, metric: Codebook.Metric, progress: ProgressReporter) throws {
    let held = command.test == nil ? command.testRows ?? Self.defaultTestRows : 0
    let drawn = try Self.draw(command, held: held, progress)
    (dimensions, levels, source) = (drawn.dimensions, drawn.levels, drawn.source)
    let d = dimensions
    var random = Shuffle(seed: command.work.seed)
    if let path = command.test {
      training = drawn.values
      test = try Self.read(path, dimensions: d)
    } else {
      let heldRows = min(held, command.testRows == nil ? drawn.count / 2 : held)
      guard heldRows < drawn.count, heldRows > 0 else {
        throw CommandFailure(
          "\(drawn.count) rows are too few to hold out \(held) of them",
          hint: "Give fewer --test-rows.")
      }
      let order = random.order(of: drawn.count)
      let rows = { (numbers: ArraySlice<Int>) in
        numbers.sorted().flatMap { drawn.values[$0 * d..<($0 + 1) * d] }
      }
      test = rows(order[..<heldRows])
      training = rows(order[heldRows...])
    }
    var queryVectors = try command.queries.map { try Self.read($0, dimensions: d) }
    if metric == .cosine {
      training = normalized(training, dimensions: d)
      test = normalized(test, dimensions: d)
      queryVectors = queryVectors.map { normalized($0, dimensions: d) }
    }
    for (values, what) in [(training, "training"), (test, "test")] where values.isEmpty {
      throw CommandFailure("there are no \(what) rows with a direction")
    }
    if let queryVectors {
      if queryVectors.isEmpty { throw CommandFailure("there are no queries with a direction") }
      queries = .vectors(queryVectors)
    } else {
      let rows = random.order(of: test.count / d).prefix(Self.defaultQueries)
      queries = .rows(rows.sorted())
    }
  }

  private static func draw(
    _ command: EvaluateCommand, held: Int, _ progress: ProgressReporter
  ) throws -> TrainingSample {
    var request = TrainingSample.Request(
      levels: try command.levels.first.map(LevelSpecification.parse), count: command.sample,
      seed: command.work.seed)
    request.extra = held
    return try command.vectors.sample(request, command.connection, progress)
  }

  /// All vectors of a file.
  private static func read(_ path: String, dimensions: Int) throws -> [Float] {
    try namingFile(path) {
      let file = try openVectorFile(path: path)
      guard file.rowCount > 0 else { throw FileError.malformed(reason: "it has no vectors") }
      guard file.dimensions == dimensions else {
        throw FileError.malformed(
          reason: "vectors have \(file.dimensions) dimensions; expected \(dimensions)")
      }
      return try file.vectors(0..<file.rowCount)
    }
  }
}

/// The rows that have a direction, at unit length.
private func normalized(_ rows: [Float], dimensions d: Int) -> [Float] {
  var result: [Float] = []
  result.reserveCapacity(rows.count)
  for start in stride(from: 0, to: rows.count, by: d) {
    let row = rows[start..<start + d]
    let length = row.reduce(0.0) { $0 + Double($1) * Double($1) }.squareRoot()
    if length > 0 { result.append(contentsOf: row.lazy.map { Float(Double($0) / length) }) }
  }
  return result
}

/// Numbers in random order, the same for the same seed.
private struct Shuffle: RandomNumberGenerator {
  private var state: UInt64

  init(seed: UInt64) { state = seed ^ 0x6a09_e667_f3bc_c908 }

  mutating func next() -> UInt64 {
    state &+= 0x9e37_79b9_7f4a_7c15
    var z = state
    z = (z ^ (z &>> 30)) &* 0xbf58_476d_1ce4_e5b9
    z = (z ^ (z &>> 27)) &* 0x94d0_49bb_1331_11eb
    return z ^ (z &>> 31)
  }

  /// Fisher and Yates's; written out, because the library's order may change with its version.
  mutating func order(of count: Int) -> [Int] {
    var numbers = Array(0..<count)
    for i in stride(from: count - 1, to: 0, by: -1) {
      numbers.swapAt(i, Int(next().multipliedFullWidth(by: UInt64(i + 1)).high))
    }
    return numbers
  }
}
