import CWRVQKernels

/// Rows turned by a rotation, or back.
///
/// - Parameters:
///   - rows: `n × dimensions`.
///   - rotation: Row-major orthogonal `dimensions × dimensions`.
func rotate(
  _ rows: [Float], _ rotation: [Float], dimensions: Int, inverse: Bool, threads: Int,
  _ kernels: wrvq_kernels
) -> [Float] {
  let turn = BlockRotation(rotation, dimensions: dimensions, inverse: inverse, kernels: kernels)
  let n = rows.count / dimensions
  return RowChunks(rowCount: n, dimensions: dimensions, threads: threads).map(dimensions) {
    (chunk, out: UnsafeMutablePointer<Float>) in
    rows.withUnsafeBufferPointer {
      turn.apply($0.baseAddress! + chunk.lowerBound * dimensions, chunk.count, out)
    }
  }
}

/// `Σ a·bᵀ` over rows: `dimensions × dimensions`, divided by the number of rows.
///
/// - Parameters:
///   - a, b: `n × dimensions`, at least one row.
/// - Complexity: O(n × dimensions²)
func crossMoments(
  _ a: [Float], _ b: [Float], dimensions d: Int, threads: Int, _ kernels: wrvq_kernels
) -> [Float] {
  let n = a.count / d, width = paddedToPanels(d), size = 512
  // Sums of fixed parts, added up in order: the same for any number of threads.
  let chunks = (n + size - 1) / size, parts = min(8, chunks)
  let sums = [Float](unsafeUninitializedCapacity: parts * d * width) { buffer, initialized in
    initialized = parts * d * width
    buffer.initialize(repeating: 0)
    let out = SharedMemory(base: buffer.baseAddress!)
    concurrently(parts, threads: threads) { part in
      for chunk in stride(from: part, to: chunks, by: parts) {
        let rows = chunk * size..<min(n, (chunk + 1) * size)
        let x = columns(a, rows, d), y = packed(columns(b, rows, d), d, rows.count, kernels)
        withUnsafeTemporaryAllocation(of: Float.self, capacity: d * width) { products in
          kernels.inner_products(x, d, rows.count, y, d, products.baseAddress!)
          let sum = out.base + part * d * width
          for i in 0..<d * width { sum[i] += products[i] }
        }
      }
    }
  }
  return (0..<d * d).map { index in
    let place = index / d * width + index % d
    return (0..<parts).reduce(Float(0)) { $0 + sums[$1 * d * width + place] } / Float(n)
  }
}

/// The columns of some rows as rows: `dimensions × rows`.
private func columns(_ x: [Float], _ rows: Range<Int>, _ d: Int) -> [Float] {
  [Float](unsafeUninitializedCapacity: d * rows.count) { buffer, initialized in
    initialized = d * rows.count
    x.withUnsafeBufferPointer { x in
      for (i, row) in rows.enumerated() {
        for k in 0..<d { buffer[k * rows.count + i] = x[row * d + k] }
      }
    }
  }
}

/// The orthogonal matrix R with the largest `tr(Rᵀ·M)`: the orthogonal factor of M = R·P.
///
/// Newton's and Schulz's iteration `X ← ½·X·(3 − XᵀX)` drives all singular values to one.  Where M has
/// next to none, the result stays with what it started from.
///
/// - Parameters:
///   - moments: M, `dimensions × dimensions`.
///   - start: An orthogonal matrix.
/// - Complexity: O(dimensions³), some thirty times.
func nearestRotation(
  to moments: [Float], startingFrom start: [Float], dimensions d: Int, threads: Int,
  _ kernels: wrvq_kernels
) -> [Float] {
  let norm = moments.reduce(0.0) { $0 + Double($1) * Double($1) }.squareRoot()
  if !(norm > 0) { return start }
  // A little of the start, so that no singular value is zero: the largest is at most 1.
  let share: Float = 1e-4
  var x = zip(moments, start).map { (1 - share) * $0 / Float(norm) + share * $1 }
  for _ in 0..<60 {
    let square = product(x, x, d, threads, kernels)
    let cubic = product(square, transposed(x, d), d, threads, kernels)
    var change: Float = 0
    for i in x.indices {
      let next = 1.5 * x[i] - 0.5 * cubic[i]
      change = max(change, abs(next - x[i]))
      x[i] = next
    }
    if change < 1e-6 { break }
  }
  return x
}

/// `A·Bᵀ` of two `d × d` matrices.
private func product(
  _ a: [Float], _ b: [Float], _ d: Int, _ threads: Int, _ kernels: wrvq_kernels
) -> [Float] {
  let right = packed(b, d, d, kernels), width = paddedToPanels(d)
  return RowChunks(rowCount: d, dimensions: d, threads: threads).map(d) {
    (chunk, out: UnsafeMutablePointer<Float>) in
    withUnsafeTemporaryAllocation(of: Float.self, capacity: chunk.count * width) { memory in
      let products = memory.baseAddress!
      a.withUnsafeBufferPointer {
        kernels.inner_products(
          $0.baseAddress! + chunk.lowerBound * d, chunk.count, d, right, d, products)
      }
      for row in 0..<chunk.count {
        (out + row * d).initialize(from: products + row * width, count: d)
      }
    }
  }
}

private func transposed(_ matrix: [Float], _ d: Int) -> [Float] {
  [Float](unsafeUninitializedCapacity: d * d) { buffer, initialized in
    initialized = d * d
    for i in 0..<d { for j in 0..<d { buffer[i * d + j] = matrix[j * d + i] } }
  }
}
