/// What a codebook's encoder makes of vectors: their codes and weights, level by level.
public struct EncodedVectors: Sendable, Equatable {
  /// The codes of one level.
  public enum Codes: Sendable, Equatable {
    /// A codeword's number for each row.
    case flat([UInt16])
    /// `rows × pieces` numbers 0…15, row-major.
    case product([UInt8], pieces: Int)
  }

  public var rowCount: Int
  public var codes: [Codes]
  /// `rows × levels`, row-major: the factors of the codewords, of the scaled vector.
  public var weights: [Float16]
  /// Quantization loss after each level: the mean squared length of the residuals of the scaled
  /// vectors (paper eq. 5); empty if unknown, or without rows.
  public var loss: [Double]

  public init(rowCount: Int, codes: [Codes], weights: [Float16], loss: [Double] = []) {
    self.rowCount = rowCount
    self.codes = codes
    self.weights = weights
    self.loss = loss
  }

  /// No vectors, to append others to.
  public init(for codebook: Codebook) {
    let codes = codebook.levels.map { level in
      switch level.kind {
      case .flat: Codes.flat([])
      case .product(let pieces, _): Codes.product([], pieces: pieces)
      }
    }
    self.init(rowCount: 0, codes: codes, weights: [])
  }

  /// Adds the rows of others, encoded with the same codebook.
  public mutating func append(_ other: EncodedVectors) {
    precondition(codes.count == other.codes.count, "rows of another codebook")
    let loss = Self.mean((self.loss, rowCount), (other.loss, other.rowCount))
    for level in codes.indices { codes[level].append(other.codes[level]) }
    weights += other.weights
    rowCount += other.rowCount
    self.loss = loss
  }

  private static func mean(_ a: ([Double], rows: Int), _ b: ([Double], rows: Int)) -> [Double] {
    if a.rows == 0 { return b.0 }
    if b.rows == 0 { return a.0 }
    let rows = Double(a.rows + b.rows)
    // Of one that is unknown the mean is, too.
    return zip(a.0, b.0).map { ($0 * Double(a.rows) + $1 * Double(b.rows)) / rows }
  }
}

extension EncodedVectors.Codes {
  fileprivate mutating func append(_ other: Self) {
    switch (self, other) {
    case (.flat(var codes), .flat(let others)):
      self = .flat([])  // so that the array has one owner and grows in place
      codes += others
      self = .flat(codes)
    case (.product(var codes, let pieces), .product(let others, let otherPieces)):
      precondition(pieces == otherPieces, "codes of another codebook")
      self = .product([], pieces: pieces)
      codes += others
      self = .product(codes, pieces: pieces)
    default: preconditionFailure("codes of another codebook")
    }
  }
}

// MARK: - Checks

extension EncodedVectors {
  /// Throws unless the codebook can decode these rows.
  ///
  /// - Parameter rows: Which rows' codes and weights to look at; within `0..<rowCount`.
  public func validate(
    for codebook: Codebook, rows: Range<Int>
  ) throws(EncodingError) {
    let levels = codebook.levels
    guard codes.count == levels.count else {
      throw .levelCount(codes.count, expected: levels.count)
    }
    for (index, level) in levels.enumerated() {
      switch (codes[index], level.kind) {
      case (.flat(let codes), .flat(let count)):
        try check(codes, perRow: 1, below: count, level: index, rows)
      case (.product(let codes, let pieces), .product(let expected, _)) where pieces == expected:
        try check(codes, perRow: pieces, below: 16, level: index, rows)
      default: throw .otherKind(level: index)
      }
    }
    guard weights.count == rowCount * levels.count else {
      throw .weightCount(weights.count, expected: rowCount * levels.count)
    }
    for index in rows.lowerBound * levels.count..<rows.upperBound * levels.count
    where !weights[index].isFinite {
      throw .weightNotFinite(row: index / levels.count, level: index % levels.count)
    }
  }

  private func check<Code: FixedWidthInteger>(
    _ codes: [Code], perRow: Int, below count: Int, level: Int, _ rows: Range<Int>
  ) throws(EncodingError) {
    guard codes.count == rowCount * perRow else {
      throw .codeCount(level: level, codes.count, expected: rowCount * perRow)
    }
    for index in rows.lowerBound * perRow..<rows.upperBound * perRow where codes[index] >= count {
      throw .codeOutOfRange(level: level, row: index / perRow, code: Int(codes[index]), count)
    }
  }
}
