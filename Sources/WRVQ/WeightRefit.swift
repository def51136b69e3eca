import CWRVQKernels

/// Fits the weights of all levels together to a row, once its codes are chosen.
///
/// With the codes' directions V this is the least-squares problem `min ‖x − Vw‖²`: the system
/// `Gw = b` of their Gram matrix `G = VᵀV` and `b = Vᵀx`.  Weights are then rounded from the last
/// level to the first, each making up for what rounding did to those before it, and at last
/// each once more by itself.  Levels whose weight is always one keep it.
struct WeightRefit: Sendable {
  private let dimensions: Int
  private let kernels: wrvq_kernels
  private let quantizers: [WeightQuantizer]
  /// Levels with weights.
  private let free: [Int]

  init(_ levels: [Codebook.Level], dimensions: Int, kernels: wrvq_kernels) {
    self.dimensions = dimensions
    self.kernels = kernels
    quantizers = levels.map { WeightQuantizer($0) }
    free = levels.indices.filter { levels[$0].weightRule != .one }
  }

  /// Refits every path of a beam whose levels are all chosen, where that lowers its loss.
  ///
  /// - Parameter rows: Prepared, `[rows × dimensions]`.
  func refit(_ beam: inout Beam, of rows: UnsafePointer<Float>, _ directions: [LevelDirections]) {
    if free.isEmpty { return }
    beam.separate()
    let d = dimensions, levels = directions.count, width = beam.width
    withUnsafeTemporaryAllocation(of: Float.self, capacity: width * levels * d + d) { memory in
      let vectors = memory.baseAddress!, rest = vectors + width * levels * d
      for row in 0..<beam.rows {
        for level in 0..<levels {
          let step = beam.steps[level]
          directions[level].fill(
            step.codes + row * width * step.codesPerPath, width, vectors + level * width * d)
        }
        var gram: [Double]?
        for i in 0..<width {
          refit(
            beam, row * width + i, rows + row * d, vectors + i * d, stride: width * d, rest, &gram)
        }
      }
    }
  }

  /// - Parameters:
  ///   - vectors: The path's directions, one a level, every `stride` floats.
  ///   - rest: Scratch, `[dimensions]`.
  ///   - gram: Of the row's first path, where that is done: most of their codes are the same.
  private func refit(
    _ beam: Beam, _ path: Int, _ row: UnsafePointer<Float>, _ vectors: UnsafePointer<Float>,
    stride: Int, _ rest: UnsafeMutablePointer<Float>, _ gram: inout [Double]?
  ) {
    let d = dimensions
    rest.update(from: row, count: d)
    for level in beam.steps.indices where !free.contains(level) {
      subtract(Float(beam.steps[level].weights[path]), vectors + level * stride, from: rest)
    }
    let n = free.count
    var system = LeastSquares(n)
    let known = gram == nil ? [] : free.map { hasCodesOfFirst(beam.steps[$0], path, beam.width) }
    for i in 0..<n {
      let v = vectors + free[i] * stride
      system.right[i] = kernels.inner_product(v, rest, d)
      for j in 0...i {
        system.gram[i * n + j] =
          gram != nil && known[i] && known[j]
          ? gram![i * n + j] : kernels.inner_product(v, vectors + free[j] * stride, d)
      }
    }
    if gram == nil { gram = system.gram }
    let old = free.map { Double(beam.steps[$0].weights[path]) }
    let square = kernels.inner_product(rest, rest, d)
    let new = system.solve { Double(quantizers[free[$0]].stored(Float($1))) }
    let loss = square + system.value(new)
    // Less than rounding makes of it is no gain.
    guard loss < square + system.value(old) - 1e-7 * square else { return }
    for i in 0..<n { beam.steps[free[i]].weights[path] = Float16(new[i]) }
    beam.losses[path] = Float(max(0, loss))
  }

  /// Has a path the same codes as the first one of its row?
  private func hasCodesOfFirst(_ step: Beam.Step, _ path: Int, _ width: Int) -> Bool {
    let size = step.codesPerPath, first = path / width * width
    return (0..<size).allSatisfy {
      step.codes[path * size + $0] == step.codes[first * size + $0]
    }
  }

  private func subtract(
    _ weight: Float, _ v: UnsafePointer<Float>, from r: UnsafeMutablePointer<Float>
  ) {
    for i in 0..<dimensions { r[i] -= weight * v[i] }
  }
}

/// `min wᵀGw − 2bᵀw` over weights that can be stored.
struct LeastSquares {
  /// The lower triangle of `[n × n]`.
  var gram: [Double]
  var right: [Double]
  private let n: Int
  private static let sweeps = 2

  init(_ n: Int) {
    self.n = n
    gram = [Double](repeating: 0, count: n * n)
    right = [Double](repeating: 0, count: n)
  }

  /// `wᵀGw − 2bᵀw`.
  func value(_ w: [Double]) -> Double {
    var total = 0.0
    for i in 0..<n {
      var product = 0.5 * gram[i * n + i] * w[i]
      for j in 0..<i { product += gram[i * n + j] * w[j] }
      total += 2 * w[i] * (product - right[i])
    }
    return total
  }

  /// - Parameter stored: The value that can be stored next to one, by the number of the weight.
  func solve(stored: (Int, Double) -> Double) -> [Double] {
    let factor = cholesky()
    var w = rounded(exact(factor), factor, stored)
    for _ in 0..<Self.sweeps {
      for i in 0..<n where gram[i * n + i] > 0 {
        var slope = right[i]
        for j in 0..<n { slope -= gram[max(i, j) * n + min(i, j)] * w[j] }
        w[i] = stored(i, w[i] + slope / gram[i * n + i])
      }
    }
    return w
  }

  /// `L` of `G = LLᵀ`, the lower triangle; a direction that the ones before span gets a tiny pivot.
  private func cholesky() -> [Double] {
    var l = gram
    for i in 0..<n {
      for j in 0...i {
        var sum = l[i * n + j]
        for k in 0..<j { sum -= l[i * n + k] * l[j * n + k] }
        let floor = 1e-6 * gram[i * n + i] + 1e-30
        l[i * n + j] = i == j ? max(sum, floor).squareRoot() : sum / l[j * n + j]
      }
    }
    return l
  }

  private func exact(_ l: [Double]) -> [Double] {
    var w = right
    for i in 0..<n {
      for k in 0..<i { w[i] -= l[i * n + k] * w[k] }
      w[i] /= l[i * n + i]
    }
    for i in (0..<n).reversed() {
      for k in i + 1..<n { w[i] -= l[k * n + i] * w[k] }
      w[i] /= l[i * n + i]
    }
    return w
  }

  /// Rounds from the last weight to the first: of `‖Lᵀ(w − exact)‖²`, which is the loss in excess,
  /// row `i` holds the weights from `i` on only.
  private func rounded(
    _ exact: [Double], _ l: [Double], _ stored: (Int, Double) -> Double
  ) -> [Double] {
    var w = exact
    for i in (0..<n).reversed() {
      var shift = 0.0
      for k in i + 1..<n { shift += l[k * n + i] * (w[k] - exact[k]) }
      w[i] = stored(i, exact[i] - shift / l[i * n + i])
    }
    return w
  }
}
