import CWRVQKernels

/// A product level that ends a codebook, where nobody asks for what it leaves of the rows.
///
/// Sixteen rows side by side are turned and encoded together.  As the transform is orthogonal, what a
/// row loses is known without turning its codewords back.
struct TileEncoder: Sendable {
  private struct Block {
    let first: Int
    let size: Int
    /// Where its rows begin.
    let start: Int
  }

  /// Rows of a tile.
  static let rows = 16
  /// How far a transform may be from orthogonal: some times what rounding to halves makes of it.
  private static let deviation: Float = 3e-4

  private let dimensions: Int
  private let pieces: Int
  private let size: Int
  private let weightRule: Codebook.WeightRule
  private let codewords: [Float]
  private let halfNorms: [Float]
  private let transform: [Float]
  private let blocks: [Block]
  private let quantizer: WeightQuantizer
  private let kernels: wrvq_kernels

  /// - Returns: nil for another kind of level, a transform that is not quite orthogonal, or a last piece
  ///   whose codewords have something beyond the dimensions: training makes neither.
  init?(_ level: Codebook.Level, dimensions: Int, kernels: wrvq_kernels) {
    guard case .product(let pieces, let size) = level.kind else { return nil }
    let used = dimensions - (pieces - 1) * size
    let last = level.codewords.suffix(16 * size)
    guard last.enumerated().allSatisfy({ $0 % size < used || $1 == 0 }) else { return nil }
    let parts = level.transform.map { TransformBlocks(dense: $0, dimensions: dimensions) }
    if let parts, parts.deviation > Self.deviation { return nil }
    self.dimensions = dimensions
    (self.pieces, self.size) = (pieces, size)
    weightRule = level.weightRule
    codewords = level.codewords
    halfNorms = codewordHalfNorms(level.codewords, size)
    quantizer = WeightQuantizer(level)
    self.kernels = kernels
    transform = parts?.values ?? []
    var start = 0
    blocks =
      parts.map { parts in
        stride(from: 0, to: dimensions, by: parts.blockDimensions).map { first in
          let size = min(parts.blockDimensions, dimensions - first)
          defer { start += size * size }
          return Block(first: first, size: size, start: start)
        }
      } ?? []
  }

  /// Encodes `n` residuals, which are lost.
  ///
  /// - Parameters:
  ///   - residuals: `[n × dimensions]`.
  ///   - codes: Output, `[n × pieces]`.
  ///   - weights: Output, `[n]`, every `stride`-th.
  /// - Returns: The sum of the new residuals' squared lengths.
  func encode(
    _ residuals: UnsafeMutablePointer<Float>, _ n: Int, codes: UnsafeMutablePointer<UInt8>,
    weights: UnsafeMutablePointer<Float16>, stride: Int
  ) -> Double {
    let d = dimensions, tile = Self.rows
    return withUnsafeTemporaryAllocation(of: Float.self, capacity: 2 * tile * (d + 1)) { floats in
      withUnsafeTemporaryAllocation(of: UInt8.self, capacity: tile * pieces) { bytes in
        let packed = floats.baseAddress!, turned = packed + tile * d, fit = turned + tile * d
        var loss = 0.0
        for first in Swift.stride(from: 0, to: n, by: tile) {
          let rows = residuals + first * d, count = min(tile, n - first)
          let squares = normalize(rows, count)
          kernels.pack(rows, count, d, packed)
          turn(packed, turned)
          kernels.encode_tile(
            blocks.isEmpty ? packed : turned, d, codewords, halfNorms, pieces, size,
            bytes.baseAddress!, fit)
          (codes + first * pieces).update(from: bytes.baseAddress!, count: count * pieces)
          for row in 0..<count {
            let (weight, left) = weigh(squares[row], Double(fit[row]), Double(fit[tile + row]))
            weights[(first + row) * stride] = weight
            loss += left
          }
        }
        return loss
      }
    }
  }

  /// Makes directions of some rows, unless their weight is one.
  ///
  /// - Returns: The squared lengths that they had.
  private func normalize(_ rows: UnsafeMutablePointer<Float>, _ count: Int) -> SIMD16<Double> {
    var squares = SIMD16<Double>.zero
    for row in 0..<count {
      let r = rows + row * dimensions
      squares[row] = kernels.inner_product(r, r, dimensions)
      if weightRule == .one { continue }
      let factor = 1 / max(squares[row].squareRoot(), 1e-30)
      for i in 0..<dimensions { r[i] = Float(Double(r[i]) * factor) }
    }
    return squares
  }

  private func turn(_ tile: UnsafePointer<Float>, _ out: UnsafeMutablePointer<Float>) {
    transform.withUnsafeBufferPointer { transform in
      for block in blocks {
        kernels.inner_products(
          transform.baseAddress! + block.start, block.size, block.size,
          tile + Self.rows * block.first, Self.rows, out + Self.rows * block.first)
      }
    }
  }

  /// The weight that is stored of a row, and the square of what it leaves.
  ///
  /// - Parameters:
  ///   - square: Of the row's length.
  ///   - product: Of the direction, or of the row where the weight is one, with the codewords.
  ///   - norm: The codewords' squared length.
  private func weigh(_ square: Double, _ product: Double, _ norm: Double) -> (Float16, Double) {
    let length = weightRule == .one ? 1 : square.squareRoot()
    let weight: Float16 =
      switch weightRule {
      case .one: 1
      case .norm: quantizer.stored(Float(length))
      case .projection: quantizer.stored(Float(length * product / max(norm, 1e-30)))
      }
    let w = Double(weight)
    return (weight, max(0, square - 2 * w * length * product + w * w * norm))
  }
}
