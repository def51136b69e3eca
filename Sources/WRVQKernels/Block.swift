import CWRVQKernels

// Entries into and out of a block of 32, whose fields lie transposed (wrvq_kernels.h, `wrvq_layout`).

/// The row identifier at a position.
@inline(never)
func blockRow(_ block: UnsafePointer<UInt8>, _ position: Int) -> UInt64 {
  let p = UnsafeRawPointer(block + 6 &* position)
  return UInt64(p.loadUnaligned(as: UInt32.self))
    | UInt64((p + 4).loadUnaligned(as: UInt16.self)) &<< 32
}

/// Replaces the row identifier at a position; `WRVQ_ROW_DEAD` marks the entry dead.
@inline(never)
func blockSetRow(_ block: UnsafeMutablePointer<UInt8>, _ position: Int, _ row: UInt64) {
  let p = UnsafeMutableRawPointer(block + 6 &* position)
  p.storeBytes(of: UInt32(truncatingIfNeeded: row), as: UInt32.self)
  (p + 4).storeBytes(of: UInt16(truncatingIfNeeded: row &>> 32), as: UInt16.self)
}

/// Writes an entry to a position.
@inline(never)
func blockPut(
  _ layout: UnsafePointer<wrvq_layout>, _ block: UnsafeMutablePointer<UInt8>, _ position: Int,
  _ row: UInt64, _ entry: UnsafePointer<UInt8>
) {
  blockSetRow(block, position, row)
  var source = entry
  if layout.pointee.constants_offset >= 0 {
    copyHalf(source, block + (Int(layout.pointee.constants_offset) &+ 2 &* position))
    source += 2
  }
  var i = 1
  while i < Int(WRVQ_LEVELS_MAX) && wrvq_layout_factors(layout, i) > 0 {
    let codes = block + wrvq_layout_codes(layout, i)
    let bytes = wrvq_layout_code_bytes(layout, i)
    let pieces = productPieces(layout, i)
    if pieces > 0 {
      let byte = position & 15, shift = UInt8(truncatingIfNeeded: (position &>> 4) &* 4)
      var piece = 0
      while piece < pieces {
        let code = source[piece &>> 1] &>> UInt8(truncatingIfNeeded: (piece & 1) &* 4) & 15
        let p = codes + (piece &* 16 &+ byte)
        p.pointee = p.pointee & ~(15 &<< shift) | code &<< shift
        piece &+= 1
      }
    } else {
      (codes + bytes &* position).update(from: source, count: bytes)
    }
    copyHalf(source + bytes, block + (wrvq_layout_factors(layout, i) &+ 2 &* position))
    source += bytes &+ 2
    i &+= 1
  }
}

/// Reads the entry at a position; returns its row identifier.
@inline(never)
func blockGet(
  _ layout: UnsafePointer<wrvq_layout>, _ block: UnsafePointer<UInt8>, _ position: Int,
  _ entry: UnsafeMutablePointer<UInt8>
) -> UInt64 {
  var out = entry
  if layout.pointee.constants_offset >= 0 {
    copyHalf(block + (Int(layout.pointee.constants_offset) &+ 2 &* position), out)
    out += 2
  }
  var i = 1
  while i < Int(WRVQ_LEVELS_MAX) && wrvq_layout_factors(layout, i) > 0 {
    let codes = block + wrvq_layout_codes(layout, i)
    let bytes = wrvq_layout_code_bytes(layout, i)
    let pieces = productPieces(layout, i)
    if pieces > 0 {
      let byte = position & 15, shift = UInt8(truncatingIfNeeded: (position &>> 4) &* 4)
      var piece = 0
      while piece < pieces {
        let low = codes[piece &* 16 &+ byte] &>> shift & 15
        let high =
          piece &+ 1 < pieces ? codes[(piece &+ 1) &* 16 &+ byte] &>> shift & 15 : 0
        out[piece &>> 1] = low | high &<< 4
        piece &+= 2
      }
    } else {
      out.update(from: codes + bytes &* position, count: bytes)
    }
    copyHalf(block + (wrvq_layout_factors(layout, i) &+ 2 &* position), out + bytes)
    out += bytes &+ 2
    i &+= 1
  }
  return blockRow(block, position)
}

/// Pieces of level `i`, or 0 if it is flat: a product level's codes take 16 bytes a piece.
@inline(__always)
private func productPieces(_ layout: UnsafePointer<wrvq_layout>, _ i: Int) -> Int {
  let room = wrvq_layout_factors(layout, i) &- wrvq_layout_codes(layout, i)
  return wrvq_layout_is_product(layout, i) != 0 ? room &>> 4 : 0
}

@inline(__always)
private func copyHalf(_ from: UnsafePointer<UInt8>, _ to: UnsafeMutablePointer<UInt8>) {
  to[0] = from[0]
  to[1] = from[1]
}
