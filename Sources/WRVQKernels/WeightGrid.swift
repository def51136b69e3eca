import CWRVQKernels

// Weights of fewer than 16 bits: one of a level's 2^bits values.

/// The most values that a grid has: those of 8 bits.
let weightGridValues = 256
/// Halves in the order of their values, one bin each.
let weightGridBins = 65536
/// k-means in one dimension moves little after these.
private let weightGridIterations = 100
/// Ratio of the values above the greatest weight.
private let spareStep: Float = 1.08

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

  /// Fits the values to weights by Lloyd's k-means.
  ///
  /// Of many values some are kept above the greatest weight, for rows that are not in the sample: where
  /// lengths differ much, a weight that is cut off costs more than all that is lost to rounding.
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
    let fitted = WeightGrid(values: values, count: count &- spareValues)
    fitted.fit(n, bins, first, last)
    i = fitted.count
    while i < count {
      values[i] = values[i &- 1] > 0 ? values[i &- 1] * spareStep : values[i &- 1]
      i &+= 1
    }
    roundThroughHalves(values, count)
  }

  private var spareValues: Int { count == weightGridValues ? 16 : 0 }

  /// From the better one of two beginnings: k-means goes to the nearest optimum only.
  private func fit(_ n: Int, _ bins: UnsafePointer<UInt32>, _ first: Int, _ last: Int) {
    beginEvenly(n, bins, first)
    let even = settle(bins, first, last)
    beginWidely(bins, first, last)
    if settle(bins, first, last) < even { return }
    beginEvenly(n, bins, first)
    _ = settle(bins, first, last)
  }

  /// Value `i` becomes the quantile `(i + ½)/count`: right where there are few different weights.
  private func beginEvenly(_ n: Int, _ bins: UnsafePointer<UInt32>, _ first: Int) {
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

  /// Values as dense as the third root of the weights' density, which is the optimum for many
  /// values (Panter and Dite, 1951): the few great weights, which would cost most, get their share.
  private func beginWidely(_ bins: UnsafePointer<UInt32>, _ first: Int, _ last: Int) {
    var total: Float = 0
    var bin = first
    while bin <= last {
      let next = self.bin(after: bin, bins, last)
      total += share(bins[bin], bin, next, last)
      bin = next
    }
    var below: Float = 0
    bin = first
    var i = 0
    while i < count {
      let position = (Float(i) + 0.5) / Float(count) * total
      var next = self.bin(after: bin, bins, last), here = share(bins[bin], bin, next, last)
      while bin < last && below + here <= position {
        below += here
        bin = next
        next = self.bin(after: bin, bins, last)
        here = share(bins[bin], bin, next, last)
      }
      // Values between two weights far apart stay there: others will come between them.
      let part = here > 0 ? (position - below) / here : 0
      let value = value(ofBin: bin)
      values[i] = value + part * (self.value(ofBin: lesser(next, last)) - value)
      i &+= 1
    }
  }

  private func bin(after bin: Int, _ bins: UnsafePointer<UInt32>, _ last: Int) -> Int {
    var next = bin &+ 1
    while next <= last && bins[next] == 0 { next &+= 1 }
    return next
  }

  /// `∛(rows · width²)` of a bin and the empty ones after it.
  private func share(_ rows: UInt32, _ bin: Int, _ next: Int, _ last: Int) -> Float {
    let width = value(ofBin: lesser(next, last)) - value(ofBin: bin)
    return cubeRoot(Float(rows) * width * width)
  }

  /// k-means to its end.
  ///
  /// - Returns: The sum of the squared errors.
  private func settle(_ bins: UnsafePointer<UInt32>, _ first: Int, _ last: Int) -> Double {
    var i = 0
    while i < weightGridIterations && iterate(bins, first, last) { i &+= 1 }
    var error = 0.0
    var bin = first
    while bin <= last {
      if bins[bin] > 0 {
        let difference = Double(value(ofBin: bin) - nearest(value(ofBin: bin)))
        error += Double(bins[bin]) * difference * difference
      }
      bin &+= 1
    }
    return error
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

/// By Newton's method, for 0 and what halves can be squares of.
private func cubeRoot(_ x: Float) -> Float {
  if !(x > 1e-30) { return 0 }
  // A third of the exponent, by bits, is within some percent.
  var root = Float(bitPattern: x.bitPattern / 3 &+ 0x2a51_4067)
  var i = 0
  while i < 3 {
    root -= (root - x / (root * root)) * (1.0 / 3.0)
    i &+= 1
  }
  return root
}
