import Foundation
import WRVQ

/// What `train`, `load`, `list` and `show` tell of a codebook, for people and for machines.
struct CodebookSummary: Encodable, Equatable {
  struct Level: Encodable, Equatable {
    var level: Int
    var kind: String
    /// A flat level's codewords; of a product level those of each piece.
    var codewords: Int
    var pieces: Int?
    var pieceDimensions: Int?
    var weight: String
    var weightBits: Int
    var transformBlockDimensions: Int?
    /// Quantization loss after this level, if known.
    var loss: Double?
  }

  var name: String?
  var dimensions: Int
  var metric: String
  var scale: Float
  /// In hexadecimal.
  var sha256: String
  var levels: [Level]
  /// ISO 8601, in UTC; of codebooks in a database.
  var created: String?
  var origin = CodebookOrigin()
  /// Of codebooks in a database: indexes whose options name it.
  var indexes: [String]?

  /// The levels as `--levels` would say them.
  var levelsText: String {
    levels.map { "\($0.kind):\($0.pieceDimensions ?? $0.codewords)" }.joined(separator: ",")
  }
}

/// Where a codebook came from, as far as that is known.
struct CodebookOrigin: Encodable, Equatable {
  var method: String?
  /// Vectors it was trained on.
  var sample: Int?
  var seed: UInt64?
  var source: String?
}

extension CodebookSummary {
  init(_ codebook: Codebook, name: String? = nil, origin: CodebookOrigin = CodebookOrigin()) {
    self.init(
      name: name, dimensions: codebook.dimensions, metric: codebook.metric.rawValue,
      scale: codebook.scale, sha256: hexadecimal(codebook.sha256),
      levels: codebook.levels.enumerated().map { index, level in
        Level(
          index, level, dimensions: codebook.dimensions,
          loss: codebook.loss.isEmpty ? nil : codebook.loss[index])
      },
      origin: origin)
  }
}

extension CodebookSummary.Level {
  init(_ index: Int, _ level: Codebook.Level, dimensions: Int, loss: Double?) {
    let block = level.transform.map {
      TransformBlocks(dense: $0, dimensions: dimensions).blockDimensions
    }
    self.init(
      level: index, kind: level.kind.name, codewords: 16, weight: level.weightRule.rawValue,
      weightBits: level.weightBits, transformBlockDimensions: block, loss: loss)
    switch level.kind {
    case .flat(let count): codewords = count
    case .product(let count, let dimensions): (pieces, pieceDimensions) = (count, dimensions)
    }
  }
}

// MARK: - Printing

extension CodebookSummary {
  /// A line for each property, then a table of the levels.
  var text: String {
    var properties = [
      ("codebook", name), ("dimensions", "\(dimensions)"), ("metric", metric),
      ("scale", "\(scale)"), ("sha256", sha256), ("created", created), ("method", origin.method),
      ("sample", origin.sample.map { "\($0) vectors" }), ("seed", origin.seed.map { "\($0)" }),
      ("source", origin.source),
    ]
    if let indexes {
      properties.append(("indexes", indexes.isEmpty ? "none" : indexes.joined(separator: ", ")))
    }
    let lines = properties.compactMap { name, value in
      value.map { name.padding(toLength: 12, withPad: " ", startingAt: 0) + $0 }
    }
    return lines.joined(separator: "\n") + "\n\n\(levelTable)"
  }

  var levelTable: TextTable {
    var table = TextTable(
      header: ["level", "kind", "codewords", "weight", "bits", "transform", "loss"])
    for level in levels {
      let codewords = level.pieces.map { "\($0) × \(level.codewords)" } ?? "\(level.codewords)"
      let transform = level.transformBlockDimensions.map { block in
        block == dimensions ? "dense" : "blocks of \(block)"
      }
      table.append([
        "\(level.level)", level.kind, codewords, level.weight,
        level.weight == "one" ? "–" : "\(level.weightBits)", transform ?? "–",
        level.loss.map(lossText) ?? "–",
      ])
    }
    return table
  }
}

/// A loss to six digits.
func lossText(_ loss: Double) -> String {
  String(format: "%.6g", loss)
}

/// A value as JSON, one object or list, keys sorted.
func jsonText(_ value: some Encodable) throws -> String {
  let encoder = JSONEncoder()
  encoder.keyEncodingStrategy = .convertToSnakeCase
  encoder.outputFormatting = [.prettyPrinted, .sortedKeys, .withoutEscapingSlashes]
  return String(decoding: try encoder.encode(value), as: UTF8.self)
}
