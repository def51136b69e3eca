import TestSupport
import Testing
import WRVQ

/// The encoder as DESIGN puts it, in double precision and row by row, to judge another's choices.
///
/// It follows the codes and weights that it is shown, so that a tie which rounding decides at one
/// level does not make all later ones incomparable.
struct EncoderTwin {
  let codebook: Codebook

  /// The vector that is encoded.
  func prepared(_ x: ArraySlice<Float>) -> [Double] {
    let scaled = x.map { Double($0) * Double(codebook.scale) }
    if codebook.metric != .cosine { return scaled }
    let length = max(length(scaled), 1e-300)
    return scaled.map { $0 / length }
  }

  /// `Tᵀc` of a row's codes at a level.
  func direction(_ level: Codebook.Level, _ codes: [Int]) -> [Double] {
    let c = codes.enumerated().flatMap { piece, code in codeword(level, piece, code) }
    return level.transform.map { rotated(c, $0, inverse: true) }
      ?? Array(c.prefix(codebook.dimensions))
  }

  /// Checks that every choice is the best one, up to rounding, and that the loss is right.
  func check(_ encoded: EncodedVectors, of rows: [Float]) {
    let d = codebook.dimensions, levels = codebook.levels
    let n = rows.count / d
    #expect(encoded.rowCount == n && encoded.weights.count == n * levels.count)
    var losses = [Double](repeating: 0, count: levels.count)
    for row in 0..<n {
      var r = prepared(rows[row * d..<(row + 1) * d])
      for (i, level) in levels.enumerated() {
        let codes = encoded.codes(level: i, row: row)
        let stored = Double(encoded.weights[row * levels.count + i])
        checkCodes(codes, of: r, level, "row \(row), level \(i)")
        let v = direction(level, codes)
        checkWeight(stored, of: r, v, level, "row \(row), level \(i)")
        r = sum(r, -stored, v)
        losses[i] += dot(r, r)
      }
    }
    for (found, total) in zip(encoded.loss, losses) {
      let expected = total / Double(n)
      #expect(abs(found - expected) <= 1e-4 * expected + 1e-9)
    }
    #expect(encoded.loss.count == levels.count)
  }

  private func checkCodes(
    _ codes: [Int], of r: [Double], _ level: Codebook.Level, _ place: Comment
  ) {
    let length = level.weightRule == .one ? 1 : max(length(r), 1e-300)
    let u = r.map { $0 / length }
    let z = level.transform.map { rotated(u, $0, inverse: false) } ?? u
    let (size, count) =
      switch level.kind {
      case .flat(let count): (z.count, count)
      case .product(_, let size): (size, 16)
      }
    for (piece, code) in codes.enumerated() {
      let part = (0..<size).map {
        piece * size + $0 < z.count ? z[piece * size + $0] : 0
      }
      let scores = (0..<count).map { candidate in
        let c = codeword(level, piece, candidate)
        let norm = level.kind.name == "flat" && level.weightRule == .projection ? 0 : dot(c, c)
        return dot(part, c) - 0.5 * norm
      }
      let best = scores.max()!
      #expect(scores[code] >= best - 1e-5 * (1 + abs(best)), place)
    }
  }

  private func checkWeight(
    _ stored: Double, of r: [Double], _ v: [Double], _ level: Codebook.Level, _ place: Comment
  ) {
    let exact =
      switch level.weightRule {
      case .one: 1.0
      case .norm: length(r)
      case .projection: dot(v, v) > 0 ? dot(r, v) / dot(v, v) : 0
      }
    if level.weightRule == .one || level.weightBits == 16 {
      #expect(abs(stored - exact) <= abs(exact) / 2000 + 1e-6, place)
      return
    }
    let grid = level.weights!.map(Double.init)
    let nearest = grid.map { abs($0 - exact) }.min()!
    #expect(grid.contains(stored) && abs(stored - exact) <= nearest + 1e-5, place)
  }

  func codeword(_ level: Codebook.Level, _ piece: Int, _ code: Int) -> [Double] {
    let (size, number) =
      switch level.kind {
      case .flat: (codebook.dimensions, code)
      case .product(_, let size): (size, piece * 16 + code)
      }
    return level.codewords[number * size..<(number + 1) * size].map(Double.init)
  }

  func rotated(_ x: [Double], _ transform: [Float], inverse: Bool) -> [Double] {
    let d = codebook.dimensions
    return (0..<d).map { i in
      (0..<d).reduce(0.0) { total, j in
        total + Double(transform[inverse ? j * d + i : i * d + j]) * x[j]
      }
    }
  }
}

extension EncodedVectors {
  /// A row's codes at a level: one, or one a piece.
  func codes(level: Int, row: Int) -> [Int] {
    switch codes[level] {
    case .flat(let codes): [Int(codes[row])]
    case .product(let codes, let pieces): codes[row * pieces..<(row + 1) * pieces].map(Int.init)
    }
  }
}

extension Codebook.Level {
  /// Takes from the last piece's codewords what is beyond the dimensions.
  mutating func clearPadding(dimensions: Int) {
    guard case .product(let pieces, let size) = kind else { return }
    for i in (pieces - 1) * 16 * size..<codewords.count
    where (pieces - 1) * size + i % size >= dimensions {
      codewords[i] = 0
    }
  }
}

/// Random codebooks for tests of encoding.
enum EncoderSample {
  /// Every kind of level, under one rule and with weights of some bits.
  ///
  /// - Parameters:
  ///   - dimensions: Of which pieces of 4 may leave some over.
  ///   - rule: Of all levels but the first.
  static func codebook(
    dimensions d: Int = 10, metric: Codebook.Metric = .l2,
    rule: Codebook.WeightRule = .projection, bits: Int = 16, seed: UInt64 = 1
  ) -> Codebook {
    var numbers = TestNumbers(seed: seed)
    func level(
      _ kind: Codebook.Kind, _ values: Int, size: Float, rotated: Bool = false
    ) -> Codebook.Level {
      let grid = numbers.normals(bits == 16 ? 0 : 1 << bits, times: 0.4).map { half(0.6 + $0) }
      return Codebook.Level(
        kind: kind, weightRule: rule, weightBits: bits,
        codewords: numbers.normals(values, times: size).map(half),
        transform: rotated ? rotation(d, &numbers) : nil, weights: bits == 16 ? nil : grid)
    }
    let p = min(4, d), pieces = (d + p - 1) / p, size = 1 / Float(d).squareRoot()
    var first = level(.flat(count: 7), 7 * d, size: size)
    (first.weightRule, first.weightBits, first.weights) = (.one, 16, nil)
    return Codebook(
      dimensions: d, metric: metric, scale: metric == .cosine ? 1 : 0.5,
      levels: [
        first, level(.flat(count: 20), 20 * d, size: size),
        level(.product(pieces: pieces, pieceDimensions: p), pieces * 16 * p, size: size),
        level(.flat(count: 300), 300 * d, size: size, rotated: true),
        level(.flat(count: 1), d, size: size),
        level(
          .product(pieces: pieces, pieceDimensions: p), pieces * 16 * p, size: size, rotated: true),
      ])
  }

  /// One of a transform in two blocks.
  static func blockCodebook() -> Codebook {
    // Above 768 dimensions transforms come in blocks; here they turn pairs by a right angle.
    let d = 770, block = 385
    var transform = [Float](repeating: 0, count: d * d)
    for i in 0..<d {
      let j = i % block == block - 1 ? i : i % block % 2 == 0 ? i + 1 : i - 1
      transform[i * d + j] = j < i ? -1 : 1
    }
    var numbers = TestNumbers(seed: 5)
    let pieces = (d + 5) / 6
    return Codebook(
      dimensions: d, metric: .ip,
      levels: [
        Codebook.Level(
          kind: .flat(count: 2), weightRule: .one, codewords: numbers.normals(2 * d).map(half)),
        Codebook.Level(
          kind: .product(pieces: pieces, pieceDimensions: 6), weightRule: .projection,
          codewords: numbers.normals(pieces * 96).map(half), transform: transform),
      ])
  }

  /// A random orthogonal matrix, rounded to halves.
  static func rotation(_ d: Int, _ numbers: inout TestNumbers) -> [Float] {
    var rows: [[Double]] = []
    for _ in 0..<d {
      var row = numbers.normals(d).map(Double.init)
      // Twice, for Gram and Schmidt lose digits when the row is nearly spanned.
      for _ in 0..<2 {
        for other in rows { row = sum(row, -dot(row, other), other) }
      }
      let norm = length(row)
      rows.append(row.map { $0 / norm })
    }
    return rows.joined().map { half(Float($0)) }
  }

  /// The nearest half: what codebooks are made of.
  static func half(_ value: Float) -> Float { Float(Float16(value)) }

  /// Vectors with a zero among them.
  static func rows(_ count: Int, dimensions d: Int = 10, seed: UInt64 = 3) -> [Float] {
    var rows = SeededVectors.clustered(count, d, seed: seed)
    if count > 4 { for i in 3 * d..<4 * d { rows[i] = 0 } }
    return rows
  }
}
