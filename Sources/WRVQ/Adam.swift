/// Adam's moments of some parameters (Kingma and Ba, ICLR 2015).
struct Adam: Sendable, Equatable {
  var first: [Float]
  var second: [Float]

  private static let decays: (first: Float, second: Float) = (0.9, 0.999)
  private static let epsilon: Float = 1e-10

  init(count: Int) {
    first = [Float](repeating: 0, count: count)
    second = first
  }

  init(first: [Float], second: [Float]) {
    self.first = first
    self.second = second
  }

  /// Takes a step against a gradient.
  ///
  /// - Parameters:
  ///   - scale: The gradient's factor.
  ///   - steps: Taken before this one.
  mutating func step(
    _ values: inout [Float], _ gradient: [Float], scale: Float, rate: Float, steps: Int
  ) {
    precondition(values.count == first.count && gradient.count == first.count)
    let (a, b) = Self.decays
    let rate =
      rate * (1 - power(b, steps + 1)).squareRoot() / (1 - power(a, steps + 1))
    let epsilon = Self.epsilon
    values.withUnsafeMutableBufferPointer { values in
      gradient.withUnsafeBufferPointer { gradient in
        first.withUnsafeMutableBufferPointer { first in
          second.withUnsafeMutableBufferPointer { second in
            for i in 0..<values.count {
              let g = scale * gradient[i]
              first[i] = a * first[i] + (1 - a) * g
              second[i] = b * second[i] + (1 - b) * g * g
              values[i] -= rate * first[i] / (second[i].squareRoot() + epsilon)
            }
          }
        }
      }
    }
  }

  private func power(_ base: Float, _ exponent: Int) -> Float {
    var (result, factor, rest) = (Double(1), Double(base), exponent)
    while rest > 0 {
      if rest & 1 == 1 { result *= factor }
      factor *= factor
      rest >>= 1
    }
    return Float(result)
  }
}
