import CWRVQKernels

// Vector → value and back, as the library's encoder and decoder do it (WRVQ paper, eqs. 8 and 9).

/// Scratch for one vector, cut from the caller's memory.
struct CodeScratch {
  let prepared: MutableFloatPointer  // d
  let residual: MutableFloatPointer  // d: what is still missing
  let rotated: MutableFloatPointer  // d, and room for the last piece
  let direction: MutableFloatPointer  // d
  let products: MutableFloatPointer  // the widest flat level
  let piece: MutableFloatPointer  // one piece's codewords
  let pieceCodes: UnsafeMutablePointer<UInt8>  // pieces
  let bytes: Int

  init(_ coder: UnsafePointer<wrvq_coder>, _ memory: UnsafeMutableRawPointer) {
    let d = coder.pointee.d
    var width = 16, padded = d, pieceDimensions = 0, pieces = 0
    var i = 0
    while i < coder.pointee.levelCount {
      let l = level(coder, i).pointee.shape
      if l.isProduct {
        padded = greater(padded, l.pieces &* l.pieceDimensions)
        pieceDimensions = greater(pieceDimensions, l.pieceDimensions)
        pieces = greater(pieces, l.pieces)
      } else {
        width = greater(width, ceil16(l.count))
      }
      i &+= 1
    }
    var arena = Arena(memory)
    prepared = arena.take(d, of: Float.self)
    residual = arena.take(d, of: Float.self)
    rotated = arena.take(padded, of: Float.self)
    direction = arena.take(d, of: Float.self)
    products = arena.take(width, of: Float.self)
    piece = arena.take(16 &* pieceDimensions, of: Float.self)
    pieceCodes = arena.take(pieces, of: UInt8.self)
    bytes = arena.bytes
  }
}

/// Bytes of scratch for encoding or decoding one vector.
@inline(never)
func codeScratchBytes(_ coder: UnsafePointer<wrvq_coder>) -> Int64 {
  Int64(CodeScratch(coder, UnsafeMutableRawPointer(bitPattern: 64)!).bytes)
}

/// Encodes one vector, greedily.  Under cosine a zero vector is encoded as it is.
///
/// - Parameters:
///   - vector: `d`.
///   - code: Output, `code_bytes`.
/// - Complexity: O(d·(codewords + transforms' blocks)).
@inline(never)
func encodeCode(
  _ coder: UnsafePointer<wrvq_coder>, _ vector: FloatPointer, _ scratch: UnsafeMutableRawPointer,
  _ code: UnsafeMutablePointer<UInt8>
) -> wrvq_status {
  let d = coder.pointee.d
  let s = CodeScratch(coder, scratch)
  let status = prepareForCoder(coder, vector, s.prepared)
  if status != WRVQ_OK { return status }
  s.residual.update(from: s.prepared, count: d)
  code.update(repeating: 0, count: Int(coder.pointee.code_bytes))
  var i = 0
  while i < coder.pointee.levelCount {
    encodeLevel(level(coder, i).pointee, d, s, code)
    i &+= 1
  }
  // What was decoded, seen from the centre.
  let decoded = s.prepared
  subtract(s.residual, decoded, d)
  subtract(coder.pointee.center!, decoded, d)
  UnsafeMutableRawPointer(code).storeBytes(of: dot(decoded, decoded, d), as: Float.self)
  return WRVQ_OK
}

/// Scales a vector as the library's encoder does.
private func prepareForCoder(
  _ coder: UnsafePointer<wrvq_coder>, _ x: FloatPointer, _ out: MutableFloatPointer
) -> wrvq_status {
  let d = coder.pointee.d, isCosine = coder.pointee.metric == Int32(WRVQ_COSINE.rawValue)
  let status = scaleVector(
    x, d, by: isCosine ? 1 : coder.pointee.scale, normalised: isCosine, out)
  if status != WRVQ_ZERO_VECTOR { return status }
  clear(out, d)
  return WRVQ_OK
}

/// Chooses a level's codewords and weight, stores them, and takes them off the residual.
private func encodeLevel(
  _ l: wrvq_coder_level, _ d: Int, _ s: CodeScratch, _ code: UnsafeMutablePointer<UInt8>
) {
  let r = s.residual
  let length = ws_sqrt(dot(r, r, d))
  var z = r
  if let transform = l.transform {
    blockProducts(transform, d, l.transformBlock, r, s.rotated)
    z = s.rotated
  }
  // Scores are products with the residual instead of its direction; of nothing, with nothing.
  let scale = length > 0 ? length : 1
  if l.shape.isProduct {
    chooseCodewords(l, z, d, scale, s, code)
  } else {
    chooseCodeword(l, z, d, scale, s, code)
  }
  _ = readDirection(l, d, code, s)
  let weight = weightOf(l.shape.weight_rule, length, r, s.direction, d)
  subtractScaled(s.direction, storeWeight(l, weight, code), r, d)
}

private func chooseCodeword(
  _ l: wrvq_coder_level, _ z: FloatPointer, _ d: Int, _ length: Float, _ s: CodeScratch,
  _ code: UnsafeMutablePointer<UInt8>
) {
  productsWithHalves(z, d, l.codewords!, l.shape.count, s.products)
  let best = bestCode(
    s.products, l.half_norms!, scoreNormFactor(l.shape.weight_rule, length), l.shape.count)
  let out = code + Int(l.code_offset)
  out[0] = UInt8(truncatingIfNeeded: best)
  if l.shape.codeBytes == 2 { out[1] = UInt8(truncatingIfNeeded: best &>> 8) }
}

private func chooseCodewords(
  _ l: wrvq_coder_level, _ z: FloatPointer, _ d: Int, _ length: Float, _ s: CodeScratch,
  _ code: UnsafeMutablePointer<UInt8>
) {
  let p = l.shape.pieceDimensions
  let normFactor = l.shape.weight_rule == Int32(WRVQ_WEIGHT_ONE.rawValue) ? 1 : length
  var piece = 0
  while piece < l.shape.pieces {
    let first = piece &* p
    halfToFloat(l.codewords! + 16 &* first, s.piece, 16 &* p)
    let best = bestPieceCode(
      z + first, lesser(p, d &- first), s.piece, l.half_norms! + 16 &* piece, normFactor)
    s.pieceCodes[piece] = UInt8(truncatingIfNeeded: best)
    piece &+= 1
  }
  storeNibbles(s.pieceCodes, l.shape.pieces, code + Int(l.code_offset))
}

private func weightOf(
  _ rule: Int32, _ length: Float, _ r: FloatPointer, _ direction: FloatPointer, _ d: Int
) -> Float {
  if rule == Int32(WRVQ_WEIGHT_ONE.rawValue) { return 1 }
  if rule == Int32(WRVQ_WEIGHT_NORM.rawValue) { return length }
  let square = dot(direction, direction, d)
  return square > 1e-30 ? dot(r, direction, d) / square : 0
}

/// What a value's codes contribute at a level for each unit of weight: `Tᵀc`, into `s.direction`.
///
/// - Returns: Whether there is such a code.
private func readDirection(
  _ l: wrvq_coder_level, _ d: Int, _ code: UnsafePointer<UInt8>, _ s: CodeScratch
) -> Bool {
  let codes = code + Int(l.code_offset)
  let out = l.inverse == nil ? s.direction : s.rotated
  if l.shape.isProduct {
    readPieces(l, d, codes, out)
  } else {
    let number = flatCode(l.shape, codes)
    if number >= l.shape.count { return false }
    unpackRow(l.codewords!, number, d, out)
  }
  if let inverse = l.inverse { blockProducts(inverse, d, l.transformBlock, out, s.direction) }
  return true
}

@inline(__always)
func flatCode(_ shape: wrvq_level_shape, _ codes: UnsafePointer<UInt8>) -> Int {
  shape.count <= 256 ? Int(codes[0]) : Int(codes[0]) | Int(codes[1]) &<< 8
}

private func readPieces(
  _ l: wrvq_coder_level, _ d: Int, _ codes: UnsafePointer<UInt8>, _ out: MutableFloatPointer
) {
  let p = l.shape.pieceDimensions
  var piece = 0
  while piece < l.shape.pieces {
    let byte = Int(codes[piece &>> 1])
    let number = piece & 1 == 0 ? byte & 15 : byte &>> 4
    let first = piece &* p, used = lesser(p, d &- first)
    var i = 0
    while i < used {
      out[first &+ i] = floatFromHalf(l.codewords![(first &+ i) &* 16 &+ number])
      i &+= 1
    }
    piece &+= 1
  }
}

/// Sums up a value's first levels.
///
/// - Parameter vector: Output, `d`, in the scale of what was encoded.
/// - Returns: `WRVQ_BAD_CODE` if the codebook has no such code, or the sum is not finite.
@inline(never)
func decodeCode(
  _ coder: UnsafePointer<wrvq_coder>, _ code: UnsafePointer<UInt8>, _ levels: Int,
  _ scratch: UnsafeMutableRawPointer, _ vector: MutableFloatPointer
) -> wrvq_status {
  let d = coder.pointee.d
  let s = CodeScratch(coder, scratch)
  clear(vector, d)
  var i = 0
  while i < lesser(levels, coder.pointee.levelCount) {
    let l = level(coder, i)
    if !readDirection(l.pointee, d, code, s) { return WRVQ_BAD_CODE }
    addScaled(vector, storedWeight(l, code), s.direction, d)
    i &+= 1
  }
  i = 0
  while i < d {
    vector[i] /= coder.pointee.scale
    i &+= 1
  }
  return firstNotFinite(vector, d) < 0 ? WRVQ_OK : WRVQ_BAD_CODE
}
