import CWRVQKernels

// Vector → list, codes, weights.  A batch shares the unpacking of codewords; a row's code does not
// depend on the batch it comes in.

/// Scratch of one batch, cut from the caller's memory.
private struct EncoderScratch {
  let residuals: MutableFloatPointer  // n × d: what is still missing
  let codeword: MutableFloatPointer  // d, as decoded
  let panel: MutableFloatPointer  // 16·d
  let products: MutableFloatPointer  // n × max(16, widest flat level from 1), a panel's 16·n + 80
  let halfNorms: MutableFloatPointer  // max(16, widest flat level from 1); product: 16·pieces
  let codewords: MutableFloatPointer  // product: pieces × p × 16
  let scores: MutableFloatPointer  // n
  let codes: UnsafeMutablePointer<UInt32>  // n
  let factors: MutableFloatPointer  // n × levels: weights
  let pieceCodes: UnsafeMutablePointer<UInt8>  // pieces
  let groups: GroupScratch
  let bytes: Int

  init(_ shape: UnsafePointer<wrvq_shape>, _ n: Int, _ memory: UnsafeMutableRawPointer) {
    let d = shape.pointee.d
    var width = 16, productHalves = 0, pieces = 0
    var i = 1
    while i < shape.pointee.levelCount {
      let l = level(shape, i)
      if l.isProduct {
        productHalves = l.codewordHalves(dimensions: d)
        pieces = l.pieces
      } else if ceil16(l.count) > width {
        width = ceil16(l.count)
      }
      i &+= 1
    }
    var p = memory
    func floats(_ count: Int) -> MutableFloatPointer {
      let result = p.assumingMemoryBound(to: Float.self)
      p += 4 &* ceil16(count)
      return result
    }
    residuals = floats(n &* d)
    // A product level's last piece may reach beyond the dimensions.
    codeword = floats(d &+ productHalves / 16)
    panel = floats(16 &* d)
    products = floats(n &* (width &+ 16) &+ 80)
    halfNorms = floats(width > 16 &* pieces ? width : 16 &* pieces)
    codewords = floats(productHalves)
    scores = floats(n)
    codes = UnsafeMutableRawPointer(floats(n)).assumingMemoryBound(to: UInt32.self)
    factors = floats(n &* shape.pointee.levelCount)
    pieceCodes = UnsafeMutableRawPointer(floats(pieces)).assumingMemoryBound(to: UInt8.self)
    groups = GroupScratch(lists: listCount(shape), n, p.assumingMemoryBound(to: Float.self))
    _ = floats(groups.floats)
    bytes = p - memory
  }
}

/// Bytes of scratch for `prepare` and `encode` on batches of `n`.
@inline(never)
func encodeScratchBytes(_ codebook: UnsafePointer<wrvq_codebook>, _ n: Int) -> Int64 {
  let shape = wrvq_codebook_shape(codebook)
  let encoder = EncoderScratch(shape, n, UnsafeMutableRawPointer(bitPattern: 64)!).bytes
  let preparation = 4 &* prepareScratchFloats(shape, n)
  let spill = 4 &* spillScratchFloats(shape, n)
  return Int64(max(encoder, max(preparation, spill)))
}

/// Encodes prepared rows (paper eq. 8, greedy), with the correction of the decoded residual's
/// shrinking folded into the weights (wrvq_kernels.h, `wrvq_layout`).
///
/// - Parameters:
///   - prepared: `n × d`.
///   - scratch: `encodeScratchBytes`.
///   - encoded: Output, `n`.
///   - entries: Output, `n × entry_bytes`.
/// - Complexity: O(n·d·(lists + other codewords)).
@inline(never)
func encode(
  _ codebook: UnsafePointer<wrvq_codebook>, _ layout: UnsafePointer<wrvq_layout>,
  _ prepared: FloatPointer, _ n: Int, _ scratch: UnsafeMutableRawPointer,
  _ encoded: UnsafeMutablePointer<wrvq_encoded>, _ entries: UnsafeMutablePointer<UInt8>
) {
  encodeRows(codebook, layout, prepared, n, nil, scratch, encoded, entries)
}

/// `encode` with the rows' lists given.
@inline(never)
func encodeInLists(
  _ codebook: UnsafePointer<wrvq_codebook>, _ layout: UnsafePointer<wrvq_layout>,
  _ prepared: FloatPointer, _ n: Int, _ lists: UnsafePointer<UInt32>,
  _ scratch: UnsafeMutableRawPointer, _ encoded: UnsafeMutablePointer<wrvq_encoded>,
  _ entries: UnsafeMutablePointer<UInt8>
) {
  encodeRows(codebook, layout, prepared, n, lists, scratch, encoded, entries)
}

private func encodeRows(
  _ codebook: UnsafePointer<wrvq_codebook>, _ layout: UnsafePointer<wrvq_layout>,
  _ prepared: FloatPointer, _ n: Int, _ lists: UnsafePointer<UInt32>?,
  _ scratch: UnsafeMutableRawPointer,
  _ encoded: UnsafeMutablePointer<wrvq_encoded>, _ entries: UnsafeMutablePointer<UInt8>
) {
  let shape = wrvq_codebook_shape(codebook)
  let d = shape.pointee.d, levels = shape.pointee.levelCount
  let s = EncoderScratch(shape, n, scratch)
  if let lists {
    s.codes.update(from: lists, count: n)
  } else {
    assignLists(codebook, prepared, n, s)
  }
  beginResiduals(codebook, prepared, n, s, encoded)
  var offset = layout.pointee.constants_offset >= 0 ? 2 : 0
  var i = 1
  while i < levels {
    let l = level(shape, i)
    if l.isProduct {
      encodeProduct(
        l, wrvq_codebook_level(codebook, i), d, n, s, i, levels, layout, entries + offset)
    } else {
      encodeFlat(l, wrvq_codebook_level(codebook, i), d, n, s, i, levels, layout, entries + offset)
      if i <= shape.pointee.fuzzyLevels { noteSublists(s.codes, l.count, n, encoded) }
    }
    offset &+= l.codeBytes &+ 2
    i &+= 1
  }
  finish(codebook, layout, prepared, n, s, encoded, entries)
}

/// Level 0: the nearest lists, or as good as those.
private func assignLists(
  _ codebook: UnsafePointer<wrvq_codebook>, _ prepared: FloatPointer, _ n: Int, _ s: EncoderScratch
) {
  let shape = wrvq_codebook_shape(codebook)
  if comparedGroups(listCount(shape)) > 0 {
    assignByGroups(codebook, prepared, n, s.groups, s.panel, s.products, s.codes, s.scores)
  } else {
    assignWithHalves(
      prepared, n, shape.pointee.d, wrvq_codebook_level(codebook, 0),
      codebook.pointee.list_half_norms, listCount(shape), s.panel, s.products, s.codes, s.scores)
  }
}

/// What the lists in `codes` leave of the rows.
private func beginResiduals(
  _ codebook: UnsafePointer<wrvq_codebook>, _ prepared: FloatPointer, _ n: Int,
  _ s: EncoderScratch, _ encoded: UnsafeMutablePointer<wrvq_encoded>
) {
  let d = wrvq_codebook_shape(codebook).pointee.d
  let packed = wrvq_codebook_level(codebook, 0)
  var row = 0
  while row < n {
    let x = prepared + row &* d, r = s.residuals + row &* d
    unpackRow(packed, Int(s.codes[row]), d, s.codeword)
    r.update(from: x, count: d)
    subtract(s.codeword, r, d)
    encoded[row] = wrvq_encoded(
      list: s.codes[row], sublist: 0, norm_squared: dot(x, x, d), residual_squared: dot(r, r, d),
      loss: 0)
    row &+= 1
  }
}

/// A further fuzzy level's codes are the lower digits of the sub-lists' numbers.
private func noteSublists(
  _ codes: UnsafePointer<UInt32>, _ count: Int, _ n: Int,
  _ encoded: UnsafeMutablePointer<wrvq_encoded>
) {
  var row = 0
  while row < n {
    encoded[row].sublist = encoded[row].sublist &* UInt32(count) &+ codes[row]
    row &+= 1
  }
}

/// One flat level from 1: chooses codewords, takes them off the residuals, stores codes and weights.
private func encodeFlat(
  _ l: wrvq_level_shape, _ packed: HalfPointer, _ d: Int, _ n: Int, _ s: EncoderScratch,
  _ index: Int, _ levels: Int, _ layout: UnsafePointer<wrvq_layout>,
  _ field: UnsafeMutablePointer<UInt8>
) {
  let width = ceil16(l.count)
  batchWithHalves(
    s.residuals, d, n, d, packed, l.count, s.panel, s.products + n &* width, s.products, width)
  flatHalfNorms(l, packed, d, s)
  var row = 0
  while row < n {
    let r = s.residuals + row &* d, products = s.products + row &* width
    let length = ws_sqrt(dot(r, r, d))
    let best = bestCode(
      products, s.halfNorms, scoreNormFactor(l.weight_rule, length), l.count)
    unpackRow(packed, best, d, s.codeword)
    let w = weight(l.weight_rule, length, products[best], dot(s.codeword, s.codeword, d))
    subtractScaled(s.codeword, w, r, d)
    s.factors[row &* levels &+ index] = w
    s.codes[row] = UInt32(truncatingIfNeeded: best)
    let out = field + row &* Int(layout.pointee.entry_bytes)
    out[0] = UInt8(truncatingIfNeeded: best)
    if l.codeBytes == 2 { out[1] = UInt8(truncatingIfNeeded: best &>> 8) }
    row &+= 1
  }
}

private func flatHalfNorms(
  _ l: wrvq_level_shape, _ packed: HalfPointer, _ d: Int, _ s: EncoderScratch
) {
  if l.weight_rule != Int32(WRVQ_WEIGHT_PROJECTION.rawValue) {
    halfNormsOfHalves(packed, l.count, d, s.halfNorms)
    return
  }
  s.halfNorms.update(repeating: 0, count: l.count)
  padHalfNorms(s.halfNorms, l.count)
}

/// The code with the largest `products[c] − normFactor·halfNorms[c]`; the lower one wins ties, and
/// what is not a number never wins.
///
/// - Parameters:
///   - products: `ceil16(count)`, anything in the padding.
///   - halfNorms: `ceil16(count)`, +∞ in the padding, which gives −∞ or no number.
func bestCode(
  _ products: FloatPointer, _ halfNorms: FloatPointer, _ normFactor: Float, _ count: Int
) -> Int {
  let minusFactor = Floats8(repeating: -normFactor)
  var best = 0
  var bestScore = -Float.infinity
  var code = 0
  while code < count {
    let scores = ws_fma(load8(products, code), minusFactor, load8(halfNorms, code))
    // Few codes beat the best so far: one comparison decides for the other ones.
    if ws_less_mask(Floats8(repeating: bestScore), scores) != 0 {
      var lane = 0
      while lane < 8 {
        if scores[lane] > bestScore {
          bestScore = scores[lane]
          best = code &+ lane
        }
        lane &+= 1
      }
    }
    code &+= 8
  }
  return best
}

/// What half a codeword's squared length weighs when scores are products with the residual itself
/// instead of its direction: nothing under `projection`, where only directions compete.
@inline(__always) func scoreNormFactor(_ rule: Int32, _ length: Float) -> Float {
  if rule == Int32(WRVQ_WEIGHT_PROJECTION.rawValue) { return 0 }
  return rule == Int32(WRVQ_WEIGHT_NORM.rawValue) ? length : 1
}

@inline(__always)
private func weight(
  _ rule: Int32, _ length: Float, _ product: Float, _ normSquared: Float
) -> Float {
  if rule == Int32(WRVQ_WEIGHT_ONE.rawValue) { return 1 }
  if rule == Int32(WRVQ_WEIGHT_NORM.rawValue) { return length }
  return normSquared > 1e-30 ? product / normSquared : 0
}

/// The product level: the best of 16 codewords for every piece of the residual.
private func encodeProduct(
  _ l: wrvq_level_shape, _ packed: HalfPointer, _ d: Int, _ n: Int, _ s: EncoderScratch,
  _ index: Int, _ levels: Int, _ layout: UnsafePointer<wrvq_layout>,
  _ field: UnsafeMutablePointer<UInt8>
) {
  let p = l.pieceDimensions, pieces = l.pieces
  halfToFloat(packed, s.codewords, pieces &* p &* 16)
  pieceHalfNorms(l, s)
  var row = 0
  while row < n {
    let r = s.residuals + row &* d
    let length = ws_sqrt(dot(r, r, d))
    let normFactor = l.weight_rule == Int32(WRVQ_WEIGHT_ONE.rawValue) ? 1 : length
    var piece = 0
    while piece < pieces {
      let used = (piece &+ 1) &* p <= d ? p : d &- piece &* p
      let code = bestPieceCode(
        r + piece &* p, used, s.codewords + piece &* p &* 16, s.halfNorms + piece &* 16, normFactor)
      s.pieceCodes[piece] = UInt8(truncatingIfNeeded: code)
      var i = 0
      while i < p {
        s.codeword[piece &* p &+ i] = s.codewords[(piece &* p &+ i) &* 16 &+ code]
        i &+= 1
      }
      piece &+= 1
    }
    let product = dot(r, s.codeword, d), normSquared = dot(s.codeword, s.codeword, d)
    let w = weight(l.weight_rule, length, product, normSquared)
    subtractScaled(s.codeword, w, r, d)
    s.factors[row &* levels &+ index] = w
    storeNibbles(s.pieceCodes, pieces, field + row &* Int(layout.pointee.entry_bytes))
    row &+= 1
  }
}

private func pieceHalfNorms(_ l: wrvq_level_shape, _ s: EncoderScratch) {
  let p = l.pieceDimensions, half = Floats8(repeating: 0.5)
  var piece = 0
  while piece < l.pieces {
    let codewords = s.codewords + piece &* p &* 16, halfNorms = s.halfNorms + piece &* 16
    var s0 = Floats8.zero, s1 = Floats8.zero
    var i = 0
    while i < p {
      let c0 = load8(codewords, i &* 16), c1 = load8(codewords, i &* 16 &+ 8)
      s0 = ws_fma(s0, c0, c0)
      s1 = ws_fma(s1, c1, c1)
      i &+= 1
    }
    store8(halfNorms, 0, half * s0)
    store8(halfNorms, 8, half * s1)
    piece &+= 1
  }
}

/// The codeword of one piece with the largest `⟨r,c⟩ − normFactor·½‖c‖²`; the lower one wins ties.
@inline(__always)
func bestPieceCode(
  _ r: FloatPointer, _ p: Int, _ codewords: FloatPointer, _ halfNorms: FloatPointer,
  _ normFactor: Float
) -> Int {
  let factor = Floats8(repeating: -normFactor)
  var s0 = factor * load8(halfNorms, 0), s1 = factor * load8(halfNorms, 8)
  var i = 0
  while i < p {
    let v = Floats8(repeating: r[i])
    s0 = ws_fma(s0, v, load8(codewords, i &* 16))
    s1 = ws_fma(s1, v, load8(codewords, i &* 16 &+ 8))
    i &+= 1
  }
  let highest = horizontalMax(ws_max(s0, s1))
  let top = Floats8(repeating: highest)
  // Lanes that are not less than the maximum: the first one is the code; NaN anywhere gives 0.
  let mask = ~(ws_less_mask(s0, top) | ws_less_mask(s1, top) &<< 8) & 0xffff
  return mask == 0 ? 0 : mask.trailingZeroBitCount
}

@inline(__always) private func horizontalMax(_ v: Floats8) -> Float {
  var m = v[0]
  var i = 1
  while i < 8 {
    m = v[i] > m ? v[i] : m
    i &+= 1
  }
  return m
}

/// Two 4-bit codes a byte, the even piece in the low nibble.
func storeNibbles(
  _ codes: UnsafePointer<UInt8>, _ pieces: Int, _ out: UnsafeMutablePointer<UInt8>
) {
  var piece = 0
  while piece < pieces {
    let high = piece &+ 1 < pieces ? codes[piece &+ 1] : 0
    out[piece &>> 1] = codes[piece] | high &<< 4
    piece &+= 2
  }
}

/// Correction, constant and weights, once the last residual is known.
private func finish(
  _ codebook: UnsafePointer<wrvq_codebook>, _ layout: UnsafePointer<wrvq_layout>,
  _ prepared: FloatPointer, _ n: Int, _ s: EncoderScratch,
  _ encoded: UnsafeMutablePointer<wrvq_encoded>, _ entries: UnsafeMutablePointer<UInt8>
) {
  let shape = wrvq_codebook_shape(codebook)
  let d = shape.pointee.d, levels = shape.pointee.levelCount
  var row = 0
  while row < n {
    let x = prepared + row &* d, e = s.residuals + row &* d
    let entry = entries + row &* Int(layout.pointee.entry_bytes)
    let residualSquared = encoded[row].residual_squared
    let loss = dot(e, e, d)
    encoded[row].loss =
      loss < typicalLengthMax * typicalLengthMax ? loss : typicalLengthMax * typicalLengthMax
    // c₀ and r = x − c₀ again; r̂ = r − e.
    unpackRow(wrvq_codebook_level(codebook, 0), Int(encoded[row].list), d, s.codeword)
    let codewordProduct = dot(x, s.codeword, d) - dot(s.codeword, s.codeword, d)
    let missedCodeword = dot(e, s.codeword, d)
    let decodedProduct = residualSquared - (dot(x, e, d) - missedCodeword)
    let gain = correction(residualSquared, decodedProduct)
    var offset = 0
    if layout.pointee.constants_offset >= 0 {
      storeHalf(residualSquared + 2 * gain * (codewordProduct - missedCodeword), entry)
      offset = 2
    }
    var i = 1
    while i < levels {
      let bytes = wrvq_layout_code_bytes(layout, i)
      storeHalf(gain * s.factors[row &* levels &+ i], entry + (offset &+ bytes))
      offset &+= bytes &+ 2
      i &+= 1
    }
    row &+= 1
  }
}

/// `⟨r,r⟩/⟨r̂,r⟩`, at least 1 and bounded where the code says next to nothing.
@inline(__always)
private func correction(_ residualSquared: Float, _ decodedProduct: Float) -> Float {
  if !(decodedProduct > 0.1 * residualSquared) { return 1 }
  return residualSquared / decodedProduct
}

@inline(__always) func storeHalf(_ value: Float, _ p: UnsafeMutablePointer<UInt8>) {
  UnsafeMutableRawPointer(p).storeBytes(of: halfFromFloat(value), as: UInt16.self)
}

@inline(__always) func loadHalf(_ p: UnsafePointer<UInt8>) -> Float {
  floatFromHalf(UnsafeRawPointer(p).loadUnaligned(as: UInt16.self))
}
