import CWRVQKernels
import TestSupport
import Testing

@Suite struct QueryTests {
  // MARK: Tables

  @Test(arguments: KernelLevel.available, SampleShape.all)
  func tablesHoldTheProductsWithAllCodewords(_ level: KernelLevel, _ sample: SampleShape) {
    let codebook = SampleCodebook(level, sample), d = sample.dimensions
    let query = SampleQuery(codebook, codebook.vectors(1, seed: 70))
    let q = query.vector, fields = query.query.pointee
    #expect(query.status == WRVQ_OK)
    #expect(abs(Double(fields.norm_squared) - dot(q, q)) <= 1e-5 * dot(q, q))
    #expect(fields.inner_factor == (codebook.isL2 ? 2 : 1))
    func expectProducts(_ actual: UnsafeMutablePointer<Float>, _ index: Int, _ count: Int) {
      for code in 0..<count {
        let codeword = codebook.flatCodeword(index, code)
        let slack = 1e-6 * length(q) * length(codeword) + 1e-9
        #expect(abs(Double(actual[code]) - dot(q, codeword)) <= slack, "level \(index), \(code)")
      }
    }
    expectProducts(fields.list_products!, 0, codebook.lists)
    for (i, l) in sample.levels.enumerated().dropFirst() {
      switch l {
      case .flat(let count, _):
        let table = wrvq_query_table(query.query, i)
        expectProducts(table, i, count)
        // Codes that only a damaged page holds.
        if count < 256 { for code in count..<256 { #expect(table[code] == 0) } }
      case .product(let pieces, let p, _):
        expectByteTable(codebook, query, i, pieces, p, d)
      }
    }
  }

  /// Bytes times the scale, plus the pieces' minima in the bias, are the products to half a step;
  /// no sum over pieces exceeds 16 bits, and no scale wastes more than it must.
  private func expectByteTable(
    _ codebook: SampleCodebook, _ query: SampleQuery, _ index: Int, _ pieces: Int, _ p: Int,
    _ d: Int
  ) {
    let q = query.vector, fields = query.query.pointee
    let step = Double(fields.table_scale)
    var bias = 0.0, largestSum = 0, largestByte = 0
    for piece in 0..<pieces {
      let part = (piece * p..<(piece + 1) * p).map { $0 < d ? q[$0] : 0 }
      let products = (0..<16).map { dot(part, codebook.pieceCodeword(index, piece, $0)) }
      let bytes = (0..<16).map { Int(fields.product_table![16 * piece + $0]) }
      for code in 0..<16 {
        #expect(
          abs(Double(bytes[code]) * step - (products[code] - products.min()!))
            <= 0.5001 * step + 1e-6, "piece \(piece), code \(code)")
      }
      bias += products.min()!
      largestSum += bytes.max()!
      largestByte = max(largestByte, bytes.max()!)
    }
    #expect(abs(Double(fields.table_bias) - bias) <= 1e-5 * (length(q) + 1))
    #expect(largestSum <= 65_535)
    // Two of them fit a byte.
    #expect(largestByte == 127)
    for padding in 16 * pieces..<(pieces + 3) / 4 * 64 {
      #expect(fields.product_table![padding] == 0)
    }
  }

  @Test(arguments: KernelLevel.available)
  func manyPiecesStillSumWithinSixteenBits(_ level: KernelLevel) {
    let sample = SampleShape(
      name: "480 pieces", metric: WRVQ_IP, dimensions: 480,
      levels: [
        .flat(3, WRVQ_WEIGHT_ONE), .product(pieces: 480, dimensions: 1, WRVQ_WEIGHT_PROJECTION),
      ])
    let codebook = SampleCodebook(level, sample)
    // Every piece has the same wide range.
    let query = SampleQuery(codebook, [Float](repeating: 100, count: 480))
    expectByteTable(codebook, query, 1, 480, 1, 480)
  }

  @Test(arguments: KernelLevel.available, SampleShape.all)
  func onlyFiniteVectorsAreQueries(_ level: KernelLevel, _ sample: SampleShape) {
    let codebook = SampleCodebook(level, sample), d = sample.dimensions
    for value in [Float.nan, .infinity, -.infinity] {
      var vector = codebook.vectors(1, seed: 71)
      vector[d - 1] = value
      #expect(SampleQuery(codebook, vector).status == WRVQ_NOT_FINITE)
    }
    let zero = SampleQuery(codebook, [Float](repeating: 0, count: d))
    #expect(zero.status == WRVQ_OK)
    if !codebook.isL2 { #expect(zero.vector.allSatisfy { $0 == 0 }) }
  }

  // MARK: The exact layer

  @Test(arguments: KernelLevel.available, SampleShape.all)
  func withoutStatisticsListsRankByTheirCodewordsDistance(
    _ level: KernelLevel, _ sample: SampleShape
  ) {
    let codebook = SampleCodebook(level, sample)
    let query = SampleQuery(codebook, codebook.vectors(1, seed: 72)), q = query.vector
    let distances = (0..<codebook.lists).map { list in
      let c0 = codebook.list(list), difference = sum(q, -1, c0)
      return codebook.isL2 ? dot(difference, difference) : -dot(q, c0)
    }
    let ranked = distances.sorted()
    for n in [1, 2, codebook.lists / 2, codebook.lists] {
      let lists = query.lists(0, n)
      #expect(lists.count == n)
      #expect(lists == lists.sorted() && Set(lists).count == n)
      let slack = 1e-5 * (dot(q, q) + 1)
      for list in lists { #expect(distances[Int(list)] <= ranked[n - 1] + slack) }
    }
  }

  @Test(arguments: KernelLevel.available, SampleShape.all)
  func successiveCallsPartitionTheLists(_ level: KernelLevel, _ sample: SampleShape) {
    let codebook = SampleCodebook(level, sample), total = codebook.lists
    let vector = codebook.vectors(1, seed: 73)
    let whole = SampleQuery(codebook, vector)
    let keys = (0..<total).map { whole.query.pointee.list_keys![$0] }.sorted()
    for chunk in [1, 2, 3, 7, total] {
      let query = SampleQuery(codebook, vector)
      for first in stride(from: 0, to: total, by: chunk) {
        let expected = keys[first..<min(first + chunk, total)].map {
          UInt32(truncatingIfNeeded: $0)
        }
        #expect(query.lists(first, chunk) == expected.sorted(), "\(chunk) from \(first)")
      }
      #expect(query.lists(total, chunk) == [])
    }
  }

  /// The wider a list's rows spread, the nearer its nearest one.
  @Test(arguments: KernelLevel.available, SampleShape.all)
  func aListsSpreadBringsItForward(_ level: KernelLevel, _ sample: SampleShape) {
    let codebook = SampleCodebook(level, sample)
    let vector = codebook.vectors(1, seed: 74)
    let query = SampleQuery(codebook, vector)
    let last = (0..<codebook.lists).map { query.query.pointee.list_keys![$0] }.max()!
    let list = Int(UInt32(truncatingIfNeeded: last))
    codebook.codebook.pointee.list_residual_variances[list] = 1e6
    #expect(SampleQuery(codebook, vector).lists(0, 1) == [UInt32(list)])
  }

  // MARK: The fuzzy layer

  private func sublists(
    _ query: SampleQuery, _ lists: [UInt32], _ share: Float
  ) -> [[UInt8]] {
    let codebook = query.codebook, rowBytes = (codebook.sublists + 7) / 8
    let guardedLists = GuardedBuffer(lists)
    let scratch = GuardedBuffer<UInt64>(count: lists.count * codebook.sublists)
    let chosen = GuardedBuffer<UInt8>(count: lists.count * rowBytes)
    codebook.kernels.query_sublists(
      query.query, guardedLists.pointer, Int32(lists.count), share, scratch.raw, chosen.pointer)
    let bytes = chosen.elements
    return lists.indices.map { Array(bytes[$0 * rowBytes..<($0 + 1) * rowBytes]) }
  }

  @Test(arguments: KernelLevel.available, SampleShape.fuzzy)
  func theShareOfSublistsIsTheNearestOnes(_ level: KernelLevel, _ sample: SampleShape) {
    let codebook = SampleCodebook(level, sample), width = codebook.sublists
    var numbers = TestNumbers(seed: 75)
    for at in 0..<codebook.lists * width {
      let c = codebook.codebook.pointee
      for level in 0..<sample.fuzzyLevels {
        c.sublist_weights[level * codebook.lists * width + at] =
          KernelReference.half(numbers.uniform() + 1)
      }
      c.sublist_constants[at] = codebook.isL2 ? KernelReference.half(numbers.uniform() + 1) : 0
    }
    let query = SampleQuery(codebook, codebook.vectors(1, seed: 76)), q = query.vector
    let lists = query.lists(0, 7)
    var scores: [[Double]] = []
    for list in lists {
      let c0 = codebook.list(Int(list)), difference = sum(q, -1, c0)
      scores.append(
        (0..<width).map { sublist in
          let at = Int(list) * width + sublist, c = codebook.codebook.pointee
          let along = codebook.digits(sublist).enumerated().reduce(0.0) {
            let at = $1.offset * codebook.lists * width + at
            return $0 + KernelReference.value(ofHalf: c.sublist_weights[at])
              * dot(q, codebook.flatCodeword($1.offset + 1, $1.element))
          }
          return codebook.isL2
            ? dot(difference, difference) + KernelReference.value(ofHalf: c.sublist_constants[at])
              - 2 * along : -dot(q, c0) - along
        })
    }
    let ranked = scores.joined().sorted(), total = ranked.count
    for share: Float in [1e-6, 0.01, 0.1, 0.37, 0.5, 0.99] {
      let chosen = sublists(query, lists, share), wanted = max(1, Int(share * Float(total)))
      var count = 0
      for i in lists.indices {
        for j in 0..<chosen[i].count * 8 where chosen[i][j / 8] >> UInt8(j % 8) & 1 == 1 {
          count += 1
          #expect(j < width)
          if j < width {
            #expect(scores[i][j] <= ranked[wanted - 1] + 1e-4 * (abs(ranked[wanted - 1]) + 1))
          }
        }
      }
      #expect(count == wanted, "share \(share) of \(total)")
    }
    #expect(sublists(query, lists, 1).joined().allSatisfy { $0 == 255 })
  }

  @Test(arguments: KernelLevel.available)
  func withoutSublistsEveryListIsVisitedWhole(_ level: KernelLevel) {
    let codebook = SampleCodebook(level, SampleShape.all.first { $0.fuzzyLevels == 0 }!)
    let query = SampleQuery(codebook, codebook.vectors(1, seed: 77))
    #expect(sublists(query, [0, 2, 3], 0.1) == [[255], [255], [255]])
  }
}
