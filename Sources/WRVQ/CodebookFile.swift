import Foundation

/// A codebook in a safetensors file.
///
/// Metadata: `format` (`wrvq-codebook-1`), `dimensions`, `metric`, `scale`, `levels` (a JSON list
/// of `kind`, `weight` and `weight_bits`) and, if known, `loss` (a JSON list of numbers).
/// Tensors: `level.{i}.codewords` (flat `[s, d]`, product `[m, 16, p]`) and, where the level has
/// them, `level.{i}.transform` `[d, d]` and `level.{i}.weights` `[2^weight_bits]`; written as
/// `float16`, read as `float16` or as `float32` rounded to it.
public enum CodebookFile {
  private static let format = "wrvq-codebook-1"

  /// A level in the metadata.
  private struct LevelDescription: Codable {
    var kind: String
    var weight: String
    var weightBits: Int?

    enum CodingKeys: String, CodingKey {
      case kind
      case weight
      case weightBits = "weight_bits"
    }
  }
}

// MARK: - Reading

extension CodebookFile {
  /// Reads and validates a codebook.
  ///
  /// - Throws: `FileError` or `CodebookError`.
  public static func read(path: String) throws -> Codebook {
    try codebook(in: Safetensors(path: path))
  }

  /// Decodes and validates the bytes of a file.
  ///
  /// - Throws: `FileError` or `CodebookError`.
  public static func decode(_ data: Data) throws -> Codebook {
    try codebook(in: Safetensors(data))
  }

  private static func codebook(in file: Safetensors) throws -> Codebook {
    guard let found = file.metadata["format"], found == format else {
      throw FileError.foreign(
        expected: "a codebook",
        reason:
          "the metadata's format is \(file.metadata["format"].map { "\"\($0)\"" } ?? "absent")"
          + "; expected \"\(format)\"")
    }
    let dimensions = try value("dimensions", of: file) { Int($0) }
    guard dimensionsRange.contains(dimensions) else {
      throw CodebookError.badDimensions(dimensions)
    }
    let scaleText = file.metadata["scale"] ?? "1.0"
    guard let scale = Float(scaleText) else { throw malformed("scale", scaleText) }
    let descriptions = try value("levels", of: file) { text in
      try? JSONDecoder().decode([LevelDescription].self, from: Data(text.utf8))
    }
    let codebook = try Codebook(
      dimensions: dimensions,
      metric: value("metric", of: file) { Codebook.Metric(rawValue: $0) },
      scale: scale,
      levels: descriptions.enumerated().map { index, description in
        try level(index, description, dimensions: dimensions, in: file)
      },
      loss: file.metadata["loss"] == nil
        ? []
        : value("loss", of: file) { try? JSONDecoder().decode([Double].self, from: Data($0.utf8)) }
    )
    try codebook.validate()
    return codebook
  }

  private static func level(
    _ index: Int, _ description: LevelDescription, dimensions: Int, in file: Safetensors
  ) throws -> Codebook.Level {
    guard let weightRule = Codebook.WeightRule(rawValue: description.weight) else {
      throw malformed("weight of level \(index)", description.weight)
    }
    let name = "level.\(index).codewords"
    guard let shape = file.tensors[name]?.shape else {
      throw FileError.malformed(reason: "no tensor \"\(name)\"")
    }
    let kind: Codebook.Kind
    switch (description.kind, shape.count) {
    case ("flat", 2) where shape[1] == dimensions:
      kind = .flat(count: shape[0])
    case ("product", 3) where shape[1] == 16:
      kind = .product(pieces: shape[0], pieceDimensions: shape[2])
    case ("flat", _), ("product", _):
      throw FileError.malformed(
        reason: "tensor \"\(name)\" has shape \(shape); expected "
          + (description.kind == "flat" ? "[s, \(dimensions)]" : "[m, 16, p]"))
    default:
      throw malformed("kind of level \(index)", description.kind)
    }
    return Codebook.Level(
      kind: kind, weightRule: weightRule, weightBits: description.weightBits ?? 16,
      codewords: Halves.rounded(try file.floats(of: name)),
      transform: try optional("level.\(index).transform", in: file),
      weights: try optional("level.\(index).weights", in: file))
  }

  private static func optional(_ name: String, in file: Safetensors) throws -> [Float]? {
    guard file.tensors[name] != nil else { return nil }
    return Halves.rounded(try file.floats(of: name))
  }

  private static func value<Value>(
    _ key: String, of file: Safetensors, _ parse: (String) -> Value?
  ) throws -> Value {
    guard let text = file.metadata[key] else {
      throw FileError.malformed(reason: "the metadata lacks \"\(key)\"")
    }
    guard let value = parse(text) else { throw malformed(key, text) }
    return value
  }

  private static func malformed(_ key: String, _ text: String) -> FileError {
    .malformed(reason: "the metadata's \(key) is \"\(text.prefix(100))\"")
  }
}

// MARK: - Writing

extension CodebookFile {
  /// The bytes of a file; the same codebook gives the same bytes.
  public static func encode(_ codebook: Codebook) throws -> Data {
    let encoder = JSONEncoder()
    encoder.outputFormatting = .sortedKeys
    let json = { (value: any Encodable) in
      String(decoding: try encoder.encode(value), as: UTF8.self)
    }
    var metadata = [
      "format": format,
      "dimensions": "\(codebook.dimensions)",
      "metric": codebook.metric.rawValue,
      "scale": codebook.scaleText,
      "levels": try json(
        codebook.levels.map { level in
          LevelDescription(
            kind: level.kind.name, weight: level.weightRule.rawValue, weightBits: level.weightBits)
        }),
    ]
    if !codebook.loss.isEmpty { metadata["loss"] = try json(codebook.loss) }
    var tensors: [(name: String, shape: [Int], values: [Float])] = []
    for (index, level) in codebook.levels.enumerated() {
      let shape =
        switch level.kind {
        case .flat(let count): [count, codebook.dimensions]
        case .product(let pieces, let pieceDimensions): [pieces, 16, pieceDimensions]
        }
      tensors.append(("level.\(index).codewords", shape, level.codewords))
      if let transform = level.transform {
        let shape = [codebook.dimensions, codebook.dimensions]
        tensors.append(("level.\(index).transform", shape, transform))
      }
      if let weights = level.weights {
        tensors.append(("level.\(index).weights", [weights.count], weights))
      }
    }
    return Safetensors.encode(metadata: metadata, halves: tensors)
  }

  /// Writes a file, whole or not at all; one of the same name is replaced.
  public static func write(_ codebook: Codebook, path: String) throws {
    let data = try encode(codebook)
    try OutputFile.write([data], path: path)
  }
}

extension Codebook.Kind {
  /// The word for it in files and in the catalog.
  public var name: String {
    switch self {
    case .flat: "flat"
    case .product: "product"
    }
  }
}
