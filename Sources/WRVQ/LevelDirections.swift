import CWRVQKernels

/// What the codes of a level contribute for each unit of weight, in the codebook's space.
struct LevelDirections: Sendable {
  private let level: Codebook.Level
  private let dimensions: Int
  private let rotation: BlockRotation?

  init(_ level: Codebook.Level, dimensions: Int, kernels: wrvq_kernels) {
    self.level = level
    self.dimensions = dimensions
    rotation = level.transform.map {
      BlockRotation($0, dimensions: dimensions, inverse: true, kernels: kernels)
    }
  }

  /// Codes of a row: one, or one a piece.
  var codesPerRow: Int {
    if case .product(let pieces, _) = level.kind { pieces } else { 1 }
  }

  /// `Tᵀc` of every codeword, of a product level of every codeword of every piece: one a row.
  var all: [Float] {
    var rows = level.codewords
    var count = rows.count / dimensions
    if case .product(let pieces, let size) = level.kind {
      count = pieces * 16
      rows = [Float](repeating: 0, count: count * dimensions)
      for codeword in 0..<count {
        let first = codeword / 16 * size
        for i in first..<min(first + size, dimensions) {
          rows[codeword * dimensions + i] = level.codewords[codeword * size + i - first]
        }
      }
    }
    rows.withUnsafeMutableBufferPointer { rows in
      rotation?.apply(UnsafePointer(rows.baseAddress!), count, rows.baseAddress!)
    }
    return rows
  }

  /// `Tᵀc` for `n` rows.
  ///
  /// - Parameters:
  ///   - codes: `[n × codesPerRow]`, below the number of codewords.
  ///   - out: `[n × dimensions]`.
  func fill<Code: FixedWidthInteger>(
    _ codes: UnsafePointer<Code>, _ n: Int, _ out: UnsafeMutablePointer<Float>
  ) {
    level.codewords.withUnsafeBufferPointer { codewords in
      let codewords = codewords.baseAddress!
      switch level.kind {
      case .flat:
        for row in 0..<n {
          (out + row * dimensions).update(
            from: codewords + Int(codes[row]) * dimensions, count: dimensions)
        }
      case .product(let pieces, let size):
        for row in 0..<n {
          for piece in 0..<pieces {
            let first = piece * size
            (out + row * dimensions + first).update(
              from: codewords + (piece * 16 + Int(codes[row * pieces + piece])) * size,
              count: min(size, dimensions - first))
          }
        }
      }
    }
    rotation?.apply(out, n, out)
  }
}
