import CWRVQKernels

// Puts lists in the order of their numbers: every sixteen in sequence near each other.

/// Floats of scratch for `orderLists`.
func orderScratchFloats(_ shape: UnsafePointer<wrvq_shape>) -> Int {
  3 &* ceil16(listCount(shape)) &+ 3 &* shape.pointee.d &+ 16
}

/// Splits lists in halves of whole groups, again and again, each time across the direction in which
/// they lie farthest apart.
///
/// - Parameters:
///   - rows: `s × d`.
///   - scratch: `orderScratchFloats`, 8-byte aligned.
/// - Returns: The rows' numbers in order of their lists, in `scratch`; nil: as they are.
/// - Complexity: O(s·d·log s).
func orderLists(
  _ rows: FloatPointer, _ s: Int, _ d: Int, _ scratch: MutableFloatPointer
) -> UnsafePointer<UInt32>? {
  if comparedGroups(s) == 0 { return nil }
  let keys = UnsafeMutableRawPointer(scratch).assumingMemoryBound(to: UInt64.self)
  let order = UnsafeMutableRawPointer(scratch + 2 &* ceil16(s))
    .assumingMemoryBound(to: UInt32.self)
  var i = 0
  while i < s {
    order[i] = UInt32(truncatingIfNeeded: i)
    i &+= 1
  }
  let splitter = ListSplitter(
    rows: rows, d: d, order: order, keys: keys, vectors: scratch + 3 &* ceil16(s))
  splitter.split(0, s)
  return UnsafePointer(order)
}

private struct ListSplitter {
  let rows: FloatPointer
  let d: Int
  let order: UnsafeMutablePointer<UInt32>
  let keys: UnsafeMutablePointer<UInt64>
  let vectors: MutableFloatPointer  // 3 × d

  /// Lists that tell in which direction to split.
  static let sample = 256

  var mean: MutableFloatPointer { vectors }
  var direction: MutableFloatPointer { vectors + d }
  var next: MutableFloatPointer { vectors + 2 &* d }

  func split(_ start: Int, _ count: Int) {
    if count <= 16 { return }
    let half = 16 &* ((count &+ 31) / 32)
    chooseDirection(start, count, half)
    var i = 0
    while i < count {
      keys[i] = key(order[start &+ i], order[start &+ i])
      i &+= 1
    }
    selectSmallest(keys, count, half)
    i = 0
    while i < count {
      order[start &+ i] = UInt32(truncatingIfNeeded: keys[i])
      i &+= 1
    }
    split(start, half)
    split(start &+ half, count &- half)
  }

  private func row(_ list: UInt32) -> FloatPointer { rows + Int(list) &* d }

  /// Orders by place along the direction.
  private func key(_ list: UInt32, _ number: UInt32) -> UInt64 {
    orderedKey(dot(row(list), direction, d), number)
  }

  /// The principal axis, and from there twice the line through the means of two halves.
  private func chooseDirection(_ start: Int, _ count: Int, _ half: Int) {
    let n = lesser(count, Self.sample)
    func member(_ i: Int) -> UInt32 { order[start &+ i &* count / n] }
    clear(mean, d)
    var i = 0
    while i < n {
      addScaled(mean, 1 / Float(n), row(member(i)), d)
      i &+= 1
    }
    var farthest = 0
    var distance: Float = -1
    i = 0
    while i < n {
      let x = row(member(i))
      let away = dot(x, x, d) - 2 * dot(x, mean, d)
      if i == 0 || away > distance { (farthest, distance) = (i, away) }
      i &+= 1
    }
    copy(row(member(farthest)), d, to: direction)
    addScaled(direction, -1, mean, d)
    var step = 0
    while step < 3 {
      turnToAxis(n, member)
      step &+= 1
    }
    step = 0
    while step < 2 {
      turnToMeans(n, n &* half / count, member)
      step &+= 1
    }
  }

  /// A step of the power iteration.
  private func turnToAxis(_ n: Int, _ member: (Int) -> UInt32) {
    clear(next, d)
    let offset = dot(mean, direction, d)
    var total: Float = 0
    var i = 0
    while i < n {
      let x = row(member(i))
      let along = dot(x, direction, d) - offset
      addScaled(next, along, x, d)
      total += along
      i &+= 1
    }
    addScaled(next, -total, mean, d)
    takeNext()
  }

  private func turnToMeans(_ n: Int, _ half: Int, _ member: (Int) -> UInt32) {
    if half == 0 || half == n { return }
    var i = 0
    while i < n {
      keys[i] = key(member(i), UInt32(truncatingIfNeeded: i))
      i &+= 1
    }
    selectSmallest(keys, n, half)
    clear(next, d)
    i = 0
    while i < n {
      let share = i < half ? -1 / Float(half) : 1 / Float(n &- half)
      addScaled(next, share, row(member(Int(UInt32(truncatingIfNeeded: keys[i])))), d)
      i &+= 1
    }
    takeNext()
  }

  /// Lists that are all alike leave the direction as it is.
  private func takeNext() {
    let length = ws_sqrt(dot(next, next, d))
    if !(length > 1e-18) || !(length < .infinity) { return }
    copy(next, d, to: direction)
    scale(direction, 1 / length, d)
  }
}
