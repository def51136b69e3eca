import CWRVQKernels

// An index's codebook: one image of memory that the extension keeps on pages and
// caches per backend, and the pointers into it.

@inline(__always) private func align64(_ n: Int) -> Int { (n &+ 63) & ~63 }

/// Offsets of the image's arrays, in bytes.
private struct ImageSections {
  var center = 0
  var halfNorms = 0
  var groups = 0
  var groupHalfNorms = 0
  var means = 0
  var variances = 0
  var residualVariances = 0
  var sublistWeights = 0
  var sublistConstants = 0
  var transform = 0
  var levels = 0
  var bytes = 0

  init(_ shape: UnsafePointer<wrvq_shape>) {
    let d = shape.pointee.d, lists = listCount(shape)
    let listFloats = align64(4 &* ceil16(lists))
    let sublists = lists &* sublistCount(shape)
    halfNorms = align64(4 &* d)
    groups = halfNorms &+ listFloats
    groupHalfNorms = groups &+ align64(2 &* ceil16(groupCount(lists)) &* d)
    means = groupHalfNorms &+ align64(4 &* ceil16(groupCount(lists)))
    variances = means &+ listFloats
    residualVariances = variances &+ listFloats
    sublistWeights = residualVariances &+ listFloats
    sublistConstants =
      sublistWeights &+ align64(2 &* sublists &* sublistWeightCount(shape))
    transform = sublistConstants &+ align64(2 &* sublists)
    levels = transform &+ align64(2 &* transformHalves(shape))
    bytes = levels
    var i = 0
    while i < shape.pointee.levelCount {
      bytes &+= Self.levelBytes(shape, i)
      i &+= 1
    }
  }

  static func levelBytes(_ shape: UnsafePointer<wrvq_shape>, _ i: Int) -> Int {
    align64(2 &* level(shape, i).codewordHalves(dimensions: shape.pointee.d))
  }
}

/// Bytes of the image of a valid shape.
@inline(never)
func imageBytes(_ shape: UnsafePointer<wrvq_shape>) -> Int64 { Int64(ImageSections(shape).bytes) }

/// Points a codebook into an image.
@inline(never)
func imageBind(
  _ shape: UnsafePointer<wrvq_shape>, _ image: UnsafeMutableRawPointer,
  _ codebook: UnsafeMutablePointer<wrvq_codebook>
) {
  let sections = ImageSections(shape)
  func floats(_ offset: Int) -> UnsafeMutablePointer<Float> {
    (image + offset).assumingMemoryBound(to: Float.self)
  }
  func halves(_ offset: Int) -> UnsafeMutablePointer<UInt16> {
    (image + offset).assumingMemoryBound(to: UInt16.self)
  }
  codebook.pointee.shape = shape.pointee
  codebook.pointee.center = floats(sections.center)
  codebook.pointee.list_half_norms = floats(sections.halfNorms)
  codebook.pointee.list_groups = halves(sections.groups)
  codebook.pointee.group_half_norms = floats(sections.groupHalfNorms)
  codebook.pointee.list_means = floats(sections.means)
  codebook.pointee.list_variances = floats(sections.variances)
  codebook.pointee.list_residual_variances = floats(sections.residualVariances)
  codebook.pointee.sublist_weights = halves(sections.sublistWeights)
  codebook.pointee.sublist_constants = halves(sections.sublistConstants)
  codebook.pointee.transform =
    shape.pointee.transformBlock > 0 ? halves(sections.transform) : nil
  var offset = sections.levels
  var i = 0
  while i < shape.pointee.levelCount {
    wrvq_codebook_set_level(codebook, i, halves(offset))
    offset &+= ImageSections.levelBytes(shape, i)
    i &+= 1
  }
}

/// Copies the transform's diagonal blocks into the image, packed as halves.
@inline(never)
func imageSetTransform(_ codebook: UnsafeMutablePointer<wrvq_codebook>, _ rows: FloatPointer) {
  guard let packed = codebook.pointee.transform else { return }
  packBlocks(rows, codebook.pointee.shape.d, codebook.pointee.shape.transformBlock, packed)
}

/// Packs the diagonal blocks of a `d × d` matrix as halves, each on its own.
///
/// - Parameters:
///   - rows: The blocks in sequence, each row-major.
///   - b: Rows of a block; the last may have fewer.
///   - packed: Output, `blockHalves(d, b)`.
func packBlocks(_ rows: FloatPointer, _ d: Int, _ b: Int, _ packed: MutableHalfPointer) {
  var source = rows, out = packed
  var start = 0
  while start < d {
    let size = start &+ b < d ? b : d &- start
    packHalves(source, size, size, out)
    source += size &* size
    out += ceil16(size) &* size
    start &+= b
  }
}

/// `pack` into halves.
func packHalves(_ rows: FloatPointer, _ s: Int, _ d: Int, _ packed: MutableHalfPointer) {
  var row = 0
  while row < ceil16(s) {
    let out = packed + ((row &>> 4) &* d &* 16 &+ (row & 15))
    var i = 0
    while i < d {
      out[i &* 16] = row < s ? halfFromFloat(rows[row &* d &+ i]) : 0
      i &+= 1
    }
    row &+= 1
  }
}

/// Floats of scratch for `imageSetLevel`.
@inline(never)
func imageScratchFloats(_ shape: UnsafePointer<wrvq_shape>) -> Int64 {
  Int64(2 &* shape.pointee.d &+ orderScratchFloats(shape))
}

/// Copies a level's codewords into the image, in the prepared space, level 0's in an order of its own.
///
/// - Parameter scratch: `imageScratchFloats`, 8-byte aligned.
@inline(never)
func imageSetLevel(
  _ codebook: UnsafeMutablePointer<wrvq_codebook>, _ index: Int, _ rows: FloatPointer,
  _ scratch: MutableFloatPointer
) {
  let d = codebook.pointee.shape.d
  let l = level(wrvq_codebook_shape(codebook), index)
  let packed = wrvq_codebook_level(codebook, index)
  var scratch = scratch
  if l.isProduct {
    var piece = 0
    let p = l.pieceDimensions
    while piece < l.pieces {
      packHalves(rows + piece &* 16 &* p, 16, p, packed + piece &* 16 &* p)
      piece &+= 1
    }
    return
  }
  var order: UnsafePointer<UInt32>?
  if index == 0 {
    order = orderLists(rows, l.count, d, scratch)
    scratch += orderScratchFloats(wrvq_codebook_shape(codebook))
    setCenter(codebook, l.count, rows, scratch)
    let sublists = l.count &* sublistCount(wrvq_codebook_shape(codebook))
    codebook.pointee.sublist_weights.update(
      repeating: 0, count: sublists &* sublistWeightCount(wrvq_codebook_shape(codebook)))
    codebook.pointee.sublist_constants.update(repeating: 0, count: sublists)
  }
  var row = 0
  while row < ceil16(l.count) {
    let out = packed + ((row &>> 4) &* d &* 16 &+ (row & 15))
    if row < l.count {
      transformVector(codebook, rows + (order == nil ? row : Int(order![row])) &* d, scratch)
    }
    var halfNorm: Float = 0
    var i = 0
    while i < d {
      let value = scratch[i] - (index == 0 ? codebook.pointee.center[i] : 0)
      out[i &* 16] = row < l.count ? halfFromFloat(value) : 0
      let rounded = floatFromHalf(out[i &* 16])
      halfNorm += 0.5 * rounded * rounded
      i &+= 1
    }
    if index == 0 { setListDefaults(codebook, row, row < l.count ? halfNorm : .infinity) }
    row &+= 1
  }
  if index == 0 { setGroups(codebook, scratch) }
}

/// The centre is the mean list: distances keep their precision however far off the origin the data
/// lies.  Lists of outliers would draw it away from all others.  Inner products are not invariant under
/// a shift, so only L2 has one.
///
/// - Parameter scratch: Twice the dimensions.
private func setCenter(
  _ codebook: UnsafeMutablePointer<wrvq_codebook>, _ count: Int, _ rows: FloatPointer,
  _ scratch: MutableFloatPointer
) {
  let d = codebook.pointee.shape.d
  let mean = scratch + d
  let isL2 = codebook.pointee.shape.metric == Int32(WRVQ_L2.rawValue)
  clear(mean, d)
  // Outliers that are all there is are none.
  if isL2 && addTypical(rows, count, d, within: typicalLengthMax, mean) == 0 {
    _ = addTypical(rows, count, d, within: .infinity, mean)
  }
  transformVector(codebook, mean, codebook.pointee.center)
}

/// Makes the mean of the rows that are not longer; returns how many these are.
private func addTypical(
  _ rows: FloatPointer, _ count: Int, _ d: Int, within length: Float, _ mean: MutableFloatPointer
) -> Int {
  var n = 0
  var row = 0
  while row < count {
    let x = rows + row &* d
    if dot(x, x, d) <= length * length {
      // A running mean, so that single precision does.
      n &+= 1
      let share = 1 / Float(n)
      var i = 0
      while i < d {
        mean[i] += (x[i] - mean[i]) * share
        i &+= 1
      }
    }
    row &+= 1
  }
  return n
}

/// Until a build has statistics, every list looks as if all its rows were its codeword.
private func setListDefaults(
  _ codebook: UnsafeMutablePointer<wrvq_codebook>, _ list: Int, _ halfNorm: Float
) {
  let isL2 = codebook.pointee.shape.metric == Int32(WRVQ_L2.rawValue)
  codebook.pointee.list_half_norms[list] = halfNorm
  codebook.pointee.list_means[list] = halfNorm == .infinity ? 0 : (isL2 ? 2 * halfNorm : 0)
  codebook.pointee.list_variances[list] = 0
  codebook.pointee.list_residual_variances[list] = 0
}

/// `z = T·x`, block by block; a copy without a transform.
///
/// - Parameters:
///   - x: `d`.
///   - z: Output, `d`, not overlapping `x`.
func transformVector(
  _ codebook: UnsafePointer<wrvq_codebook>, _ x: FloatPointer, _ z: MutableFloatPointer
) {
  let d = codebook.pointee.shape.d
  guard let transform = codebook.pointee.transform else {
    z.update(from: x, count: d)
    return
  }
  blockProducts(transform, d, codebook.pointee.shape.transformBlock, x, z)
}

/// `z = M·x` for a matrix of packed diagonal blocks.
func blockProducts(
  _ matrix: HalfPointer, _ d: Int, _ b: Int, _ x: FloatPointer, _ z: MutableFloatPointer
) {
  var packed = matrix
  var start = 0
  while start < d {
    let size = start &+ b < d ? b : d &- start
    productsWithHalves(x + start, size, packed, size, z + start)
    packed += ceil16(size) &* size
    start &+= b
  }
}
