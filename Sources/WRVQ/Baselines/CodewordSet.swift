import CWRVQKernels

/// Codewords of one code, of which a vector takes the nearest.
struct CodewordSet: Sendable {
  let count: Int
  let dimensions: Int
  /// `count × dimensions`.
  let rows: [Float]
  /// The same in the layout of the batch kernels.
  let packedRows: [Float]
  /// Half the squared lengths; +∞ in the padding.
  let halfNorms: [Float]
  private let kernels: wrvq_kernels

  init(_ rows: [Float], dimensions: Int, kernels: wrvq_kernels) {
    let count = rows.count / dimensions
    self.count = count
    self.dimensions = dimensions
    self.rows = rows
    self.kernels = kernels
    packedRows = packed(rows, count, dimensions, kernels)
    let padding = paddedToPanels(count) - count
    halfNorms =
      rows.withUnsafeBufferPointer { rows in
        (0..<count).map { codeword in
          let row = rows.baseAddress! + codeword * dimensions
          return Float(0.5 * kernels.inner_product(row, row, dimensions))
        }
      } + [Float](repeating: .infinity, count: padding)
  }

  /// The nearest codeword of each row; the lower number of two.
  ///
  /// - Parameters:
  ///   - x: `n × dimensions`.
  ///   - codes: Output, every `stride`-th of `n`.
  func assign(
    _ x: UnsafePointer<Float>, _ n: Int, _ codes: UnsafeMutablePointer<UInt16>, stride: Int
  ) {
    withUnsafeTemporaryAllocation(of: Float.self, capacity: 33 * n) { floats in
      withUnsafeTemporaryAllocation(of: UInt32.self, capacity: n) { best in
        kernels.assign(
          x, n, dimensions, packedRows, halfNorms, count, floats.baseAddress!, best.baseAddress!,
          floats.baseAddress! + 32 * n)
        for row in 0..<n { codes[row * stride] = UInt16(best[row]) }
      }
    }
  }

  /// The means of the rows of each code; codewords without rows stay.
  ///
  /// - Parameters:
  ///   - x: `n × dimensions`.
  ///   - codes: Every `stride`-th of `n`.
  func means(
    _ x: UnsafePointer<Float>, _ n: Int, _ codes: UnsafePointer<UInt16>, stride: Int
  ) -> CodewordSet {
    var sums = [Float](repeating: 0, count: rows.count)
    let counts = counts(codes, n, stride: stride)
    sums.withUnsafeMutableBufferPointer { sums in
      for row in 0..<n {
        let sum = sums.baseAddress! + Int(codes[row * stride]) * dimensions
        let values = x + row * dimensions
        for i in 0..<dimensions { sum[i] += values[i] }
      }
    }
    for code in 0..<count {
      for i in code * dimensions..<(code + 1) * dimensions {
        sums[i] = counts[code] > 0 ? sums[i] / Float(counts[code]) : rows[i]
      }
    }
    return CodewordSet(sums, dimensions: dimensions, kernels: kernels)
  }

  /// How many rows have each code.
  func counts(_ codes: UnsafePointer<UInt16>, _ n: Int, stride: Int) -> [Int] {
    var counts = [Int](repeating: 0, count: count)
    for row in 0..<n { counts[Int(codes[row * stride])] += 1 }
    return counts
  }
}
