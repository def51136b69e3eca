import CWRVQKernels

// Obvious twins of the kernels, in double precision and without a thought for speed.

/// Random numbers for tests: splitmix64, the same on every machine.
public struct TestNumbers: RandomNumberGenerator {
  private var state: UInt64

  public init(seed: UInt64) { state = seed }

  public mutating func next() -> UInt64 {
    state &+= 0x9e37_79b9_7f4a_7c15
    var z = state
    z = (z ^ (z >> 30)) &* 0xbf58_476d_1ce4_e5b9
    z = (z ^ (z >> 27)) &* 0x94d0_49bb_1331_11eb
    return z ^ (z >> 31)
  }

  /// Uniform in [-1, 1), with 24 random bits.
  public mutating func uniform() -> Float { Float(next() >> 40) / 8_388_608 - 1 }

  /// Roughly normal: mean 0, variance 1.
  public mutating func normal() -> Float {
    // Six of the uniform numbers, whose variances are thirds.
    (uniform() + uniform() + uniform() + uniform() + uniform() + uniform()) * 0.70710678
  }

  public mutating func normals(_ count: Int, times factor: Float = 1) -> [Float] {
    (0..<count).map { _ in normal() * factor }
  }

  public mutating func below(_ bound: Int) -> Int { Int(next() % UInt64(bound)) }
}

/// Every remainder of the kernels' inner loops, their chunk of 256, and two round numbers.
public let tailLengths = Array(1...67) + [255, 256, 257, 384, 1000]

public enum KernelReference {
  public static func l2Distance(_ a: [Float], _ b: [Float]) -> Double {
    var sum = 0.0
    for i in a.indices {
      let d = Double(a[i]) - Double(b[i])
      sum += d * d
    }
    return sum.squareRoot()
  }

  public static func innerProduct(_ a: [Float], _ b: [Float]) -> Double {
    var sum = 0.0
    for i in a.indices { sum += Double(a[i]) * Double(b[i]) }
    return sum
  }

  /// `Σ|aᵢbᵢ|`, the measure of an inner product's rounding error.
  public static func magnitude(_ a: [Float], _ b: [Float]) -> Double {
    var sum = 0.0
    for i in a.indices { sum += abs(Double(a[i]) * Double(b[i])) }
    return sum
  }

  public static func cosineDistance(_ a: [Float], _ b: [Float]) -> Double {
    1 - innerProduct(a, b) / (innerProduct(a, a).squareRoot() * innerProduct(b, b).squareRoot())
  }

  /// To nearest even, saturating, NaN to 0: the promise of `float_to_half`.
  public static func half(_ value: Float) -> UInt16 {
    if value.isNaN { return 0 }
    let rounded = Float16(value)
    if rounded.isInfinite { return value < 0 ? 0xfbff : 0x7bff }
    return rounded.bitPattern
  }

  public static func value(ofHalf half: UInt16) -> Double {
    Double(Float16(bitPattern: half))
  }

  /// The half that two bytes hold.
  public static func half(_ bytes: ArraySlice<UInt8>) -> Double {
    value(ofHalf: UInt16(bytes.first!) | UInt16(bytes.dropFirst().first!) << 8)
  }

  /// Codeword `index` of packed halves `[ceil(s/16)][d][16]`.
  public static func codeword(_ packed: UnsafePointer<UInt16>, _ index: Int, _ d: Int) -> [Double] {
    (0..<d).map { value(ofHalf: packed[(index / 16 * d + $0) * 16 + index % 16]) }
  }

  /// The number whose order-preserving bits head a key of lists or candidates.
  public static func value(ofKey key: UInt64) -> Float {
    let bits = UInt32(key >> 32)
    return Float(bitPattern: bits & 0x8000_0000 != 0 ? bits ^ 0x8000_0000 : ~bits)
  }
}

// On pointers, because these take most of the tests' time where nothing is optimised.

public func dot(_ a: [Double], _ b: [Double]) -> Double {
  precondition(a.count == b.count)
  return a.withUnsafeBufferPointer { a in
    b.withUnsafeBufferPointer { b in
      var sum = 0.0
      var i = 0
      while i < a.count {
        sum += a[i] * b[i]
        i += 1
      }
      return sum
    }
  }
}

public func length(_ a: [Double]) -> Double { dot(a, a).squareRoot() }

/// `a + w·b`.
public func sum(_ a: [Double], _ w: Double, _ b: [Double]) -> [Double] {
  precondition(a.count == b.count)
  return [Double](unsafeUninitializedCapacity: a.count) { result, count in
    while count < a.count {
      result[count] = a[count] + w * b[count]
      count += 1
    }
  }
}
