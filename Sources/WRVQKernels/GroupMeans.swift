import CWRVQKernels

// The means of groups of lists: of an image, and of codewords that are being trained.

/// Sets the means of the groups, once the lists are in the image.
///
/// - Parameter scratch: `2·d` floats.
func setGroups(_ codebook: UnsafeMutablePointer<wrvq_codebook>, _ scratch: MutableFloatPointer) {
  let shape = wrvq_codebook_shape(codebook)
  let d = shape.pointee.d, lists = listCount(shape), groups = groupCount(lists)
  let packed = wrvq_codebook_level(codebook, 0), mean = scratch, row = scratch + d
  var g = 0
  while g < ceil16(groups) {
    clear(mean, d)
    var list = 16 &* g
    let end = lesser(lists, list &+ 16)
    while list < end {
      unpackRow(packed, list, d, row)
      addScaled(mean, 1 / Float(end &- 16 &* g), row, d)
      list &+= 1
    }
    let out = codebook.pointee.list_groups + ((g &>> 4) &* d &* 16 &+ (g & 15))
    var i = 0
    while i < d {
      out[i &* 16] = halfFromFloat(mean[i])
      i &+= 1
    }
    g &+= 1
  }
  halfNormsOfHalves(codebook.pointee.list_groups, groups, d, codebook.pointee.group_half_norms)
}

/// The means of every sixteen codewords in sequence, packed.
///
/// - Parameters:
///   - packed: `[ceil(count/16)][d][16]`.
///   - unit: Are codewords ranked by the inner product alone?
///   - means: Output, `[ceil(groups/16)][d][16]`.
///   - halfNorms: Output, `ceil16(groups)`, +∞ in the padding.
func averageGroups(
  _ packed: FloatPointer, _ count: Int, _ d: Int, unit: Bool, _ means: MutableFloatPointer,
  _ halfNorms: MutableFloatPointer
) {
  let groups = groupCount(count)
  var g = 0
  while g < ceil16(groups) {
    let panel = packed + 16 &* g &* d, out = means + ((g &>> 4) &* d &* 16 &+ (g & 15))
    let size = g < groups ? lesser(16, count &- 16 &* g) : 0
    var square: Float = 0
    var i = 0
    while i < d {
      // The padding of a panel is zero.
      let sum =
        size > 0 ? horizontalSum(load8(panel, 16 &* i) + load8(panel, 16 &* i &+ 8)) : 0
      let mean = size > 0 ? sum / Float(size) : 0
      out[16 &* i] = mean
      square += mean * mean
      i &+= 1
    }
    halfNorms[g] = g >= groups ? .infinity : (unit ? 0 : 0.5 * square)
    g &+= 1
  }
}
