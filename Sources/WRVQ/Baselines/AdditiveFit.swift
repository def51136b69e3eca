import CWRVQKernels

/// The codewords that fit given codes best, all together, by least squares.
///
/// With B the matrix that says which codewords a row is the sum of, the change D of the codewords
/// solves (BᵀB + λ)·D = Bᵀ·E for the residuals E: one system of equations for each dimension, all
/// with the same matrix, solved by conjugate gradients.
struct AdditiveFit {
  /// `n × dimensions`.
  let rows: [Float]
  let dimensions: Int
  let threads: Int
  let kernels: wrvq_kernels

  /// Holds codewords in place that next to no row has.
  private static let ridge: Float = 1e-2
  private static let steps = 20

  /// The codewords that leave the least of the rows with these codes.
  func codewords(_ sets: [CodewordSet], for codes: QuantizerCodes) throws -> [CodewordSet] {
    let starts = sets.reduce(into: [0]) { $0.append($0.last! + $1.count) }
    let count = starts.last!, d = dimensions
    let sums = try sets.sums(of: codes, leading: sets.count, threads: threads)
    let targets = residualSums(sums, codes, starts)
    let matrix = coincidences(codes, starts)
    let changes = solve(matrix, targets, count)
    return sets.enumerated().map { index, set in
      var moved = set.rows
      for code in 0..<set.count {
        let codeword = starts[index] + code
        for k in 0..<d { moved[code * d + k] += changes[k * count + codeword] }
      }
      return CodewordSet(moved, dimensions: d, kernels: kernels)
    }
  }

  /// BᵀB: how many rows have both of two codewords.
  private func coincidences(_ codes: QuantizerCodes, _ starts: [Int]) -> [Float] {
    let count = starts.last!, m = codes.codesPerRow
    return [Float](unsafeUninitializedCapacity: count * count) { buffer, initialized in
      initialized = count * count
      buffer.initialize(repeating: 0)
      let matrix = SharedMemory(base: buffer.baseAddress!)
      concurrently(m, threads: threads) { set in
        for row in 0..<codes.rowCount {
          let line = (starts[set] + Int(codes.values[row * m + set])) * count
          for other in 0..<m {
            matrix.base[line + starts[other] + Int(codes.values[row * m + other])] += 1
          }
        }
      }
    }
  }

  /// Bᵀ·E for the residuals E of the rows: `dimensions × codewords`.
  private func residualSums(
    _ sums: [Float], _ codes: QuantizerCodes, _ starts: [Int]
  ) -> [Float] {
    let count = starts.last!, m = codes.codesPerRow, d = dimensions, strip = 16
    return [Float](unsafeUninitializedCapacity: d * count) { buffer, initialized in
      initialized = d * count
      let out = SharedMemory(base: buffer.baseAddress!)
      concurrently((d + strip - 1) / strip, threads: threads) { item in
        let first = item * strip, width = min(strip, d - first)
        var totals = [Float](repeating: 0, count: count * strip)
        totals.withUnsafeMutableBufferPointer { totals in
          for row in 0..<codes.rowCount {
            for set in 0..<m {
              let total = (starts[set] + Int(codes.values[row * m + set])) * strip
              for k in 0..<width {
                let place = row * d + first + k
                totals[total + k] += rows[place] - sums[place]
              }
            }
          }
        }
        for codeword in 0..<count {
          for k in 0..<width {
            (out.base + (first + k) * count + codeword).initialize(
              to: totals[codeword * strip + k])
          }
        }
      }
    }
  }

  /// Conjugate gradients, preconditioned by the diagonal.
  ///
  /// - Parameters:
  ///   - matrix: Symmetric, `count × count`.
  ///   - targets: `dimensions × count`, a system of equations each.
  private func solve(_ matrix: [Float], _ targets: [Float], _ count: Int) -> [Float] {
    let inverse = (0..<count).map { 1 / (matrix[$0 * count + $0] + Self.ridge) }
    let right = packed(matrix, count, count, kernels), width = paddedToPanels(count)
    let chunks = 48
    return [Float](unsafeUninitializedCapacity: targets.count) { buffer, initialized in
      initialized = targets.count
      buffer.initialize(repeating: 0)
      let out = SharedMemory(base: buffer.baseAddress!)
      concurrently((dimensions + chunks - 1) / chunks, threads: threads) { chunk in
        let first = chunk * chunks, n = min(chunks, dimensions - first)
        var systems = (0..<n).map { system in
          let start = (first + system) * count
          return GradientSystem(
            Array(targets[start..<start + count]), inverse: inverse, ridge: Self.ridge, kernels)
        }
        var products = [Float](repeating: 0, count: n * width)
        for _ in 0..<Self.steps {
          kernels.inner_products(
            systems.flatMap(\.direction), n, count, right, count, &products)
          for system in 0..<n { systems[system].step(products, from: system * width) }
        }
        for system in 0..<n {
          systems[system].solution.withUnsafeBufferPointer {
            (out.base + (first + system) * count).update(from: $0.baseAddress!, count: count)
          }
        }
      }
    }
  }

  /// Codewords with noise: `heat` times the spread of the rows, shared among the sets.
  func disturbed(_ sets: [CodewordSet], heat: Double, seed: UInt64) -> [CodewordSet] {
    if heat <= 0 { return sets }
    let d = dimensions, n = rows.count / d
    var numbers = BaselineNumbers(seed: seed)
    let deviations = (0..<d).map { k -> Float in
      var sum = 0.0, squares = 0.0
      for row in 0..<n {
        let value = Double(rows[row * d + k])
        sum += value
        squares += value * value
      }
      let variance = max(0, squares / Double(n) - (sum / Double(n)) * (sum / Double(n)))
      return Float(variance.squareRoot() * heat.squareRoot() / Double(sets.count))
    }
    return sets.map { set in
      var moved = set.rows
      for i in moved.indices { moved[i] += deviations[i % d] * numbers.normal() }
      return CodewordSet(moved, dimensions: d, kernels: kernels)
    }
  }
}

/// One system of equations on its way to a solution.
private struct GradientSystem {
  private(set) var solution: [Float]
  private(set) var direction: [Float]
  private var residual: [Float]
  private let inverse: [Float]
  private let ridge: Float
  private let kernels: wrvq_kernels
  private var measure: Double

  init(_ target: [Float], inverse: [Float], ridge: Float, _ kernels: wrvq_kernels) {
    self.inverse = inverse
    self.ridge = ridge
    self.kernels = kernels
    residual = target
    solution = [Float](repeating: 0, count: target.count)
    direction = zip(target, inverse).map { $0 * $1 }
    measure = kernels.inner_product(target, direction, target.count)
  }

  /// One step.
  ///
  /// - Parameters:
  ///   - products: The matrix times the direction, without the ridge.
  ///   - start: Where this system's begin.
  mutating func step(_ products: [Float], from start: Int) {
    let count = solution.count
    var image = Array(products[start..<start + count])
    for i in 0..<count { image[i] += ridge * direction[i] }
    let curvature = kernels.inner_product(direction, image, count)
    // Solved as far as the numbers go.
    guard measure > 0, curvature > 0 else { return }
    let length = Float(measure / curvature)
    for i in 0..<count {
      solution[i] += length * direction[i]
      residual[i] -= length * image[i]
      image[i] = residual[i] * inverse[i]
    }
    let next = kernels.inner_product(residual, image, count)
    let share = Float(next / measure)
    for i in 0..<count { direction[i] = image[i] + share * direction[i] }
    measure = next
  }
}
