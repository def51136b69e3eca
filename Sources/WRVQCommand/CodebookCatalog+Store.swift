import Foundation
import PostgresClient
import WRVQ

extension CodebookCatalog {
  /// A field of the catalog, and a message to the server, are shorter than 1 GiB.
  private static let maximumLevelBytes = 1_000_000_000

  /// Throws if a level would be too large to be stored: to find out before the training.
  static func checkSize(of levels: [LevelSpecification], dimensions: Int) throws {
    for (number, level) in levels.enumerated() {
      // A product level's pieces and transform are far smaller.
      guard case .flat(let count) = level.kind else { continue }
      try checkSize(ofLevel: number, bytes: 2 * count * dimensions)
    }
  }

  private static func checkSize(ofLevel level: Int, bytes: Int) throws {
    guard bytes <= maximumLevelBytes else {
      throw CommandFailure(
        "level \(level) takes \(bytes) bytes; the catalog holds at most \(maximumLevelBytes)",
        hint: "Choose fewer codewords (--levels).")
    }
  }

  /// Adds a codebook with all its levels, or nothing.
  func store(_ codebook: Codebook, name: String, origin: CodebookOrigin) throws {
    try codebook.validate()
    let summary = CodebookSummary(codebook, name: name, origin: origin)
    do {
      try connection.transaction {
        try insert(summary, loss: codebook.loss, scale: codebook.scaleText)
        for (level, described) in zip(codebook.levels, summary.levels) {
          try insert(level, described, of: summary)
        }
      }
    } catch let error as PostgresError where error.sqlState == Self.uniqueViolation {
      throw Self.nameTaken(name)
    }
  }

  private static let uniqueViolation = "23505"

  private func insert(_ summary: CodebookSummary, loss: [Double], scale: String) throws {
    try connection.query(
      """
      INSERT INTO \(codebooks) (name, version, dimensions, metric, sha256, loss, properties)
      VALUES ($1, \(Self.formatVersion), $2::pg_catalog.int4, $3, pg_catalog.decode($4, 'hex'),
        $5::pg_catalog._float8, pg_catalog.jsonb_strip_nulls(pg_catalog.jsonb_build_object(
          'scale', $6::pg_catalog.numeric, 'levels', $7, 'method', $8,
          'sample', $9::pg_catalog.int8, 'seed', $10::pg_catalog.numeric, 'source', $11)))
      """,
      [
        .text(summary.name), .text("\(summary.dimensions)"), .text(summary.metric),
        .text(summary.sha256), .text("{\(loss.map { "\($0)" }.joined(separator: ","))}"),
        .text(scale), .text(summary.levelsText), .text(summary.origin.method),
        .text(summary.origin.sample.map { "\($0)" }), .text(summary.origin.seed.map { "\($0)" }),
        .text(summary.origin.source),
      ])
  }

  private func insert(
    _ level: Codebook.Level, _ described: CodebookSummary.Level, of summary: CodebookSummary
  ) throws {
    let transform = level.transform.map {
      TransformBlocks(dense: $0, dimensions: summary.dimensions).values
    }
    try Self.checkSize(
      ofLevel: described.level,
      bytes: 2 * (level.codewords.count + (transform?.count ?? 0)))
    let halves = { (values: [Float]?) in
      Connection.Parameter.bytes(values.map { [UInt8](Halves.littleEndian($0)) })
    }
    let integer = { (value: Int?) in Connection.Parameter.text("\(value ?? 0)") }
    try connection.query(
      """
      INSERT INTO \(levels) (name, level, kind, weight, weight_bits, codeword_count, piece_count,
        piece_dimensions, codewords, transform_block_dimensions, transform, weights)
      VALUES ($1, $2::pg_catalog.int4, $3, $4, $5::pg_catalog.int4, $6::pg_catalog.int4,
        $7::pg_catalog.int4, $8::pg_catalog.int4, $9, $10::pg_catalog.int4, $11, $12)
      """,
      [
        .text(summary.name), integer(described.level), .text(described.kind),
        .text(described.weight), integer(described.weightBits), integer(described.codewords),
        integer(described.pieces), integer(described.pieceDimensions), halves(level.codewords),
        integer(described.transformBlockDimensions), halves(transform), halves(level.weights),
      ])
  }
}
