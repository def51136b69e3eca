import CWRVQKernels

// Weights in a value: as many bits each as the level says, one after another, least significant
// first, across the boundaries of bytes.

/// Rounds a weight to what can be stored of it, stores it, and returns what will come back.
///
/// - Parameter code: The value; its bits from the weight's on are still zero.
func storeWeight(
  _ l: wrvq_coder_level, _ weight: Float, _ code: UnsafeMutablePointer<UInt8>
) -> Float {
  if l.storedBits == 0 { return 1 }
  guard let values = l.weights else {
    let half = halfFromFloat(weight)
    putBits(code, Int(l.weight_offset), Int(half))
    return floatFromHalf(half)
  }
  let number = WeightGrid(values: values, count: l.weightCount).nearestNumber(weight)
  putBits(code, Int(l.weight_offset), number)
  return values[number]
}

/// The weight that is stored in a value.
@inline(__always)
func storedWeight(_ l: UnsafePointer<wrvq_coder_level>, _ code: UnsafePointer<UInt8>) -> Float {
  let bits = l.pointee.storedBits
  if bits == 0 { return 1 }
  let number = getBits(code, Int(l.pointee.weight_offset), bits)
  guard let values = l.pointee.weights else {
    return floatFromHalf(UInt16(truncatingIfNeeded: number))
  }
  return values[number]
}

/// Sets bits that are zero to those of a number, which must fit.
private func putBits(_ p: UnsafeMutablePointer<UInt8>, _ offset: Int, _ number: Int) {
  var rest = number &<< (offset & 7)
  var byte = offset &>> 3
  while rest != 0 {
    p[byte] |= UInt8(truncatingIfNeeded: rest)
    rest &>>= 8
    byte &+= 1
  }
}

/// Reads `count` bits, at most 16, and no byte that has none of them.
@inline(__always)
private func getBits(_ p: UnsafePointer<UInt8>, _ offset: Int, _ count: Int) -> Int {
  let first = p + (offset &>> 3), shift = offset & 7
  var bits = Int(first[0])
  if shift &+ count > 8 { bits |= Int(first[1]) &<< 8 }
  if shift &+ count > 16 { bits |= Int(first[2]) &<< 16 }
  return bits &>> shift & ((1 &<< count) &- 1)
}
