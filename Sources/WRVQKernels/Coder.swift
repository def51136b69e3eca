import CWRVQKernels

// A stored codebook as values of codes want it: laid out in the caller's memory, every level with
// its transform, the transform's transpose and the values of its weights.

extension wrvq_coder {
  @inline(__always) var d: Int { Int(dimensions) }
  @inline(__always) var levelCount: Int { Int(level_count) }
}

@inline(__always)
func level(_ coder: UnsafePointer<wrvq_coder>, _ i: Int) -> UnsafeMutablePointer<wrvq_coder_level> {
  wrvq_coder_level_of(coder, i)
}

extension wrvq_coder_level {
  @inline(__always) var transformBlock: Int { Int(transform_block_dimensions) }

  /// Bits of a value that hold the weight.
  @inline(__always) var storedBits: Int {
    shape.weight_rule == Int32(WRVQ_WEIGHT_ONE.rawValue) ? 0 : Int(shape.weight_bits)
  }

  /// Values that a stored weight can take; 0: any half.
  @inline(__always) var weightCount: Int { shape.hasWeightGrid ? 1 &<< Int(shape.weight_bits) : 0 }

  /// Floats of `half_norms`.
  var halfNormCount: Int { shape.isProduct ? 16 &* shape.pieces : ceil16(shape.count) }
}

/// Checks every count of a coder.
@inline(never)
func coderCheck(_ coder: UnsafePointer<wrvq_coder>) -> wrvq_status {
  let c = coder.pointee
  guard
    c.dimensions >= 1 && c.dimensions <= WRVQ_DIMENSIONS_MAX && c.metric >= 0 && c.metric <= 2
      && c.level_count >= 1 && c.level_count <= WRVQ_LEVELS_MAX && c.scale > 0
      && c.scale < .infinity
  else { return WRVQ_BAD_SHAPE }
  var i = 0
  while i < c.levelCount {
    let l = level(coder, i).pointee
    if !l.shape.isValid(dimensions: c.d, first: i == 0, last: true)
      || l.transform_block_dimensions < 0 || l.transform_block_dimensions > c.dimensions
    {
      return WRVQ_BAD_SHAPE
    }
    i &+= 1
  }
  return WRVQ_OK
}

/// Bytes of the arrays.
@inline(never)
func coderBytes(_ coder: UnsafePointer<wrvq_coder>) -> Int64 {
  var copy = coder.pointee
  return Int64(carve(&copy, UnsafeMutableRawPointer(bitPattern: 64)!))
}

/// Points a coder into memory, and lays out its values.
@inline(never)
func coderBind(_ coder: UnsafeMutablePointer<wrvq_coder>, _ memory: UnsafeMutableRawPointer) {
  _ = carve(coder, memory)
  layOutValues(coder)
}

private func carve(
  _ coder: UnsafeMutablePointer<wrvq_coder>, _ memory: UnsafeMutableRawPointer
) -> Int {
  let d = coder.pointee.d
  var arena = Arena(memory)
  coder.pointee.center = arena.take(d, of: Float.self)
  var i = 0
  while i < coder.pointee.levelCount {
    let l = level(coder, i)
    let halves = blockHalves(d, l.pointee.transformBlock)
    l.pointee.codewords = arena.take(
      l.pointee.shape.codewordHalves(dimensions: d), of: UInt16.self)
    l.pointee.half_norms = arena.take(l.pointee.halfNormCount, of: Float.self)
    l.pointee.transform = nil
    l.pointee.inverse = nil
    if halves > 0 {
      l.pointee.transform = arena.take(halves, of: UInt16.self)
      l.pointee.inverse = arena.take(halves, of: UInt16.self)
    }
    l.pointee.weights = nil
    if l.pointee.weightCount > 0 {
      l.pointee.weights = arena.take(l.pointee.weightCount, of: Float.self)
    }
    i &+= 1
  }
  return arena.bytes
}

private func layOutValues(_ coder: UnsafeMutablePointer<wrvq_coder>) {
  let levels = coder.pointee.levelCount
  var bytes = 4
  var i = 0
  while i < levels {
    level(coder, i).pointee.code_offset = Int32(truncatingIfNeeded: bytes)
    bytes &+= level(coder, i).pointee.shape.codeBytes
    i &+= 1
  }
  var bits = 8 &* bytes
  i = 0
  while i < levels {
    let l = level(coder, i)
    l.pointee.weight_offset = l.pointee.storedBits == 0 ? -1 : Int32(truncatingIfNeeded: bits)
    bits &+= l.pointee.storedBits
    i &+= 1
  }
  coder.pointee.code_bytes = Int32(truncatingIfNeeded: (bits &+ 7) / 8)
}

/// Fills in one level; level 0 sets the centre.
@inline(never)
func coderSetLevel(
  _ coder: UnsafeMutablePointer<wrvq_coder>, _ index: Int, _ codewords: FloatPointer,
  _ transform: FloatPointer?, _ weights: FloatPointer?
) {
  let d = coder.pointee.d
  let l = level(coder, index).pointee
  if l.shape.isProduct {
    let size = 16 &* l.shape.pieceDimensions
    var piece = 0
    while piece < l.shape.pieces {
      packHalves(
        codewords + piece &* size, 16, l.shape.pieceDimensions, l.codewords! + piece &* size)
      halfNormsOfHalves(
        l.codewords! + piece &* size, 16, l.shape.pieceDimensions, l.half_norms! + 16 &* piece)
      piece &+= 1
    }
  } else {
    packHalves(codewords, l.shape.count, d, l.codewords!)
    halfNormsOfHalves(l.codewords!, l.shape.count, d, l.half_norms!)
    // Under projection only directions compete.
    if l.shape.weight_rule == Int32(WRVQ_WEIGHT_PROJECTION.rawValue) {
      l.half_norms!.update(repeating: 0, count: l.shape.count)
    }
  }
  if let transform, let packed = l.transform, let inverse = l.inverse {
    packBlocks(transform, d, l.transformBlock, packed)
    transposeBlocks(packed, d, l.transformBlock, inverse)
  }
  if let weights, let values = l.weights { setAscending(weights, l.weightCount, values) }
  if index == 0 { setCenter(coder, l) }
}

/// Packed diagonal blocks, each transposed.
private func transposeBlocks(
  _ packed: HalfPointer, _ d: Int, _ b: Int, _ transposed: MutableHalfPointer
) {
  var source = packed, out = transposed
  var start = 0
  while start < d {
    let size = start &+ b < d ? b : d &- start
    var row = 0
    while row < ceil16(size) {
      var i = 0
      while i < size {
        // Element (row, i) of the block's transpose is (i, row) of the block.
        out[((row &>> 4) &* size &+ i) &* 16 &+ (row & 15)] =
          row < size ? source[((i &>> 4) &* size &+ row) &* 16 &+ (i & 15)] : 0
        i &+= 1
      }
      row &+= 1
    }
    source += ceil16(size) &* size
    out += ceil16(size) &* size
    start &+= b
  }
}

/// Inserts the values one after another into their order.
private func setAscending(_ values: FloatPointer, _ n: Int, _ ascending: MutableFloatPointer) {
  var i = 0
  while i < n {
    var at = i
    while at > 0 && ascending[at &- 1] > values[i] {
      ascending[at] = ascending[at &- 1]
      at &-= 1
    }
    ascending[at] = values[i]
    i &+= 1
  }
}

private func setCenter(_ coder: UnsafeMutablePointer<wrvq_coder>, _ first: wrvq_coder_level) {
  let d = coder.pointee.d, count = first.shape.count
  let isL2 = coder.pointee.metric == Int32(WRVQ_L2.rawValue)
  coder.pointee.has_center = isL2 ? 1 : 0
  var i = 0
  while i < d {
    var sum = 0.0
    var row = 0
    while isL2 && row < count {
      let half = first.codewords![((row &>> 4) &* d &+ i) &* 16 &+ (row & 15)]
      sum += Double(floatFromHalf(half))
      row &+= 1
    }
    coder.pointee.center![i] = Float(sum / Double(count))
    i &+= 1
  }
}
