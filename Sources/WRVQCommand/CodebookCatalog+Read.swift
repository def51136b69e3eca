import Foundation
import PostgresClient
import WRVQ

extension CodebookCatalog {
  private static let snapshot = "ISOLATION LEVEL REPEATABLE READ READ ONLY"

  /// What there is to tell of all codebooks, or of the one named, by name.
  func summaries(named name: String? = nil) throws -> [CodebookSummary] {
    try connection.transaction(Self.snapshot) { try readSummaries(named: name) }
  }

  /// A codebook with everything that was trained, checked against its SHA-256.
  func codebook(named name: String) throws -> Codebook {
    let codebook = try connection.transaction(Self.snapshot) {
      guard let summary = try readSummaries(named: name).first else {
        throw Self.noSuchCodebook(name)
      }
      return (try readCodebook(summary), expected: summary.sha256)
    }
    guard hexadecimal(codebook.0.sha256) == codebook.expected else {
      throw damaged(name, "its contents do not match its SHA-256")
    }
    return codebook.0
  }

  private func property(_ key: String) -> String {
    "properties OPERATOR(pg_catalog.->>) '\(key)'"
  }

  private func readSummaries(named name: String?) throws -> [CodebookSummary] {
    let books = try connection.query(
      """
      SELECT name, version, dimensions, metric, pg_catalog.encode(sha256, 'hex'),
        pg_catalog.array_to_string(loss, ','),
        pg_catalog.to_char(created_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"'),
        \(property("scale")), \(property("method")), \(property("sample")), \(property("seed")),
        \(property("source"))
      FROM \(codebooks) WHERE name OPERATOR(pg_catalog.=) $1 OR $1 IS NULL ORDER BY name
      """, [.text(name)])
    return try (0..<books.rowCount).map { row in
      let name = try books.requiredText(row: row, column: 0)
      let version = try books.integer(row: row, column: 1)
      guard version == Self.formatVersion else {
        throw CommandFailure(
          "codebook \"\(name)\" has format version \(version); "
            + "this wrvq knows version \(Self.formatVersion)",
          hint: "Use the wrvq that belongs to the installed extension.")
      }
      guard let scale = books.text(row: row, column: 7).flatMap({ Float($0) }) else {
        throw damaged(name, "its properties lack the scale")
      }
      let loss = try books.requiredText(row: row, column: 5).split(separator: ",").map(String.init)
      return CodebookSummary(
        name: name, dimensions: try books.integer(row: row, column: 2),
        metric: try books.requiredText(row: row, column: 3), scale: scale,
        sha256: try books.requiredText(row: row, column: 4),
        levels: try readLevelSummaries(of: name, loss: loss.compactMap(Double.init)),
        created: books.text(row: row, column: 6),
        origin: CodebookOrigin(
          method: books.text(row: row, column: 8),
          sample: books.text(row: row, column: 9).flatMap { Int($0) },
          seed: books.text(row: row, column: 10).flatMap { UInt64($0) },
          source: books.text(row: row, column: 11)),
        indexes: try indexes(using: name))
    }
  }

  private func readLevelSummaries(
    of name: String, loss: [Double]
  ) throws -> [CodebookSummary.Level] {
    let rows = try connection.query(
      """
      SELECT level, kind, codeword_count, piece_count, piece_dimensions, weight, weight_bits,
        transform_block_dimensions
      FROM \(levels) WHERE name OPERATOR(pg_catalog.=) $1 ORDER BY level
      """, [.text(name)])
    return try (0..<rows.rowCount).map { row in
      // Zero says that there is none.
      let optional = { (column: Int) in
        rows.text(row: row, column: column).flatMap { Int($0) }.flatMap { $0 == 0 ? nil : $0 }
      }
      let level = try rows.integer(row: row, column: 0)
      guard level == row else { throw damaged(name, "level \(row) is missing") }
      return CodebookSummary.Level(
        level: level, kind: try rows.requiredText(row: row, column: 1),
        codewords: try rows.integer(row: row, column: 2), pieces: optional(3),
        pieceDimensions: optional(4), weight: try rows.requiredText(row: row, column: 5),
        weightBits: try rows.integer(row: row, column: 6), transformBlockDimensions: optional(7),
        loss: row < loss.count ? loss[row] : nil)
    }
  }

  private func readCodebook(_ summary: CodebookSummary) throws -> Codebook {
    let name = summary.name!
    guard let metric = Codebook.Metric(rawValue: summary.metric) else {
      throw damaged(name, "its metric is \"\(summary.metric)\"")
    }
    let rows = try connection.query(
      """
      SELECT codewords, transform, weights
      FROM \(levels) WHERE name OPERATOR(pg_catalog.=) $1 ORDER BY level
      """, [.text(name)], format: .binary)
    let codebook = Codebook(
      dimensions: summary.dimensions, metric: metric, scale: summary.scale,
      levels: try summary.levels.map { level in
        let halves = { (column: Int) in
          rows.bytes(row: level.level, column: column).map {
            Halves.floats(littleEndianHalves: Data($0))
          }
        }
        return try self.level(
          level, codewords: halves(0) ?? [], transform: halves(1), weights: halves(2), of: summary)
      },
      loss: summary.levels.compactMap(\.loss))
    do {
      try codebook.validate()
    } catch {
      throw damaged(name, "\(error)")
    }
    return codebook
  }

  private func level(
    _ level: CodebookSummary.Level, codewords: [Float], transform: [Float]?, weights: [Float]?,
    of summary: CodebookSummary
  ) throws -> Codebook.Level {
    guard let weightRule = Codebook.WeightRule(rawValue: level.weight) else {
      throw damaged(summary.name!, "level \(level.level) has weight \"\(level.weight)\"")
    }
    let kind: Codebook.Kind
    switch level.kind {
    case "flat": kind = .flat(count: level.codewords)
    case "product":
      kind = .product(
        pieces: level.pieces ?? 0, pieceDimensions: level.pieceDimensions ?? 0)
    default: throw damaged(summary.name!, "level \(level.level) is of kind \"\(level.kind)\"")
    }
    let dense = try transform.map { blocks in
      guard
        let transform = TransformBlocks(
          blocks: blocks, blockDimensions: level.transformBlockDimensions ?? 0,
          dimensions: summary.dimensions)
      else { throw damaged(summary.name!, "level \(level.level)'s transform has a wrong length") }
      return transform.dense
    }
    return Codebook.Level(
      kind: kind, weightRule: weightRule, weightBits: level.weightBits, codewords: codewords,
      transform: dense, weights: weights)
  }

  private func damaged(_ name: String, _ what: String) -> CommandFailure {
    CommandFailure("codebook \"\(name)\" is damaged: \(what)", hint: "Drop it and load it again.")
  }
}
