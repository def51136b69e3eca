import CWRVQKernels

// What a build learns of its lists and sub-lists: the means that rank them.

/// Sums of one list.
private struct ListSums {
  var count = 0.0
  var norm = 0.0  // of squared lengths
  var norm2 = 0.0  // of their squares
  var residual = 0.0  // of squared residuals
}

/// Sums of one sub-list.
private struct SublistSums {
  var count: Float = 0
  var weight: (Float, Float) = (0, 0)  // of the fuzzy levels
  var constant: Float = 0
}

/// Bytes of the sums.
@inline(never)
func statisticsBytes(_ codebook: UnsafePointer<wrvq_codebook>) -> Int64 {
  let shape = wrvq_codebook_shape(codebook)
  let lists = listCount(shape)
  return Int64(
    lists &* MemoryLayout<ListSums>.stride
      &+ lists &* sublistCount(shape) &* MemoryLayout<SublistSums>.stride)
}

/// Adds encoded rows to the sums.
@inline(never)
func statisticsAdd(
  _ codebook: UnsafePointer<wrvq_codebook>, _ layout: UnsafePointer<wrvq_layout>,
  _ statistics: UnsafeMutableRawPointer, _ encoded: UnsafePointer<wrvq_encoded>,
  _ entries: UnsafePointer<UInt8>, _ n: Int
) {
  let shape = wrvq_codebook_shape(codebook)
  let lists = statistics.assumingMemoryBound(to: ListSums.self)
  let sublists = (statistics + listCount(shape) &* MemoryLayout<ListSums>.stride)
    .assumingMemoryBound(to: SublistSums.self)
  let width = sublistCount(shape)
  let hasConstant = layout.pointee.constants_offset >= 0
  var row = 0
  while row < n {
    let e = encoded[row], entry = entries + row &* Int(layout.pointee.entry_bytes)
    let list = lists + Int(e.list)
    // Under L2 an outlier says nothing of the other rows of its list, nor they of it.  Of inner products
    // it is the largest, if its direction is right: its list must look the part.
    if hasConstant && e.residual_squared > typicalLengthMax * typicalLengthMax {
      row &+= 1
      continue
    }
    list.pointee.count += 1
    list.pointee.norm += Double(e.norm_squared)
    list.pointee.norm2 += Double(e.norm_squared) * Double(e.norm_squared)
    list.pointee.residual += Double(e.residual_squared)
    let sublist = sublists + (Int(e.list) &* width &+ Int(e.sublist))
    sublist.pointee.count += 1
    if hasConstant { sublist.pointee.constant += loadHalf(entry) }
    if shape.pointee.levelCount > 1 {
      let first = (hasConstant ? 2 : 0) &+ wrvq_layout_code_bytes(layout, 1)
      sublist.pointee.weight.0 += loadHalf(entry + first)
      if shape.pointee.fuzzyLevels > 1 {
        sublist.pointee.weight.1 +=
          loadHalf(entry + (first &+ 2 &+ wrvq_layout_code_bytes(layout, 2)))
      }
    }
    row &+= 1
  }
}

/// Adds another pass's sums.
@inline(never)
func statisticsMerge(
  _ codebook: UnsafePointer<wrvq_codebook>, _ statistics: UnsafeMutableRawPointer,
  _ other: UnsafeRawPointer
) {
  let shape = wrvq_codebook_shape(codebook)
  let count = listCount(shape), offset = count &* MemoryLayout<ListSums>.stride
  let lists = statistics.assumingMemoryBound(to: ListSums.self)
  let more = other.assumingMemoryBound(to: ListSums.self)
  var i = 0
  while i < count {
    lists[i].count += more[i].count
    lists[i].norm += more[i].norm
    lists[i].norm2 += more[i].norm2
    lists[i].residual += more[i].residual
    i &+= 1
  }
  let sublists = (statistics + offset).assumingMemoryBound(to: SublistSums.self)
  let moreSublists = (other + offset).assumingMemoryBound(to: SublistSums.self)
  i = 0
  while i < count &* sublistCount(shape) {
    sublists[i].count += moreSublists[i].count
    sublists[i].weight.0 += moreSublists[i].weight.0
    sublists[i].weight.1 += moreSublists[i].weight.1
    sublists[i].constant += moreSublists[i].constant
    i &+= 1
  }
}

/// Turns the sums into the codebook's statistics; lists without rows keep their defaults.
@inline(never)
func imageSetStatistics(
  _ codebook: UnsafeMutablePointer<wrvq_codebook>, _ statistics: UnsafeRawPointer
) {
  let shape = wrvq_codebook_shape(codebook)
  let count = listCount(shape), width = sublistCount(shape)
  let lists = statistics.assumingMemoryBound(to: ListSums.self)
  let sublists = (statistics + count &* MemoryLayout<ListSums>.stride)
    .assumingMemoryBound(to: SublistSums.self)
  let isL2 = shape.pointee.metric == Int32(WRVQ_L2.rawValue)
  var i = 0
  while i < count {
    let sums = lists[i]
    if sums.count > 0 {
      let mean = sums.norm / sums.count
      let variance = sums.norm2 / sums.count - mean * mean
      codebook.pointee.list_means[i] = isL2 ? Float(mean) : 0
      codebook.pointee.list_variances[i] = isL2 && variance > 0 ? Float(variance) : 0
      codebook.pointee.list_residual_variances[i] =
        Float(sums.residual / sums.count / Double(shape.pointee.d))
    }
    var j = i &* width
    while j < (i &+ 1) &* width {
      let n = sublists[j].count > 0 ? sublists[j].count : 1
      codebook.pointee.sublist_weights[j] = halfFromFloat(sublists[j].weight.0 / n)
      if shape.pointee.fuzzyLevels > 1 {
        codebook.pointee.sublist_weights[count &* width &+ j] =
          halfFromFloat(sublists[j].weight.1 / n)
      }
      codebook.pointee.sublist_constants[j] = halfFromFloat(sublists[j].constant / n)
      j &+= 1
    }
    i &+= 1
  }
}
