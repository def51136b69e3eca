import CWRVQKernels

// The 16 codewords of a product level's piece, against rows in tiles: sixteen
// rows side by side, one dimension after the other.

/// Rows that k-means++ chooses a piece's first codewords from.
let pieceSeedRows = 512

/// Floats of scratch for training and measuring `m` pieces of `p` dimensions.
func pieceScratchFloats(_ m: Int, _ p: Int) -> Int {
  greater(16 &* m &+ 48, (pieceSeedRows &+ 16) &* (p &+ 1) &+ 128)
}

struct PieceCodewords {
  /// `16 × stride`, zero beyond `dimensions`; written while training only.
  let codewords: MutableFloatPointer
  let stride: Int
  let dimensions: Int

  func halfNorms(_ out: MutableFloatPointer) {
    var c = 0
    while c < 16 {
      let codeword = codewords + c &* stride
      out[c] = 0.5 * dot(codeword, codeword, stride)
      c &+= 1
    }
  }

  /// k-means++ (Arthur and Vassilvitskii, SODA 2007).
  ///
  /// - Parameters:
  ///   - rows: `n × stride`.
  ///   - distances: Scratch, `n`.
  func seed(
    _ rows: FloatPointer, _ n: Int, _ distances: MutableFloatPointer, _ random: inout SplitMix64
  ) {
    clear(codewords, 16 &* stride)
    var chosen = random.next(below: n)
    var c = 0
    while c < 16 {
      copy(rows + chosen &* stride, dimensions, to: codewords + c &* stride)
      var total: Float = 0
      var i = 0
      while i < n {
        let distance = squaredDistance(rows + i &* stride, c)
        if c == 0 || distance < distances[i] { distances[i] = distance }
        total += distances[i]
        i &+= 1
      }
      // A row is chosen with probability in proportion to its distance from the nearest codeword.
      var left = random.nextUnit() * total
      chosen = 0
      while chosen &+ 1 < n && left >= distances[chosen] {
        left -= distances[chosen]
        chosen &+= 1
      }
      c &+= 1
    }
  }

  private func squaredDistance(_ row: FloatPointer, _ c: Int) -> Float {
    var sum: Float = 0
    var j = 0
    while j < dimensions {
      let difference = row[j] - codewords[c &* stride &+ j]
      sum += difference * difference
      j &+= 1
    }
    return sum
  }
}

/// The nearest codewords of a tile's 16 rows.
struct TileCodes {
  var code0 = SIMD8<Int32>.zero, code1 = SIMD8<Int32>.zero
  var score0: Floats8, score1: Floats8
  var halfNorm0: Floats8, halfNorm1: Floats8

  @inline(__always)
  init(_ x: FloatPointer, _ piece: PieceCodewords, _ halfNorms: FloatPointer) {
    (score0, score1) = (Floats8(repeating: -.infinity), Floats8(repeating: -.infinity))
    (halfNorm0, halfNorm1) = (Floats8.zero, Floats8.zero)
    var c = 0
    while c < 16 {
      let codeword = piece.codewords + c &* piece.stride
      let half = Floats8(repeating: halfNorms[c])
      var s0 = -half, s1 = -half
      var j = 0
      while j < piece.dimensions {
        let v = Floats8(repeating: codeword[j])
        s0 = ws_fma(s0, v, load8(x, 16 &* j))
        s1 = ws_fma(s1, v, load8(x, 16 &* j &+ 8))
        j &+= 1
      }
      let code = SIMD8<Int32>(repeating: Int32(truncatingIfNeeded: c))
      let better0 = s0 .> score0, better1 = s1 .> score1
      score0.replace(with: s0, where: better0)
      score1.replace(with: s1, where: better1)
      halfNorm0.replace(with: half, where: better0)
      halfNorm1.replace(with: half, where: better1)
      code0.replace(with: code, where: better0)
      code1.replace(with: code, where: better1)
      c &+= 1
    }
  }
}

/// Sums of the rows that chose each codeword of a piece.
struct PieceMeans {
  private let piece: PieceCodewords
  private let halfNorms: MutableFloatPointer
  private let totals: MutableFloatPointer
  private let codes: UnsafeMutablePointer<Int32>
  private let sums: MutableFloatPointer

  init(_ piece: PieceCodewords, _ scratch: MutableFloatPointer) {
    self.piece = piece
    halfNorms = scratch
    totals = scratch + 16
    codes = UnsafeMutableRawPointer(scratch + 32).assumingMemoryBound(to: Int32.self)
    sums = scratch + 48
    piece.halfNorms(halfNorms)
    clear(totals, 16)
    clear(sums, 16 &* piece.stride)
  }

  /// Adds the first `n` rows of a tile, weighted by the squares of `lengths`, of outliers by less.
  @inline(never)
  mutating func add(_ x: FloatPointer, _ n: Int, _ lengths: FloatPointer?) {
    let nearest = TileCodes(x, piece, halfNorms)
    UnsafeMutableRawPointer(codes).storeBytes(of: nearest.code0, as: SIMD8<Int32>.self)
    UnsafeMutableRawPointer(codes + 8).storeBytes(of: nearest.code1, as: SIMD8<Int32>.self)
    var r = 0
    while r < n {
      let code = Int(codes[r])
      let length = lengths.map { limitedLength($0[r]) } ?? 1
      let weight = length * length
      totals[code] += weight
      let sum = sums + code &* piece.stride
      var j = 0
      while j < piece.dimensions {
        sum[j] += weight * x[16 &* j &+ r]
        j &+= 1
      }
      r &+= 1
    }
  }

  /// The sums become codewords; one that no row chose goes near the largest.
  mutating func finish(_ random: inout SplitMix64) {
    var largest = 0
    var c = 1
    while c < 16 {
      if totals[c] > totals[largest] { largest = c }
      c &+= 1
    }
    c = 0
    while c < 16 {
      let codeword = piece.codewords + c &* piece.stride
      let source = totals[c] > 0 ? c : largest
      if totals[source] > 0 {
        copy(sums + source &* piece.stride, piece.dimensions, to: codeword)
        scale(codeword, 1 / totals[source], piece.dimensions)
      }
      if source != c {
        var j = 0
        while j < piece.dimensions {
          codeword[j] *= 0.9 + 0.2 * random.nextUnit()
          j &+= 1
        }
      }
      roundThroughHalves(codeword, piece.dimensions)
      c &+= 1
    }
  }
}

/// Products with the decoded row, its squared length and the row's own, for 16 rows.
struct TileFit {
  private var product0 = Floats8.zero, product1 = Floats8.zero
  private var norm0 = Floats8.zero, norm1 = Floats8.zero
  private var square0 = Floats8.zero, square1 = Floats8.zero

  @inline(never)
  mutating func add(_ x: FloatPointer, _ piece: PieceCodewords, _ halfNorms: FloatPointer) {
    let nearest = TileCodes(x, piece, halfNorms)
    product0 += nearest.score0 + nearest.halfNorm0
    product1 += nearest.score1 + nearest.halfNorm1
    norm0 += nearest.halfNorm0 + nearest.halfNorm0
    norm1 += nearest.halfNorm1 + nearest.halfNorm1
    var j = 0
    while j < piece.dimensions {
      let a = load8(x, 16 &* j), b = load8(x, 16 &* j &+ 8)
      square0 = ws_fma(square0, a, a)
      square1 = ws_fma(square1, b, b)
      j &+= 1
    }
  }

  /// Output: `[3][16]`.
  func store(_ out: MutableFloatPointer) {
    store8(out, 0, product0)
    store8(out, 8, product1)
    store8(out, 16, norm0)
    store8(out, 24, norm1)
    store8(out, 32, square0)
    store8(out, 40, square1)
  }
}

/// Codes of a tile's 16 rows, their products with the decoded rows, and the squared lengths of these.
///
/// - Parameters:
///   - x: `[d][16]`.
///   - codewords: `[pieces][16][p]`.
///   - halfNorms: `[pieces][16]`.
///   - codes: Output, `[16][pieces]`.
///   - fit: Output, `[2][16]`.
@inline(never)
func encodeTile(
  _ x: FloatPointer, _ d: Int, _ codewords: FloatPointer, _ halfNorms: FloatPointer,
  _ pieces: Int, _ p: Int, _ codes: UnsafeMutablePointer<UInt8>, _ fit: MutableFloatPointer
) {
  var product0 = Floats8.zero, product1 = Floats8.zero
  var norm0 = Floats8.zero, norm1 = Floats8.zero
  var q = 0
  while q < pieces {
    let piece = PieceCodewords(
      codewords: MutableFloatPointer(mutating: codewords + 16 &* q &* p), stride: p,
      dimensions: lesser(p, d &- q &* p))
    let nearest = TileCodes(x + 16 &* q &* p, piece, halfNorms + 16 &* q)
    product0 += nearest.score0 + nearest.halfNorm0
    product1 += nearest.score1 + nearest.halfNorm1
    norm0 += nearest.halfNorm0 + nearest.halfNorm0
    norm1 += nearest.halfNorm1 + nearest.halfNorm1
    var lane = 0
    while lane < 8 {
      codes[lane &* pieces &+ q] = UInt8(truncatingIfNeeded: nearest.code0[lane])
      codes[(lane &+ 8) &* pieces &+ q] = UInt8(truncatingIfNeeded: nearest.code1[lane])
      lane &+= 1
    }
    q &+= 1
  }
  store8(fit, 0, product0)
  store8(fit, 8, product1)
  store8(fit, 16, norm0)
  store8(fit, 24, norm1)
}
