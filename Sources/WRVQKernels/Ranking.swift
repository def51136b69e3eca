import CWRVQKernels

// The exact and the fuzzy layer: which lists, and which of their sub-lists, to visit.

/// How many standard deviations below its mean a list's nearest row is expected.
///
/// A list of some 80 rows has its best one about 2.5 deviations out; measured on 100,000 text
/// embeddings, inner products with rows of very different lengths gain ten points of recall at 600
/// of 1,264 lists from 3, and L2 between rows of very different lengths loses from 1.5.
@inline(__always) private func spreadFactor(_ isL2: Bool) -> Float { isL2 ? 0.5 : 3 }

/// Scores every list by the distance at which its nearest row is expected: the mean distance of its
/// rows less some standard deviations; notes the mean deviation, in which those of lists with outliers
/// (Lengths.swift) count as the greatest that other lists can have.
@inline(never)
func scoreLists(_ query: UnsafeMutablePointer<wrvq_query>) {
  let codebook = query.pointee.codebook!
  let shape = wrvq_codebook_shape(codebook)
  let lists = listCount(shape), factor = query.pointee.inner_factor
  let spread = Floats8(repeating: spreadFactor(shape.pointee.metric == Int32(WRVQ_L2.rawValue)))
  let minusFactor = Floats8(repeating: -factor)
  let squared = Floats8(repeating: factor * factor * query.pointee.norm_squared)
  let products = query.pointee.list_products!, keys = query.pointee.list_keys!
  let means = codebook.pointee.list_means, variances = codebook.pointee.list_variances
  let residuals = codebook.pointee.list_residual_variances
  let scores = query.pointee.list_scores!
  var deviations = Floats8.zero
  let most = Floats8(
    repeating: typicalLengthMax
      * ws_sqrt(factor * factor * query.pointee.norm_squared / Float(shape.pointee.d)))
  let isInner = factor == 1
  var i = 0
  while i < lists {
    let mean = ws_fma(load8(means, i), minusFactor, load8(products, i))
    let variance = ws_fma(load8(variances, i), squared, load8(residuals, i))
    let deviation = ws_sqrt8(variance)
    let score = mean - spread * deviation
    let end = i &+ 8 < lists ? 8 : lists &- i
    deviations += isInner ? ws_min(deviation, most) : deviation
    var lane = 0
    while lane < end {
      scores[i &+ lane] = score[lane]
      keys[i &+ lane] = orderedKey(score[lane], UInt32(truncatingIfNeeded: i &+ lane))
      lane &+= 1
    }
    i &+= 8
  }
  query.pointee.deviation = horizontalSum(deviations) / Float(lists)
  (scores + lists).update(repeating: .infinity, count: ceil16(lists) &- lists)
}

/// Ranks `first ..< first + n` of the lists, as a set in order of number.
@inline(never)
func queryLists(
  _ query: UnsafeMutablePointer<wrvq_query>, _ first: Int, _ n: Int,
  _ lists: UnsafeMutablePointer<UInt32>
) -> Int {
  let codebook = query.pointee.codebook!
  let shape = wrvq_codebook_shape(codebook)
  let total = listCount(shape), keys = query.pointee.list_keys!
  if first >= total || n <= 0 { return 0 }
  let end = n < total &- first ? first &+ n : total
  // What was ranked before `first` stays there: earlier calls have partitioned the keys so.
  if end < total { selectSmallest(keys + first, total &- first, end &- first) }
  if end &- first < manyLists {
    var i = first
    while i < end {
      lists[i &- first] = UInt32(truncatingIfNeeded: keys[i])
      i &+= 1
    }
    sortAscending(lists, end &- first)
  } else {
    let last = largest(keys + first, end &- first)
    listBetween(query, largest(keys, first), last, lists)
  }
  return end &- first
}

/// As many lists are put in order by a look at all of them rather than by sorting.
private let manyLists = 48

/// The lists whose keys are above `previous` and at most `last`, in order of number.
private func listBetween(
  _ query: UnsafePointer<wrvq_query>, _ previous: UInt64, _ last: UInt64,
  _ lists: UnsafeMutablePointer<UInt32>
) {
  let scores = query.pointee.list_scores!
  let total = listCount(wrvq_codebook_shape(query.pointee.codebook!))
  var count = 0
  var i = 0
  while i < total {
    let key = orderedKey(scores[i], UInt32(truncatingIfNeeded: i))
    if key > previous && key <= last {
      lists[count] = UInt32(truncatingIfNeeded: i)
      count &+= 1
    }
    i &+= 1
  }
}

/// Chooses the best share of the sub-lists of some lists by approximate distance: the list's own,
/// plus its mean constant, less its mean weights along the fuzzy levels' codewords (paper §3.3).
@inline(never)
func querySublists(
  _ query: UnsafeMutablePointer<wrvq_query>, _ lists: UnsafePointer<UInt32>, _ n: Int,
  _ share: Float, _ scratch: UnsafeMutableRawPointer, _ chosen: UnsafeMutablePointer<UInt8>
) {
  let codebook = query.pointee.codebook!
  let shape = wrvq_codebook_shape(codebook)
  let width = sublistCount(shape), rowBytes = (width &+ 7) / 8
  let keys = scratch.assumingMemoryBound(to: UInt64.self)
  let total = n &* width
  let wanted = Int(share * Float(total))
  chosen.update(repeating: width == 1 || wanted >= total ? 255 : 0, count: n &* rowBytes)
  if width == 1 || wanted >= total { return }
  let table = wrvq_query_table(query, 1), factor = query.pointee.inner_factor
  let weights = codebook.pointee.sublist_weights
  let isTwofold = shape.pointee.fuzzyLevels > 1
  let second = isTwofold ? level(shape, 2).count : 1
  let secondTable = isTwofold ? wrvq_query_table(query, 2) : table
  let secondWeights = weights + (isTwofold ? listCount(shape) &* width : 0)
  var i = 0
  while i < n {
    let list = Int(lists[i])
    let base = listBase(query, list)
    var j = 0
    while j < width {
      let at = list &* width &+ j
      var inner = floatFromHalf(weights[at]) * table[j / second]
      if isTwofold { inner += floatFromHalf(secondWeights[at]) * secondTable[j % second] }
      let score = base + floatFromHalf(codebook.pointee.sublist_constants[at]) - factor * inner
      keys[i &* width &+ j] = orderedKey(score, UInt32(truncatingIfNeeded: i &* width &+ j))
      j &+= 1
    }
    i &+= 1
  }
  let count = wanted > 0 ? wanted : 1
  selectSmallest(keys, total, count)
  i = 0
  while i < count {
    let at = Int(UInt32(truncatingIfNeeded: keys[i]))
    chosen[at / width &* rowBytes &+ at % width / 8] |= 1 &<< UInt8(at % width & 7)
    i &+= 1
  }
}

/// The part of an estimate that all entries of a list share: `‖q−c₀‖²`, or `−⟨q,c₀⟩`.
@inline(__always)
func listBase(_ query: UnsafeMutablePointer<wrvq_query>, _ list: Int) -> Float {
  let product = query.pointee.list_products![list]
  if query.pointee.inner_factor == 1 { return -product }
  return query.pointee.norm_squared
    + 2 * (query.pointee.codebook!.pointee.list_half_norms[list] - product)
}
