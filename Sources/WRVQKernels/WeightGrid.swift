import CWRVQKernels

// Weights of fewer than 16 bits: one of a level's 2^bits values.

/// The most values that a grid has: those of 8 bits.
let weightGridValues = 256
/// Halves in the order of their values, one bin each.
let weightGridBins = 65536
/// k-means in one dimension moves little after these.
private let weightGridIterations = 100

/// The values that a level's stored weights can take, ascending, each a half.
struct WeightGrid {
  let values: MutableFloatPointer
  let count: Int

  /// The value next to a weight; the lower one wins ties.
  @inline(__always) func nearest(_ weight: Float) -> Float { values[nearestNumber(weight)] }

  /// Which value that is.
  @inline(__always) func nearestNumber(_ weight: Float) -> Int {
    var low = 0, high = count &- 1
    while low < high {
      let middle = (low &+ high) / 2
      if values[middle] + values[middle &+ 1] < 2 * weight {
        low = middle &+ 1
      } else {
        high = middle
      }
    }
    return low
  }

  /// Fits the values to weights by Lloyd's k-means, from their quantiles.
  ///
  /// - Parameters:
  ///   - weights: `n`, at least one.
  ///   - bins: Scratch, `weightGridBins`.
  @inline(never)
  func fit(_ weights: FloatPointer, _ n: Int, _ bins: UnsafeMutablePointer<UInt32>) {
    var bin = 0
    while bin < weightGridBins {
      bins[bin] = 0
      bin &+= 1
    }
    var first = weightGridBins, last = 0
    var i = 0
    while i < n {
      bin = self.bin(of: weights[i])
      bins[bin] &+= 1
      first = lesser(first, bin)
      last = greater(last, bin)
      i &+= 1
    }
    begin(n, bins, first)
    i = 0
    while i < weightGridIterations && iterate(bins, first, last) { i &+= 1 }
    roundThroughHalves(values, count)
  }

  /// Value `i` becomes the quantile `(i + ½)/count`.
  private func begin(_ n: Int, _ bins: UnsafePointer<UInt32>, _ first: Int) {
    var bin = first
    var below = 0
    var i = 0
    while i < count {
      let position = (2 &* i &+ 1) &* n / (2 &* count)
      while below &+ Int(bins[bin]) <= position {
        below &+= Int(bins[bin])
        bin &+= 1
      }
      values[i] = value(ofBin: bin)
      i &+= 1
    }
  }

  /// Moves every value to the mean of the weights that it is next to.
  ///
  /// - Returns: Whether one moved.
  private func iterate(_ bins: UnsafePointer<UInt32>, _ first: Int, _ last: Int) -> Bool {
    var moved = false
    var bin = first
    var i = 0
    while i < count {
      var total = 0.0, sum = 0.0
      while bin <= last {
        let value = value(ofBin: bin)
        if i &+ 1 < count && values[i] + values[i &+ 1] < 2 * value { break }
        total += Double(bins[bin])
        sum += Double(bins[bin]) * Double(value)
        bin &+= 1
      }
      let mean = Float(sum / total)
      // Of equal values all but the first have no weights, and stay.
      if total > 0 && mean != values[i] {
        values[i] = mean
        moved = true
      }
      i &+= 1
    }
    return moved
  }

  /// The weight's half, numbered in the order of values.
  @inline(__always) private func bin(of weight: Float) -> Int {
    let half = halfFromFloat(weight)
    return Int(half & 0x8000 != 0 ? ~half : half | 0x8000)
  }

  @inline(__always) private func value(ofBin bin: Int) -> Float {
    let bits = UInt16(truncatingIfNeeded: bin)
    return floatFromHalf(bits & 0x8000 != 0 ? bits & 0x7fff : ~bits)
  }
}
