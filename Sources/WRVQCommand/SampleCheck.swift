import WRVQ

/// Whether a sample suffices for the codewords that are to be trained on it.
///
/// A codeword without a row of its own means nothing, and one of a few rows fits those only.
struct SampleCheck {
  /// The level with the most codewords, which each get the fewest rows, and its number.
  private let level: (number: Int, specification: LevelSpecification)
  private let rows: Int

  /// - Parameter rows: What codewords are trained on.
  init(_ levels: [LevelSpecification], rows: Int) {
    let number = levels.indices.max { levels[$0].codewordCount < levels[$1].codewordCount } ?? 0
    level = (number, levels[number])
    self.rows = rows
  }

  /// Throws if there are fewer rows than codewords; tells on standard error if there are few.
  func run() throws {
    if let failure { throw failure }
    if let warning { tell("\(warning)\n") }
  }

  var failure: CommandFailure? {
    guard rows < level.specification.codewordCount else { return nil }
    return CommandFailure(
      "\(rows) \(rows == 1 ? "vector is" : "vectors are") too few to train \(codewords); "
        + "expected at least one a codeword, and better \(LevelSpecification.fewRows)",
      hint: "Train on more vectors (--sample, or a larger table), or on fewer codewords (--levels)."
    )
  }

  var warning: String? {
    let wanted = LevelSpecification.fewRows
    guard rows < wanted * level.specification.codewordCount else { return nil }
    // Rounded down, so that it never says the number that would be enough.
    let tenths = rows * 10 / level.specification.codewordCount
    return """
      wrvq: warning: \(rows) vectors are few to train \(codewords): \(tenths / 10).\(tenths % 10) a codeword
      hint: Below \(wanted) a codeword, other vectors lose a tenth and more than they need to: \
      train on more vectors (--sample, or a larger table), or on fewer codewords (--levels).
      """
  }

  private var codewords: String {
    let each = if case .product = level.specification.kind { " of each piece" } else { "" }
    return "the \(level.specification.codewordCount) codewords\(each) of level \(level.number) "
      + "(\(level.specification))"
  }
}

extension SampleCheck {
  /// Rows that a codebook can learn from: under cosine those that have a direction.
  static func usableRows(_ values: [Float], dimensions: Int, _ metric: Codebook.Metric) -> Int {
    guard metric == .cosine else { return values.count / dimensions }
    return stride(from: 0, to: values.count, by: dimensions).count { start in
      values[start..<start + dimensions].contains { $0 != 0 }
    }
  }
}
