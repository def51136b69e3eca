// Selecting and sorting small integers in place; floats take part as order-preserving bits.

/// A key that orders as (value, number).
@inline(__always) func orderedKey(_ value: Float, _ number: UInt32) -> UInt64 {
  let bits = value.bitPattern
  let ordered = bits & 0x8000_0000 != 0 ? ~bits : bits | 0x8000_0000
  return UInt64(ordered) &<< 32 | UInt64(number)
}

/// The value of a key.
@inline(__always) func keyValue(_ key: UInt64) -> Float {
  let ordered = UInt32(truncatingIfNeeded: key &>> 32)
  return Float(bitPattern: ordered & 0x8000_0000 != 0 ? ordered & 0x7fff_ffff : ~ordered)
}

/// Partitions `keys` so that the `wanted` smallest come first, in any order.
///
/// - Complexity: O(count) expected: quickselect, median of three.
@inline(never)
func selectSmallest(_ keys: UnsafeMutablePointer<UInt64>, _ count: Int, _ wanted: Int) {
  if wanted <= 0 || wanted >= count { return }
  var low = 0, high = count &- 1
  while low < high {
    let pivot = medianOfThree(keys[low], keys[low &+ (high &- low) / 2], keys[high])
    var i = low, j = high
    while i <= j {
      while keys[i] < pivot { i &+= 1 }
      while keys[j] > pivot { j &-= 1 }
      if i <= j {
        let swapped = keys[i]
        keys[i] = keys[j]
        keys[j] = swapped
        i &+= 1
        j &-= 1
      }
    }
    // Now low…j ≤ pivot ≤ i…high, and what lies between equals it.
    if wanted &- 1 <= j {
      high = j
    } else if wanted &- 1 >= i {
      low = i
    } else {
      return
    }
  }
}

@inline(__always) private func medianOfThree(_ a: UInt64, _ b: UInt64, _ c: UInt64) -> UInt64 {
  let low = a < b ? a : b, high = a < b ? b : a
  return c < low ? low : (c > high ? high : c)
}

/// Heapsort: no recursion, no worst case.
@inline(__always)
func sortAscending<T: FixedWidthInteger>(_ values: UnsafeMutablePointer<T>, _ count: Int) {
  var start = count / 2
  while start > 0 {
    start &-= 1
    siftDown(values, start, count)
  }
  var end = count
  while end > 1 {
    end &-= 1
    let top = values[0]
    values[0] = values[end]
    values[end] = top
    siftDown(values, 0, end)
  }
}

@inline(__always)
private func siftDown<T: FixedWidthInteger>(
  _ values: UnsafeMutablePointer<T>, _ start: Int, _ end: Int
) {
  var root = start
  let value = values[root]
  while true {
    var child = 2 &* root &+ 1
    if child >= end { break }
    if child &+ 1 < end && values[child] < values[child &+ 1] { child &+= 1 }
    if values[child] <= value { break }
    values[root] = values[child]
    root = child
  }
  values[root] = value
}
