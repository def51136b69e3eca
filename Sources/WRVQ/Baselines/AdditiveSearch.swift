import CWRVQKernels

/// Searches the codes whose codewords add up to a vector, by iterated conditional modes.
///
/// With ½‖x − Σ cⱼ‖² = ½‖x‖² + Σⱼ (½‖cⱼ‖² − ⟨x,cⱼ⟩) + Σ_{i<j} ⟨cᵢ,cⱼ⟩, a *unary* term for each code
/// and a *pairwise* one for each two, all but one code fixed leave a table look-up and the smallest of
/// some sums.
struct AdditiveSearch: Sendable {
  private let codewords: [CodewordSet]
  private let dimensions: Int
  private let kernels: wrvq_kernels
  /// Where each set's codewords begin among all.
  private let starts: [Int]
  /// For each set `[all codewords × padded codewords of the set]`: inner products.
  private let products: [[Float]]
  /// Where each set's part of a row of unary terms begins, and the length of such a row.
  private let unaryStarts: [Int]
  private let unaryWidth: Int

  init(_ codewords: [CodewordSet], kernels: wrvq_kernels) {
    self.codewords = codewords
    self.kernels = kernels
    dimensions = codewords[0].dimensions
    let d = dimensions
    starts = codewords.reduce(into: [0]) { $0.append($0.last! + $1.count) }
    unaryStarts = codewords.reduce(into: [0]) { $0.append($0.last! + paddedToPanels($1.count)) }
    unaryWidth = unaryStarts.last!
    let all = codewords.flatMap(\.rows), count = starts.last!
    products = codewords.map { set in
      [Float](unsafeUninitializedCapacity: count * paddedToPanels(set.count)) { table, used in
        used = count * paddedToPanels(set.count)
        kernels.inner_products(all, count, d, set.packedRows, set.count, table.baseAddress!)
      }
    }
  }

  /// Codes of vectors.
  ///
  /// - Parameters:
  ///   - rows: `n × dimensions`.
  ///   - start: Codes to start from; nil for those of greedy encoding.
  ///   - seed: Of the disturbances, which are the same for every row.
  func codes(
    of rows: [Float], startingFrom start: QuantizerCodes?, _ effort: AdditiveQuantizer.Effort,
    seed: UInt64, threads: Int
  ) -> QuantizerCodes {
    let m = codewords.count, d = dimensions, n = rows.count / d
    let trials = disturbances(effort, seed: seed)
    let values = RowChunks(rowCount: n, dimensions: d, threads: threads).map(m) {
      (chunk, codes: UnsafeMutablePointer<UInt16>) in
      withUnsafeTemporaryAllocation(of: Float.self, capacity: chunk.count * unaryWidth) {
        let unary = $0.baseAddress!
        rows.withUnsafeBufferPointer {
          fillUnary($0.baseAddress! + chunk.lowerBound * d, chunk.count, unary)
        }
        if let start {
          start.values.withUnsafeBufferPointer {
            codes.initialize(
              from: $0.baseAddress! + chunk.lowerBound * m, count: chunk.count * m)
          }
        } else {
          fillGreedily(unary, chunk.count, codes)
        }
        improve(codes, chunk.count, unary, passes: effort.passes)
        for trial in trials { attempt(trial, codes, chunk.count, unary, passes: effort.passes) }
      }
    }
    return QuantizerCodes(codesPerRow: m, values: values)
  }

  /// The codes that each trial changes, and to what.
  private func disturbances(
    _ effort: AdditiveQuantizer.Effort, seed: UInt64
  ) -> [[(set: Int, code: UInt16)]] {
    var numbers = BaselineNumbers(seed: seed)
    return (0..<effort.trials).map { _ in
      (0..<effort.disturbed).map { _ in
        let set = numbers.below(codewords.count)
        return (set, UInt16(numbers.below(codewords[set].count)))
      }
    }
  }

  /// Unary terms, +∞ in the padding.
  private func fillUnary(
    _ x: UnsafePointer<Float>, _ n: Int, _ unary: UnsafeMutablePointer<Float>
  ) {
    for (set, codewords) in codewords.enumerated() {
      let width = paddedToPanels(codewords.count)
      withUnsafeTemporaryAllocation(of: Float.self, capacity: n * width) { products in
        kernels.inner_products(
          x, n, dimensions, codewords.packedRows, codewords.count, products.baseAddress!)
        for row in 0..<n {
          let terms = unary + row * unaryWidth + unaryStarts[set]
          for k in 0..<width { terms[k] = codewords.halfNorms[k] - products[row * width + k] }
        }
      }
    }
  }

  /// Code after code, given those before it.
  private func fillGreedily(
    _ unary: UnsafePointer<Float>, _ n: Int, _ codes: UnsafeMutablePointer<UInt16>
  ) {
    let m = codewords.count
    for row in 0..<n {
      for set in 0..<m {
        codes[row * m + set] = best(
          set, codes + row * m, among: 0..<set, unary + row * unaryWidth)
      }
    }
  }

  /// Passes over all codes of all rows until nothing changes.
  private func improve(
    _ codes: UnsafeMutablePointer<UInt16>, _ n: Int, _ unary: UnsafePointer<Float>, passes: Int
  ) {
    let m = codewords.count
    withUnsafeTemporaryAllocation(of: Bool.self, capacity: 2 * n) { flags in
      let moves = flags.baseAddress!, moved = moves + n
      moves.initialize(repeating: true, count: n)
      for _ in 0..<passes {
        moved.initialize(repeating: false, count: n)
        // A set at a time, so that its products stay in the cache for all rows.
        for set in 0..<m {
          for row in 0..<n where moves[row] {
            let code = best(set, codes + row * m, among: 0..<m, unary + row * unaryWidth)
            if code != codes[row * m + set] {
              codes[row * m + set] = code
              moved[row] = true
            }
          }
        }
        moves.update(from: moved, count: n)
      }
    }
  }

  /// Changes some codes of every row, mends them, and keeps what has become better.
  private func attempt(
    _ trial: [(set: Int, code: UInt16)], _ codes: UnsafeMutablePointer<UInt16>, _ n: Int,
    _ unary: UnsafePointer<Float>, passes: Int
  ) {
    let m = codewords.count
    withUnsafeTemporaryAllocation(of: UInt16.self, capacity: n * m) { memory in
      let tried = memory.baseAddress!
      tried.initialize(from: codes, count: n * m)
      for row in 0..<n { for (set, code) in trial { tried[row * m + set] = code } }
      improve(tried, n, unary, passes: passes)
      for row in 0..<n {
        let terms = unary + row * unaryWidth
        if cost(tried + row * m, terms) < cost(codes + row * m, terms) {
          (codes + row * m).update(from: tried + row * m, count: m)
        }
      }
    }
  }

  /// Half the squared length of what codes leave of a row, up to a constant of the row.
  private func cost(_ codes: UnsafePointer<UInt16>, _ unary: UnsafePointer<Float>) -> Float {
    var sum: Float = 0
    for set in 0..<codewords.count {
      let code = Int(codes[set]), width = paddedToPanels(codewords[set].count)
      sum += unary[unaryStarts[set] + code]
      products[set].withUnsafeBufferPointer { table in
        for other in 0..<set { sum += table[(starts[other] + Int(codes[other])) * width + code] }
      }
    }
    return sum
  }

  /// The best code of one set, the codes of the others given; the lower number of two.
  @inline(__always)
  private func best(
    _ set: Int, _ codes: UnsafePointer<UInt16>, among others: Range<Int>,
    _ unary: UnsafePointer<Float>
  ) -> UInt16 {
    let width = paddedToPanels(codewords[set].count)
    let terms = UnsafeRawPointer(unary + unaryStarts[set])
    return products[set].withUnsafeBytes { table in
      starts.withUnsafeBufferPointer { starts in
        smallestSum(
          terms, table.baseAddress!, width, codes, starts.baseAddress!, others, without: set)
      }
    }
  }
}

/// The place of the smallest sum of a row of terms and the rows of a table that codes choose.
///
/// - Parameters:
///   - terms: `width` floats, a multiple of 16.
///   - table: Rows of `width` floats; row `starts[i] + codes[i]` belongs to code i.
private func smallestSum(
  _ terms: UnsafeRawPointer, _ table: UnsafeRawPointer, _ width: Int,
  _ codes: UnsafePointer<UInt16>, _ starts: UnsafePointer<Int>, _ others: Range<Int>,
  without set: Int
) -> UInt16 {
  var least = SIMD16<Float>(repeating: .infinity)
  var places = SIMD16<Int32>(repeating: 0)
  var first = 0
  while first < width {
    var sums = terms.loadUnaligned(fromByteOffset: 4 &* first, as: SIMD16<Float>.self)
    var other = others.lowerBound
    while other < others.upperBound {
      if other != set {
        let row = (starts[other] &+ Int(codes[other])) &* width &+ first
        sums += table.loadUnaligned(fromByteOffset: 4 &* row, as: SIMD16<Float>.self)
      }
      other &+= 1
    }
    let isLess = sums .< least
    least.replace(with: sums, where: isLess)
    places.replace(with: Int32(truncatingIfNeeded: first), where: isLess)
    first &+= 16
  }
  var best = 0
  var value = Float.infinity
  for lane in 0..<16 {
    let place = Int(places[lane]) + lane
    if least[lane] < value || (least[lane] == value && place < best) {
      (value, best) = (least[lane], place)
    }
  }
  return UInt16(truncatingIfNeeded: best)
}
