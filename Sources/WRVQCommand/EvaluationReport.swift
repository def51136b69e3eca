import Foundation
import WRVQ

/// What `evaluate` has found, for machines and for people.
struct EvaluationReport: Encodable {
  struct Quantizer: Encodable {
    var quantizer: String
    /// What it has in common with the codebook: `codes` or `bytes`; nil for the codebook itself.
    var equal: String?
    var codes: String
    var codeBits: Int
    var weightBits: Int
    /// Of all codes and all stored weights of a vector.
    var bytes: Double
    /// Bytes of single-precision vectors for each byte of codes and weights.
    var compressionRatio: Double
    /// Dimensions for each bit, as in eqs. 6 and 9 of the paper.
    var paperCompressionRatio: Double
    /// Quantization loss, after each level that can be decoded by itself.
    var losses: [Double]
    var lossesPerDimension: [Double]
    var recall: [Recall]
    /// Of a codebook that was there already there is none.
    var trainingSeconds: Double?
    var encodedRowsPerSecond: Double

    var loss: Double { losses.last ?? .nan }
  }

  /// The share of the `k` nearest rows among the first `among` of a ranking.
  struct Recall: Encodable {
    var k: Int
    var among: Int
    var adc: Double
    var sdc: Double
  }

  struct Comparison: Encodable {
    /// As `--levels` would say them.
    var levels: String
    var weightBits: Int
    var quantizers: [Quantizer] = []
    var notes: [String] = []
  }

  var source: String
  var dimensions: Int
  var metric: String
  var trainingRows: Int
  var testRows: Int
  var queries: Int
  var seed: UInt64
  var comparisons: [Comparison] = []
}

extension EvaluationReport {
  init(
    _ set: EvaluationSet, _ vectors: EvaluationVectors, metric: Codebook.Metric, seed: UInt64
  ) {
    self.init(
      source: vectors.source, dimensions: set.dimensions, metric: metric.rawValue,
      trainingRows: vectors.training.count / set.dimensions, testRows: set.rowCount,
      queries: set.queryCount, seed: seed)
  }
}

extension EvaluationReport.Comparison {
  init(_ codebook: Codebook) {
    self.init(
      levels: CodebookSummary(codebook).levelsText,
      weightBits: codebook.levels.last?.weightBits ?? 16)
  }
}

extension EvaluationReport.Quantizer {
  init(
    _ name: String, _ quantizer: some VectorQuantizer, _ evaluation: QuantizerEvaluation,
    _ set: EvaluationSet, codes: String, paperBits: Int?, seconds: Double?
  ) {
    let d = Double(set.dimensions)
    self.init(
      quantizer: name, codes: codes, codeBits: quantizer.codeBits,
      weightBits: quantizer.weightBits, bytes: quantizer.bytes,
      compressionRatio: 4 * d / max(quantizer.bytes, 0.125),
      paperCompressionRatio: d / Double(max(1, paperBits ?? quantizer.codeBits)),
      losses: evaluation.losses, lossesPerDimension: evaluation.losses.map { $0 / d },
      recall: set.depths.enumerated().map { index, depth in
        EvaluationReport.Recall(
          k: depth.k, among: depth.among, adc: evaluation.asymmetricRecall[index],
          sdc: evaluation.symmetricRecall[index])
      },
      trainingSeconds: seconds, encodedRowsPerSecond: evaluation.rowsPerSecond)
  }
}

// MARK: - Printing

extension EvaluationReport {
  var text: String {
    let head = """
      \(source): \(dimensions) dimensions, \(metric); trained on \(trainingRows) rows, tested on \
      \(testRows) others with \(queries) queries
      """
    return ([head] + comparisons.map(\.text)).joined(separator: "\n\n")
  }
}

extension EvaluationReport.Comparison {
  fileprivate var text: String {
    let head = "levels \(levels), weights of \(weightBits) bits"
    let parts = ["\(head)\n\n\(sizeTable)", "\(recallTable)"] + lossTables
    return (parts + (notes.isEmpty ? [] : [notes.joined(separator: "\n")]))
      .joined(separator: "\n\n")
  }

  private var sizeTable: TextTable {
    var table = TextTable(header: [
      "quantizer", "equal", "codes", "bytes", "ratio", "eq. 9", "loss", "a dimension", "train s",
      "rows/s",
    ])
    for q in quantizers {
      table.append([
        q.quantizer, q.equal ?? "–", q.codes, String(format: "%g", q.bytes),
        String(format: "%.1f", q.compressionRatio), String(format: "%.3f", q.paperCompressionRatio),
        String(format: "%.5f", q.loss),
        String(format: "%.7f", q.lossesPerDimension.last ?? .nan),
        q.trainingSeconds.map { String(format: "%.1f", $0) } ?? "–",
        String(format: "%.0f", q.encodedRowsPerSecond),
      ])
    }
    return table
  }

  private var recallTable: TextTable {
    let depths = quantizers.first?.recall ?? []
    let names = depths.map { $0.k == $0.among ? "@\($0.k)" : "\($0.k) in \($0.among)" }
    var table = TextTable(
      header: ["quantizer", "equal", "bytes"] + names.map { "ADC \($0)" }
        + names.map { "SDC \($0)" })
    for q in quantizers {
      table.append(
        [q.quantizer, q.equal ?? "–", String(format: "%g", q.bytes)]
          + (q.recall.map(\.adc) + q.recall.map(\.sdc)).map { String(format: "%.4f", $0) })
    }
    return table
  }

  /// The losses after each level of the quantizers that have levels, of a vector and of a dimension.
  private var lossTables: [String] {
    [
      "\(lossTable("levels", "%.5f", \.losses))",
      "\(lossTable("levels, a dimension", "%.7f", \.lossesPerDimension))",
    ]
  }

  private func lossTable(
    _ title: String, _ format: String, _ losses: (EvaluationReport.Quantizer) -> [Double]
  ) -> TextTable {
    let columns = quantizers.filter { $0.losses.count > 1 || $0.equal == nil }
    var table = TextTable(
      header: [title]
        + columns.map { $0.equal == nil ? $0.quantizer : "\($0.quantizer) \($0.codes)" })
    for level in 0..<(columns.map(\.losses.count).max() ?? 0) {
      table.append(
        ["\(level + 1)"]
          + columns.map { column in
            let values = losses(column)
            return values.indices.contains(level) ? String(format: format, values[level]) : "–"
          })
    }
    return table
  }
}
