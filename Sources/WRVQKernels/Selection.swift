// Selecting and sorting in place.

/// What is put in order by its keys; whatever belongs to a key goes with it.
protocol Selectable {
  associatedtype Key: Comparable
  func key(_ i: Int) -> Key
  func exchange(_ i: Int, _ j: Int)
}

extension UnsafeMutablePointer: Selectable where Pointee: Comparable {
  @inline(__always) func key(_ i: Int) -> Pointee { self[i] }
  @inline(__always) func exchange(_ i: Int, _ j: Int) { swap(self, i, j) }
}

/// Bits that order as the value.
@inline(__always) func orderedBits(_ value: Float) -> UInt32 {
  let bits = value.bitPattern
  return bits & 0x8000_0000 != 0 ? ~bits : bits | 0x8000_0000
}

/// A key that orders as (value, number).
@inline(__always) func orderedKey(_ value: Float, _ number: UInt32) -> UInt64 {
  UInt64(orderedBits(value)) &<< 32 | UInt64(number)
}

/// The largest key; 0 of none.
@inline(__always)
func largest<T: FixedWidthInteger>(_ keys: UnsafePointer<T>, _ count: Int) -> T {
  var result: T = 0
  var i = 0
  while i < count {
    result = keys[i] > result ? keys[i] : result
    i &+= 1
  }
  return result
}

/// Partitions `keys` so that the `wanted` smallest come first, in any order.
///
/// - Complexity: O(count) expected: quickselect, median of three.
@inline(never)
func selectSmallest(_ keys: UnsafeMutablePointer<UInt64>, _ count: Int, _ wanted: Int) {
  selectSmallestOf(keys, count, wanted)
}

/// `selectSmallest` of any keys.
@inline(__always)
func selectSmallestOf<T: Selectable>(_ keys: T, _ count: Int, _ wanted: Int) {
  if wanted <= 0 || wanted >= count { return }
  var low = 0, high = count &- 1
  while low < high {
    let (left, right) = partition(keys, low, high)
    if wanted &- 1 <= left {
      high = left
    } else if wanted &- 1 >= right {
      low = right
    } else {
      return
    }
  }
}

/// Positions that `selectNext` remembers at most.
let selectionBoundsMax = 64

/// Goes on with a selection: of `keys`, whose `done` smallest come first, the `wanted` smallest.
///
/// - Parameters:
///   - bounds: Positions before which nothing is larger than anything behind, falling; the first
///     is the number of keys, and with it alone a selection begins.
///   - boundCount: How many there are, at most `selectionBoundsMax`.
/// - Returns: A position from `wanted` on before which lies the smallest key behind `wanted`.
/// - Complexity: O(keys) expected for all calls together, and what they select: partitions made for
///   one call serve the next (Paredes and Navarro, "Optimal incremental sorting", 2006).
@inline(__always)
func selectNext<T: Selectable>(
  _ keys: T, _ done: Int, _ wanted: Int,
  _ bounds: UnsafeMutablePointer<UInt64>, _ boundCount: UnsafeMutablePointer<Int64>
) -> Int {
  var top = Int(boundCount.pointee) &- 1, low = done
  while top > 0 && Int(bounds[top]) <= wanted {
    low = Int(bounds[top]) > low ? Int(bounds[top]) : low
    top &-= 1
  }
  var high = Int(bounds[top]) &- 1
  while low < wanted && low < high && wanted < Int(bounds[top]) {
    let (left, right) = partition(keys, low, high)
    if wanted &- 1 >= right {
      low = right
      continue
    }
    if right > wanted && right < Int(bounds[top]) && top &+ 1 < selectionBoundsMax {
      top &+= 1
      bounds[top] = UInt64(right)
    }
    if wanted &- 1 > left { break }
    high = left
  }
  boundCount.pointee = Int64(top &+ 1)
  return Int(bounds[top])
}

/// Splits `low ... high` by a pivot: `low ... left` are at most, `right ... high` at least as large,
/// and what lies between equals it.
@inline(__always)
private func partition<T: Selectable>(
  _ keys: T, _ low: Int, _ high: Int
) -> (left: Int, right: Int) {
  let pivot = medianOfThree(keys.key(low), keys.key(low &+ (high &- low) / 2), keys.key(high))
  var i = low, j = high
  while i <= j {
    while keys.key(i) < pivot { i &+= 1 }
    while keys.key(j) > pivot { j &-= 1 }
    if i <= j {
      keys.exchange(i, j)
      i &+= 1
      j &-= 1
    }
  }
  return (j, i)
}

@inline(__always)
func swap<T>(_ values: UnsafeMutablePointer<T>, _ i: Int, _ j: Int) {
  let value = values[i]
  values[i] = values[j]
  values[j] = value
}

@inline(__always) private func medianOfThree<T: Comparable>(_ a: T, _ b: T, _ c: T) -> T {
  let low = a < b ? a : b, high = a < b ? b : a
  return c < low ? low : (c > high ? high : c)
}

/// Quicksort that hands what it splits badly over to heapsort, and short stretches to insertion.
///
/// - Complexity: O(n log n).
@inline(__always)
func sortAscending<T: Selectable>(_ keys: T, _ count: Int) {
  sortStretch(keys, 0, count, 2 &* (Int.bitWidth &- count.leadingZeroBitCount))
}

/// Sorts `first ..< end`.
///
/// - Parameter splits: How many are permitted before heapsort takes over.
private func sortStretch<T: Selectable>(_ keys: T, _ first: Int, _ end: Int, _ splits: Int) {
  var first = first, end = end, splits = splits
  while end &- first > 16 {
    if splits == 0 { return heapSort(keys, first, end &- first) }
    splits &-= 1
    let (left, right) = partition(keys, first, end &- 1)
    // The longer part goes on here, so that calls nest only to the logarithm of the count.
    if left &+ 1 &- first < end &- right {
      sortStretch(keys, first, left &+ 1, splits)
      first = right
    } else {
      sortStretch(keys, right, end, splits)
      end = left &+ 1
    }
  }
  var i = first &+ 1
  while i < end {
    var at = i
    while at > first && keys.key(at &- 1) > keys.key(at) {
      keys.exchange(at &- 1, at)
      at &-= 1
    }
    i &+= 1
  }
}

private func heapSort<T: Selectable>(_ keys: T, _ first: Int, _ count: Int) {
  var start = count / 2
  while start > 0 {
    start &-= 1
    siftDown(keys, first, start, count)
  }
  var end = count
  while end > 1 {
    end &-= 1
    keys.exchange(first, first &+ end)
    siftDown(keys, first, 0, end)
  }
}

@inline(__always)
private func siftDown<T: Selectable>(_ keys: T, _ first: Int, _ start: Int, _ end: Int) {
  var root = start
  while true {
    var child = 2 &* root &+ 1
    if child >= end { break }
    if child &+ 1 < end && keys.key(first &+ child) < keys.key(first &+ child &+ 1) {
      child &+= 1
    }
    if keys.key(first &+ child) <= keys.key(first &+ root) { break }
    keys.exchange(first &+ root, first &+ child)
    root = child
  }
}
