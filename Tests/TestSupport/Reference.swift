import CWRVQKernels

/// WRVQ as the paper puts it (eqs. 5–9): greedy encoding in double precision, one row at a time.
public enum Reference {
  /// A level in row-major numbers.
  public struct Level {
    public var kind: SampleShape.Level
    public var codewords: [Double]

    public init(_ kind: SampleShape.Level, _ codewords: [Float]) {
      self.kind = kind
      self.codewords = codewords.map(Double.init)
    }
  }

  /// Quantization loss after each level: the mean squared length of the rows' residuals.
  ///
  /// - Parameters:
  ///   - transform: Dense, row-major, before a product level; empty for none.
  public static func losses(
    _ rows: [Float], dimensions d: Int, levels: [Level], transform: [Double]
  ) -> [Double] {
    var sums = [Double](repeating: 0, count: levels.count)
    for start in stride(from: 0, to: rows.count, by: d) {
      var residual = rows[start..<start + d].map(Double.init)
      for (i, level) in levels.enumerated() {
        residual = rest(of: residual, level, transform)
        sums[i] += dot(residual, residual)
      }
    }
    return sums.map { $0 / Double(rows.count / d) }
  }

  /// What a level leaves of a residual.
  public static func rest(of r: [Double], _ level: Level, _ transform: [Double]) -> [Double] {
    switch level.kind {
    case .flat(let count, let rule):
      let d = r.count
      let codewords = (0..<count).map { Array(level.codewords[$0 * d..<($0 + 1) * d]) }
      let length = rule == WRVQ_WEIGHT_ONE ? 1 : length(r)
      let unit = r.map { length > 0 ? $0 / length : 0 }
      let code = best(unit, codewords, withNorms: rule != WRVQ_WEIGHT_PROJECTION)
      return sum(r, -weight(rule, r, length, codewords[code]), codewords[code])
    case .product(let pieces, let p, let rule):
      let length = rule == WRVQ_WEIGHT_ONE ? 1 : length(r)
      let z = transformed(r, transform)
      let unit = z.map { length > 0 ? $0 / length : 0 }
      var decoded: [Double] = []
      for piece in 0..<pieces {
        let part = (0..<p).map { piece * p + $0 < unit.count ? unit[piece * p + $0] : 0 }
        let codewords = (0..<16).map {
          Array(level.codewords[(piece * 16 + $0) * p..<(piece * 16 + $0 + 1) * p])
        }
        decoded += codewords[best(part, codewords, withNorms: true)]
      }
      decoded = Array(decoded.prefix(z.count))
      // The transform is orthogonal: lengths are the same on both sides.
      return sum(z, -weight(rule, z, length, decoded), decoded)
    }
  }

  private static func best(_ x: [Double], _ codewords: [[Double]], withNorms: Bool) -> Int {
    let scores = codewords.map { dot(x, $0) - (withNorms ? 0.5 * dot($0, $0) : 0) }
    return scores.indices.reduce(0) { scores[$1] > scores[$0] ? $1 : $0 }
  }

  private static func weight(
    _ rule: wrvq_weight_rule, _ r: [Double], _ length: Double, _ codeword: [Double]
  ) -> Double {
    switch rule {
    case WRVQ_WEIGHT_ONE: return 1
    case WRVQ_WEIGHT_NORM: return length
    default:
      let norm = dot(codeword, codeword)
      return norm > 0 ? dot(r, codeword) / norm : 0
    }
  }

  public static func transformed(_ x: [Double], _ transform: [Double]) -> [Double] {
    if transform.isEmpty { return x }
    return x.indices.map { dot(Array(transform[$0 * x.count..<($0 + 1) * x.count]), x) }
  }

  /// Covariance of rows, row-major.
  public static func covariance(_ rows: [[Double]]) -> [[Double]] {
    let n = Double(rows.count), d = rows[0].count
    let mean = (0..<d).map { i in rows.reduce(0) { $0 + $1[i] } / n }
    return (0..<d).map { i in
      (0..<d).map { j in
        rows.reduce(0) { $0 + ($1[i] - mean[i]) * ($1[j] - mean[j]) } / n
      }
    }
  }
}
