import CWRVQKernels

// Eight floats are the unit of all kernels: one AVX register, two of SSE or NEON.
typealias Floats8 = SIMD8<Float>
typealias FloatPointer = UnsafePointer<Float>
typealias MutableFloatPointer = UnsafeMutablePointer<Float>
typealias HalfPointer = UnsafePointer<UInt16>
typealias MutableHalfPointer = UnsafeMutablePointer<UInt16>

@inline(__always) func load8(_ p: UnsafePointer<Float>, _ offset: Int) -> Floats8 {
  UnsafeRawPointer(p + offset).loadUnaligned(as: Floats8.self)
}

/// Eight halves as floats.
@inline(__always) func load8(_ p: UnsafePointer<UInt16>, _ offset: Int) -> Floats8 {
  ws_half8(UnsafeRawPointer(p + offset).loadUnaligned(as: SIMD8<UInt16>.self))
}

@inline(__always) func store8(_ p: UnsafeMutablePointer<Float>, _ offset: Int, _ v: Floats8) {
  UnsafeMutableRawPointer(p + offset).storeBytes(of: v, as: Floats8.self)
}

/// Sum of the lanes, by halves: the library's `.sum()` becomes an element loop.
@inline(__always) func horizontalSum(_ v: Floats8) -> Float {
  let a = v.lowHalf + v.highHalf
  let b = a.lowHalf + a.highHalf
  return b.x + b.y
}

/// Rounds up to a whole number of packed columns.
@inline(__always) func ceil16(_ n: Int) -> Int { (n &+ 15) & ~15 }
