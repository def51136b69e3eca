import CWRVQKernels

// The pieces of k-means that do not know whose codewords they train.

/// Sorts positions by their codes, keeping their order within a code.
///
/// - Parameters:
///   - codes: `count` codes below `codewords`.
///   - starts: Output, `codewords + 1`: where each code's positions begin in `order`.
///   - order: Output, `count` positions.
@inline(never)
func sortByCode(
  _ codes: UnsafePointer<UInt32>, _ count: Int, codewords: Int,
  _ starts: UnsafeMutablePointer<UInt32>, _ order: UnsafeMutablePointer<UInt32>
) {
  var c = 0
  while c <= codewords {
    starts[c] = 0
    c &+= 1
  }
  var i = 0
  while i < count {
    starts[Int(codes[i])] &+= 1
    i &+= 1
  }
  // From counts to ends; filling backwards then turns the ends into starts.
  c = 1
  while c < codewords {
    starts[c] &+= starts[c &- 1]
    c &+= 1
  }
  starts[codewords] = UInt32(truncatingIfNeeded: count)
  i = count &- 1
  while i >= 0 {
    let code = Int(codes[i])
    starts[code] &-= 1
    order[Int(starts[code])] = UInt32(truncatingIfNeeded: i)
    i &-= 1
  }
}

/// Chooses `count` different numbers below `n` at random; repeats them in turn if there are fewer.
///
/// - Parameters:
///   - scratch: `n` numbers.
///   - chosen: Output, `count`.
@inline(never)
func chooseDistinct(
  _ count: Int, below n: Int, _ random: inout SplitMix64,
  _ scratch: UnsafeMutablePointer<UInt32>, _ chosen: UnsafeMutablePointer<UInt32>
) {
  var i = 0
  while i < n {
    scratch[i] = UInt32(truncatingIfNeeded: i)
    i &+= 1
  }
  i = 0
  while i < count {
    if i < n {
      let j = i &+ random.next(below: n &- i)
      let swapped = scratch[j]
      scratch[j] = scratch[i]
      scratch[i] = swapped
    }
    chosen[i] = scratch[i < n ? i : i % n]
    i &+= 1
  }
}

/// Makes `count` codewords final: unit length if `unit`, rounded through halves and packed.
///
/// - Parameters:
///   - codewords: `count × d`, in place.
///   - first: Number of the first, which picks a direction for a codeword that has none.
///   - packed: Output, `ceil(count/16) × d × 16`.
///   - halfNorms: Output, `ceil16(count)`: half the squared lengths, or zero if `unit`, where
///     codewords are ranked by the inner product alone; +∞ in the padding.
///   - squaredNorms: Output, `count`.
@inline(never)
func settleCodewords(
  _ codewords: MutableFloatPointer, _ count: Int, _ d: Int, first: Int, unit: Bool,
  _ packed: MutableFloatPointer, _ halfNorms: MutableFloatPointer,
  _ squaredNorms: MutableFloatPointer
) {
  var c = 0
  while c < count {
    let row = codewords + c &* d
    if unit { normalize(row, d, fallback: first &+ c) }
    roundThroughHalves(row, d)
    let norm = dot(row, row, d)
    squaredNorms[c] = norm
    halfNorms[c] = unit ? 0 : 0.5 * norm
    c &+= 1
  }
  while c < ceil16(count) {
    halfNorms[c] = .infinity
    c &+= 1
  }
  pack(codewords, count, d, packed)
}

/// Scales a row to unit length; a row without direction becomes an axis.
@inline(__always)
private func normalize(_ row: MutableFloatPointer, _ d: Int, fallback: Int) {
  let length = ws_sqrt(dot(row, row, d))
  if length > 1e-15 {
    scale(row, 1 / length, d)
  } else {
    clear(row, d)
    row[fallback % d] = 1
  }
}
