import TestSupport
import WRVQ

/// Beam search and refit as one would write them first: in double precision, row by row, every
/// path with every codeword.
struct BeamTwin {
  /// A way to code a row.
  struct Path {
    var codes: [[Int]] = []
    var weights: [Double] = []
    var residual: [Double]

    var loss: Double { dot(residual, residual) }
  }

  let codebook: Codebook
  let width: Int
  private let twin: EncoderTwin
  /// What the codewords of flat levels contribute.
  private let directions: [[[Double]]]

  init(codebook: Codebook, width: Int) {
    self.codebook = codebook
    self.width = width
    let twin = EncoderTwin(codebook: codebook)
    self.twin = twin
    directions = codebook.levels.map { level in
      guard case .flat(let count) = level.kind else { return [] }
      return (0..<count).map { twin.direction(level, [$0]) }
    }
  }

  /// The paths of a row after all levels, the best first.
  func paths(_ row: ArraySlice<Float>) -> [Path] {
    var paths = [Path(residual: twin.prepared(row))]
    for (i, level) in codebook.levels.enumerated() {
      switch level.kind {
      case .flat(let count):
        let all = paths.flatMap { path in
          (0..<count).map { (path, $0, expectedLoss(path, level, directions[i][$0])) }
        }
        paths = all.sorted { $0.2 < $1.2 }.prefix(i == 0 ? 1 : width).map { path, code, _ in
          extended(path, level, [code])
        }
      case .product: paths = paths.map { extended($0, level, nearest($0, level)) }
      }
    }
    return paths.sorted { $0.loss < $1.loss }
  }

  /// What a codeword would leave, before its weight is rounded.
  private func expectedLoss(_ path: Path, _ level: Codebook.Level, _ v: [Double]) -> Double {
    let r = path.residual
    if level.weightRule == .projection {
      let product = dot(r, v), norm = dot(v, v)
      return dot(r, r) - (norm > 0 ? product * abs(product) / norm : 0)
    }
    let rest = sum(r, level.weightRule == .one ? -1 : -length(r), v)
    return dot(rest, rest)
  }

  /// The nearest codeword to each piece of the residual's direction.
  private func nearest(_ path: Path, _ level: Codebook.Level) -> [Int] {
    guard case .product(let pieces, let size) = level.kind else { return [] }
    let length = level.weightRule == .one ? 1 : max(length(path.residual), 1e-300)
    let u = path.residual.map { $0 / length }
    let z = level.transform.map { twin.rotated(u, $0, inverse: false) } ?? u
    return (0..<pieces).map { piece in
      let part = (0..<size).map { piece * size + $0 < z.count ? z[piece * size + $0] : 0 }
      let distances = (0..<16).map { code in
        let rest = sum(part, -1, twin.codeword(level, piece, code))
        return dot(rest, rest)
      }
      return distances.indices.min { distances[$0] < distances[$1] }!
    }
  }

  private func extended(_ path: Path, _ level: Codebook.Level, _ codes: [Int]) -> Path {
    let v = twin.direction(level, codes), norm = dot(v, v)
    let exact =
      switch level.weightRule {
      case .one: 1.0
      case .norm: length(path.residual)
      case .projection: norm > 0 ? dot(path.residual, v) / norm : 0
      }
    let weight = level.weightRule == .one ? 1 : Self.stored(exact, level)
    return Path(
      codes: path.codes + [codes], weights: path.weights + [weight],
      residual: sum(path.residual, -weight, v))
  }

  static func stored(_ weight: Double, _ level: Codebook.Level) -> Double {
    level.weights.map { grid in
      grid.map(Double.init).min { abs($0 - weight) < abs($1 - weight) }!
    } ?? Double(Float16(weight))
  }

  // MARK: Weights

  /// What weights leave of a row, given its codes.
  func loss(_ row: ArraySlice<Float>, _ codes: [[Int]], _ weights: [Double]) -> Double {
    var r = twin.prepared(row)
    for (i, level) in codebook.levels.enumerated() {
      r = sum(r, -weights[i], twin.direction(level, codes[i]))
    }
    return dot(r, r)
  }

  /// The least that any weights leave, by projecting the row out of the directions one by one.
  func leastLoss(_ row: ArraySlice<Float>, _ codes: [[Int]]) -> Double {
    var r = twin.prepared(row)
    var basis: [[Double]] = []
    for (i, level) in codebook.levels.enumerated() {
      var v = twin.direction(level, codes[i])
      if level.weightRule == .one {
        r = sum(r, -1, v)
        continue
      }
      let before = length(v)
      for _ in 0..<2 {
        for b in basis { v = sum(v, -dot(v, b), b) }
      }
      let rest = length(v)
      if rest > 1e-6 * before { basis.append(v.map { $0 / rest }) }
    }
    for b in basis { r = sum(r, -dot(r, b), b) }
    return dot(r, r)
  }
}

extension EncodedVectors {
  /// A row's codes, level by level.
  func codes(row: Int) -> [[Int]] { codes.indices.map { codes(level: $0, row: row) } }

  /// A row's weights, level by level.
  func weights(row: Int) -> [Double] {
    weights[row * codes.count..<(row + 1) * codes.count].map(Double.init)
  }
}
