import Foundation

/// The state of gradient training in a safetensors file, to go on from.
///
/// Tensors, all `float32` and flat: for each level `level.{i}.codewords` and `best.{i}.codewords`
/// (the levels that did best so far), the moments `level.{i}.codewords.first` and `….second`, and
/// the same of `transform` where there is one.  Metadata: `format` (`wrvq-checkpoint-1`), what the
/// training was asked for, the iterations done and the losses so far.
struct TrainingCheckpoint {
  private static let format = "wrvq-checkpoint-1"

  let path: String
  private let dimensions: Int
  private let levels: [LevelSpecification]
  private let weightRule: Codebook.WeightRule
  /// What has to be the same when training goes on.
  private let request: [String: String]

  init(
    path: String, _ rows: [Float], dimensions: Int, _ configuration: TrainingConfiguration
  ) throws {
    try OutputFile.checkReplaceable(path: path)
    self.path = path
    self.dimensions = dimensions
    (levels, weightRule) = (configuration.levels, configuration.weightRule)
    let adam = configuration.adam ?? AdamConfiguration()
    request = [
      "vectors": Self.digest(rows, dimensions: dimensions),
      "dimensions": "\(dimensions)",
      "metric": configuration.metric.rawValue,
      "levels": configuration.levels.map(\.description).joined(separator: ","),
      "weight": configuration.weightRule.rawValue,
      "weight_bits": "\(configuration.weightBits)",
      "seed": "\(configuration.seed)",
      "iterations": "\(adam.iterations)",
      "learning_rate": "\(adam.rate(configuration.levels))",
      "batch_rows": "\(adam.batchRows)",
      "beam": "\(adam.beam)",
    ]
  }

  /// The number of rows, and the SHA-256 of a thousand of them.
  private static func digest(_ rows: [Float], dimensions d: Int) -> String {
    let count = rows.count / d
    var hash = SHA256()
    for row in stride(from: 0, to: count, by: max(1, count / 1000)) {
      hash.update(rows[row * d..<(row + 1) * d].withUnsafeBytes { Data($0) })
    }
    return "\(count) \(hexadecimal(hash.finish()))"
  }

  // MARK: - Reading

  /// The state; nil if there is no file yet.
  ///
  /// - Throws: `FileError`, or `TrainingError` if it is of another training.
  func read() throws -> AdamState? {
    guard FileManager.default.fileExists(atPath: path) else { return nil }
    let file = try Safetensors(path: path)
    guard file.metadata["format"] == Self.format else {
      throw FileError.foreign(
        expected: "a checkpoint",
        reason: "the metadata's format is \"\((file.metadata["format"] ?? "").prefix(100))\"")
    }
    for (key, value) in request.sorted(by: { $0.key < $1.key })
    where file.metadata[key] != value {
      let found = printable("\(file.metadata[key] ?? "none")")
      throw TrainingError.otherCheckpoint("\(key) \(found); expected \(value)")
    }
    var state = AdamState(
      levels: try levels.indices.map { i in
        var level = AdamLevel(try self.level("level", i, file), dimensions: dimensions)
        level.codewords = try moments("level.\(i).codewords", level.codewords, file)
        var start = 0
        let all = level.transform
        let transform = Adam(count: all.reduce(0) { $0 + $1.first.count })
        if !all.isEmpty {
          let read = try moments("level.\(i).transform", transform, file)
          level.transform = all.map { block in
            defer { start += block.first.count }
            let part = start..<start + block.first.count
            return Adam(first: Array(read.first[part]), second: Array(read.second[part]))
          }
        }
        return level
      })
    state.best = try levels.indices.map { try level("best", $0, file) }
    state.iteration = try number("iteration", file) { Int($0) }
    state.bestLoss = try number("best_loss", file) { Double($0) }
    state.markedLoss = try number("marked_loss", file) { Double($0) }
    state.checksWithoutGain = try number("checks_without_gain", file) { Int($0) }
    return state
  }

  private func number<Number>(
    _ key: String, _ file: Safetensors, _ parse: (String) -> Number?
  ) throws -> Number {
    guard let text = file.metadata[key], let number = parse(text) else {
      throw FileError.malformed(reason: "the metadata's \(key) is no number")
    }
    return number
  }

  private func values(_ name: String, count: Int, _ file: Safetensors) throws -> [Float] {
    let values = try file.floats(of: name)
    guard values.count == count, values.allSatisfy({ $0.isFinite }) else {
      throw FileError.malformed(
        reason: "tensor \"\(name)\" is not of \(count) finite numbers")
    }
    return values
  }

  private func moments(_ name: String, _ like: Adam, _ file: Safetensors) throws -> Adam {
    Adam(
      first: try values("\(name).first", count: like.first.count, file),
      second: try values("\(name).second", count: like.second.count, file))
  }

  private func level(_ part: String, _ i: Int, _ file: Safetensors) throws -> Codebook.Level {
    let kind: Codebook.Kind
    let count: Int
    switch levels[i].kind {
    case .flat(let codewords): (kind, count) = (.flat(count: codewords), codewords * dimensions)
    case .product(let size):
      let pieces = (dimensions + size - 1) / size
      (kind, count) = (.product(pieces: pieces, pieceDimensions: size), pieces * 16 * size)
    }
    let transform = "\(part).\(i).transform"
    return Codebook.Level(
      kind: kind, weightRule: i == 0 ? .one : weightRule,
      codewords: try values("\(part).\(i).codewords", count: count, file),
      transform: file.tensors[transform] == nil
        ? nil : try values(transform, count: dimensions * dimensions, file))
  }

  // MARK: - Writing

  /// Writes the file, whole or not at all.
  func write(_ state: AdamState) throws {
    var metadata = request
    metadata["format"] = Self.format
    metadata["iteration"] = "\(state.iteration)"
    metadata["best_loss"] = "\(state.bestLoss)"
    metadata["marked_loss"] = "\(state.markedLoss)"
    metadata["checks_without_gain"] = "\(state.checksWithoutGain)"
    var tensors: [(String, [Float])] = []
    for (i, level) in state.levels.enumerated() {
      add(level.level, "level.\(i)", &tensors)
      add(level.codewords, "level.\(i).codewords", &tensors)
      if !level.transform.isEmpty {
        let all = Adam(
          first: level.transform.flatMap(\.first), second: level.transform.flatMap(\.second))
        add(all, "level.\(i).transform", &tensors)
      }
    }
    for (i, level) in state.best.enumerated() { add(level, "best.\(i)", &tensors) }
    let header = Safetensors.header(
      metadata: metadata, tensors: tensors.map { ($0.0, .float32, [$0.1.count]) })
    let parts: [() -> Data] =
      [{ header }] + tensors.map { tensor in { Halves.littleEndian(floats: tensor.1) } }
    try OutputFile.write(parts.lazy.map { $0() }, path: path)
  }

  private func add(
    _ level: Codebook.Level, _ name: String, _ tensors: inout [(String, [Float])]
  ) {
    tensors.append(("\(name).codewords", level.codewords))
    if let transform = level.transform { tensors.append(("\(name).transform", transform)) }
  }

  private func add(_ moments: Adam, _ name: String, _ tensors: inout [(String, [Float])]) {
    tensors.append(("\(name).first", moments.first))
    tensors.append(("\(name).second", moments.second))
  }
}
