import CWRVQKernels
import TestSupport
import Testing

/// Sixteen rows side by side against a product level, in guarded memory.
private struct Tile {
  let d: Int, p: Int, pieces: Int
  /// `16 × d`.
  let rows: [Float]
  /// `pieces × 16 × p`, zero beyond the dimensions.
  var codewords: [Float]

  init(d: Int, p: Int, values: (inout TestNumbers) -> Float) {
    (self.d, self.p, pieces) = (d, p, (d + p - 1) / p)
    var numbers = TestNumbers(seed: UInt64(100 * d + p))
    rows = (0..<16 * d).map { _ in values(&numbers) }
    codewords = (0..<pieces * 16 * p).map { _ in values(&numbers) }
    for i in codewords.indices where i / (16 * p) * p + i % p >= d { codewords[i] = 0 }
  }

  func codeword(_ piece: Int, _ code: Int) -> [Float] {
    Array(codewords[(piece * 16 + code) * p..<(piece * 16 + code + 1) * p])
  }

  func part(_ row: Int, _ piece: Int) -> [Float] {
    (piece * p..<(piece + 1) * p).map { $0 < d ? rows[row * d + $0] : 0 }
  }

  func encode(_ kernels: wrvq_kernels) -> (codes: [UInt8], fit: [Float]) {
    let tile = GuardedBuffer<Float>(count: 16 * d), source = GuardedBuffer(rows)
    kernels.pack(source.pointer, 16, d, tile.pointer)
    let guarded = GuardedBuffer(codewords)
    let halfNorms = GuardedBuffer(
      (0..<pieces * 16).map { i in
        Float(KernelReference.innerProduct(codeword(i / 16, i % 16), codeword(i / 16, i % 16)) / 2)
      })
    let codes = GuardedBuffer<UInt8>(count: 16 * pieces).spoil()
    let fit = GuardedBuffer<Float>(count: 32).spoil()
    kernels.encode_tile(
      tile.pointer, d, guarded.pointer, halfNorms.pointer, pieces, p, codes.pointer, fit.pointer)
    return (codes.elements, fit.elements)
  }
}

@Suite struct TileTests {
  private static let sizes = [
    (1, 1), (2, 4), (4, 4), (5, 2), (7, 8), (12, 4), (17, 6), (33, 3), (96, 4), (130, 8),
  ]

  @Test(arguments: KernelLevel.available)
  func everyPieceGetsItsNearestCodeword(_ level: KernelLevel) {
    for (d, p) in Self.sizes {
      let tile = Tile(d: d, p: p) { $0.normal() }
      let (codes, fit) = tile.encode(level.kernels)
      for row in 0..<16 {
        var product = 0.0, norm = 0.0
        for piece in 0..<tile.pieces {
          let part = tile.part(row, piece), code = Int(codes[row * tile.pieces + piece])
          let distances = (0..<16).map {
            KernelReference.l2Distance(part, tile.codeword(piece, $0))
          }
          #expect(distances[code] <= distances.min()! * (1 + 1e-5) + 1e-6)
          product += KernelReference.innerProduct(part, tile.codeword(piece, code))
          norm += KernelReference.innerProduct(
            tile.codeword(piece, code), tile.codeword(piece, code))
        }
        #expect(abs(Double(fit[row]) - product) <= 1e-5 * (abs(product) + norm))
        #expect(abs(Double(fit[16 + row]) - norm) <= 1e-5 * norm)
      }
    }
  }

  /// Exact in halves of integers, so that equal scores are equal.
  @Test(arguments: KernelLevel.available)
  func theLowerNumberWinsTies(_ level: KernelLevel) {
    for (d, p) in Self.sizes {
      let tile = Tile(d: d, p: p) { Float($0.below(3)) }
      let codes = tile.encode(level.kernels).codes
      for row in 0..<16 {
        for piece in 0..<tile.pieces {
          let part = tile.part(row, piece)
          let scores = (0..<16).map { code in
            let c = tile.codeword(piece, code)
            return KernelReference.innerProduct(part, c) - KernelReference.innerProduct(c, c) / 2
          }
          let best = scores.firstIndex(of: scores.max()!)!
          #expect(Int(codes[row * tile.pieces + piece]) == best)
        }
      }
    }
  }
}
