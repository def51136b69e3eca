import CWRVQKernels

// A second list for a row: near it, and missing it in another direction than the first one does.  A
// query that the first list hides from is then likely to see the second (SOAR, Sun et al., 2023).

/// How much the part of the second residual along the first one weighs; 1 to 4 do equally well.
private let alongWeight: Float = 1

/// Floats of scratch for a batch of `n`.
func spillScratchFloats(_ shape: UnsafePointer<wrvq_shape>, _ n: Int) -> Int {
  let d = shape.pointee.d
  return n &* d &+ 16 &* d &+ 34 &* n
}

/// Chooses each row's second list: the least `‖x−c‖² + λ⟨x−c, r̂⟩²`, r̂ the direction of the first
/// residual, over all lists but the first.
///
/// - Parameters:
///   - prepared: `n × d`.
///   - encoded: `n`: the first lists.
///   - scratch: `encodeScratchBytes`.
///   - lists: Output, `n`; the first list again where there is no other.
/// - Complexity: O(n · lists · d), twice that of the first choice.
@inline(never)
func spillLists(
  _ codebook: UnsafePointer<wrvq_codebook>, _ prepared: FloatPointer, _ n: Int,
  _ encoded: UnsafePointer<wrvq_encoded>, _ scratch: UnsafeMutableRawPointer,
  _ lists: UnsafeMutablePointer<UInt32>
) {
  let shape = wrvq_codebook_shape(codebook)
  let d = shape.pointee.d, count = listCount(shape)
  let packed = HalfPointer(wrvq_codebook_level(codebook, 0))
  let directions = scratch.assumingMemoryBound(to: Float.self)
  let panel = directions + n &* d
  let products = panel + 16 &* d, alongs = products + 16 &* n
  let own = alongs + 16 &* n, best = own + n
  var row = 0
  while row < n {
    own[row] = residualDirection(
      prepared + row &* d, packed, Int(encoded[row].list), d, directions + row &* d)
    best[row] = .infinity
    lists[row] = encoded[row].list
    row &+= 1
  }
  var column = 0
  while column < count {
    halfToFloat(packed + column &* d, panel, 16 &* d)
    panelProducts(prepared, d, n, d, panel, products, 16)
    panelProducts(directions, d, n, d, panel, alongs, 16)
    row = 0
    while row < n {
      chooseAmong(
        codebook.pointee.list_half_norms + column, products + row &* 16, alongs + row &* 16,
        own[row], column, encoded[row].list, best + row, lists + row)
      row &+= 1
    }
    column &+= 16
  }
}

/// Writes the unit residual of a row; returns the row's product with it.
private func residualDirection(
  _ x: FloatPointer, _ packed: HalfPointer, _ list: Int, _ d: Int, _ direction: MutableFloatPointer
) -> Float {
  unpackRow(packed, list, d, direction)
  var i = 0
  while i < d {
    direction[i] = x[i] - direction[i]
    i &+= 1
  }
  let length = ws_sqrt(dot(direction, direction, d))
  let factor = length > 0 ? 1 / length : 0
  i = 0
  while i < d {
    direction[i] *= factor
    i &+= 1
  }
  return dot(x, direction, d)
}

/// One row against 16 lists.
@inline(__always)
private func chooseAmong(
  _ halfNorms: FloatPointer, _ products: FloatPointer, _ alongs: FloatPointer, _ own: Float,
  _ first: Int, _ taken: UInt32, _ best: MutableFloatPointer,
  _ list: UnsafeMutablePointer<UInt32>
) {
  var lane = 0
  while lane < 16 {
    let along = own - alongs[lane]
    // Without ‖x‖², which all lists share; infinite in the padding.
    let cost = 2 * (halfNorms[lane] - products[lane]) + alongWeight * along * along
    let candidate = UInt32(truncatingIfNeeded: first &+ lane)
    if cost < best.pointee && candidate != taken {
      best.pointee = cost
      list.pointee = candidate
    }
    lane &+= 1
  }
}
