import CWRVQKernels
import TestSupport
import Testing

@Suite struct EncoderTests {
  private static let rows = 23

  // MARK: Preparation

  @Test(arguments: KernelLevel.available, SampleShape.all)
  func preparationScalesTransformsAndCentres(_ level: KernelLevel, _ sample: SampleShape) {
    let codebook = SampleCodebook(level, sample), d = sample.dimensions
    let vectors = codebook.vectors(Self.rows, seed: 2)
    let prepared = codebook.prepare(vectors)
    for row in 0..<Self.rows {
      var x = vectors[row * d..<(row + 1) * d].map { Double($0) }
      let norm = sample.metric == WRVQ_COSINE ? length(x) : 1
      x = codebook.transformed(x.map { $0 * Double(sample.scale) / norm })
      let tolerance = 1e-5 * max(length(x), 1)
      for i in 0..<d {
        let expected = x[i] - Double(codebook.codebook.pointee.center[i])
        #expect(abs(Double(prepared[row * d + i]) - expected) <= tolerance, "row \(row), \(i)")
      }
    }
  }

  @Test(arguments: KernelLevel.available, SampleShape.all)
  func aRowIsPreparedAloneAsInABatchAndAsAQuery(_ level: KernelLevel, _ sample: SampleShape) {
    let codebook = SampleCodebook(level, sample), d = sample.dimensions
    let vectors = codebook.vectors(Self.rows, seed: 3)
    let prepared = codebook.prepare(vectors)
    for row in [0, 5, 6, 17, 22] {
      let alone = Array(vectors[row * d..<(row + 1) * d])
      let expected = Array(prepared[row * d..<(row + 1) * d])
      #expect(codebook.prepare(alone) == expected)
      let query = SampleQuery(codebook, alone)
      #expect(query.vector == expected.map(Double.init))
    }
  }

  @Test(arguments: KernelLevel.available, [WRVQ_L2, WRVQ_IP, WRVQ_COSINE])
  func preparationNamesTheRowThatCannotBeIndexed(_ level: KernelLevel, _ metric: wrvq_metric) {
    let sample = SampleShape.all.first { $0.metric == metric && $0.transformBlock > 0 }!
    let codebook = SampleCodebook(level, sample), d = sample.dimensions
    func statusOf(_ vectors: [Float]) -> (wrvq_status, Int) {
      let input = GuardedBuffer(vectors), scratch = codebook.scratch(Self.rows)
      let prepared = GuardedBuffer<Float>(count: vectors.count)
      var bad = -1
      let status = codebook.kernels.prepare(
        codebook.codebook, input.pointer, Self.rows, scratch.raw, prepared.pointer, &bad)
      return (status, bad)
    }
    let good = codebook.vectors(Self.rows, seed: 4)
    for value in [Float.nan, .infinity, -.infinity] {
      for at in [0, d - 1, 9 * d + 3, Self.rows * d - 1] {
        var vectors = good
        vectors[at] = value
        #expect(statusOf(vectors) == (WRVQ_NOT_FINITE, at / d))
      }
    }
    var vectors = good
    vectors.replaceSubrange(7 * d..<8 * d, with: repeatElement(0, count: d))
    #expect(statusOf(vectors) == (metric == WRVQ_COSINE ? (WRVQ_ZERO_VECTOR, 7) : (WRVQ_OK, -1)))
  }

  @Test(arguments: KernelLevel.available)
  func vectorsOfAnyLengthHaveADirection(_ level: KernelLevel) {
    let sample = SampleShape.all.first { $0.metric == WRVQ_COSINE && $0.dimensions == 32 }!
    let codebook = SampleCodebook(level, sample)
    let vector = codebook.vectors(1, seed: 5)
    let expected = codebook.prepare(vector)
    for factor: Float in [1e-35, 1e-20, 1e20, 1e37] {
      let prepared = codebook.prepare(vector.map { $0 * factor })
      for i in 0..<sample.dimensions {
        #expect(abs(prepared[i] - expected[i]) <= 1e-6, "times \(factor)")
      }
    }
  }

  // MARK: Encoding

  @Test(arguments: KernelLevel.available, SampleShape.all)
  func aRowsEntryDoesNotDependOnItsBatch(_ level: KernelLevel, _ sample: SampleShape) {
    let codebook = SampleCodebook(level, sample), d = sample.dimensions
    let prepared = codebook.prepare(codebook.vectors(Self.rows, seed: 6))
    let (encoded, entries) = codebook.encode(prepared)
    for (start, n) in [(0, 1), (1, 1), (3, 2), (5, 5), (6, 6), (10, 7), (22, 1)] {
      let (otherEncoded, otherEntries) = codebook.encode(
        Array(prepared[start * d..<(start + n) * d]))
      for row in 0..<n {
        #expect(otherEntries[row] == entries[start + row], "batch of \(n), row \(start + row)")
        #expect(otherEncoded[row].list == encoded[start + row].list)
        #expect(otherEncoded[row].sublist == encoded[start + row].sublist)
        #expect(otherEncoded[row].loss == encoded[start + row].loss)
      }
    }
  }

  /// Follows the kernel's choices level by level in double precision: each must be as good as the
  /// best one, up to rounding, and weights, correction and constant must follow from them.
  @Test(arguments: KernelLevel.available, SampleShape.all)
  func everyLevelChoosesItsBestCodeword(_ level: KernelLevel, _ sample: SampleShape) {
    let codebook = SampleCodebook(level, sample), d = sample.dimensions
    let prepared = codebook.prepare(codebook.vectors(Self.rows, seed: 7))
    let (encoded, entries) = codebook.encode(prepared)
    for row in 0..<Self.rows {
      let x = prepared[row * d..<(row + 1) * d].map { Double($0) }
      let list = Int(encoded[row].list)
      expectNearest(x, (0..<codebook.lists).map(codebook.list), list, normFactor: 1)
      let c0 = codebook.list(list), r = sum(x, -1, c0)
      expectClose(encoded[row].norm_squared, dot(x, x), 1e-5, "squared length")
      expectClose(encoded[row].residual_squared, dot(r, r), 1e-5, "squared residual")

      let entry = codebook.decode(entries[row])
      var rest = r, weights: [Double] = []
      for (i, chosen) in entry.levels.enumerated() {
        let w = expectBest(codebook, i + 1, rest, chosen.codes, chosen.codeword)
        weights.append(w)
        rest = sum(rest, -w, chosen.codeword)
      }
      let sublist = codebook.sublist(entry)
      #expect(Int(encoded[row].sublist) == sublist)
      #expect(codebook.entrySublist(entries[row]) == sublist)
      expectClose(
        encoded[row].loss, min(dot(rest, rest), 16), 1e-4, "loss", floor: 1e-6 * dot(x, x))

      let decoded = sum(r, -1, rest), share = dot(decoded, r) / dot(r, r)
      if abs(share - 0.1) < 1e-3 { continue }  // either side of the correction's bound is right
      let gain = share > 0.1 ? 1 / share : 1
      for (i, w) in weights.enumerated() {
        expectHalf(entry.levels[i].factor, gain * w, "factor of level \(i + 1)")
      }
      if codebook.isL2 { expectHalf(entry.constant, dot(r, r) + 2 * gain * dot(decoded, c0)) }
    }
  }

  @Test(arguments: KernelLevel.available, SampleShape.all)
  func theLowestOfEqualCodewordsIsChosen(_ level: KernelLevel, _ sample: SampleShape) {
    let codebook = SampleCodebook(level, sample), d = sample.dimensions
    let scratch = codebook.imageScratch()
    for (i, l) in sample.levels.enumerated() {
      // Every codeword as the first one, of its piece in a product level.
      var rows = codebook.levelRows[i]
      switch l {
      case .flat(let count, _): rows = (0..<count * d).map { rows[$0 % d] }
      case .product(let pieces, let p, _):
        rows = (0..<pieces * 16 * p).map { rows[$0 / (16 * p) * 16 * p + $0 % p] }
      }
      let input = GuardedBuffer(rows)
      codebook.kernels.image_set_level(
        codebook.codebook, Int32(i), input.pointer, scratch.pointer)
    }
    let (encoded, entries) = codebook.encode(
      codebook.prepare(codebook.vectors(Self.rows, seed: 10)))
    for row in 0..<Self.rows {
      #expect(encoded[row].list == 0)
      #expect(codebook.decode(entries[row]).levels.allSatisfy { $0.codes.allSatisfy { $0 == 0 } })
    }
  }

  /// The bound is Cauchy and Schwarz on what the code misses of the residual.
  @Test(arguments: KernelLevel.available, SampleShape.all)
  func estimatesMissTheDistanceByNoMoreThanTheLoss(_ level: KernelLevel, _ sample: SampleShape) {
    let codebook = SampleCodebook(level, sample), d = sample.dimensions
    let prepared = codebook.prepare(codebook.vectors(Self.rows, seed: 8))
    let (encoded, entries) = codebook.encode(prepared)
    for seed in 20..<24 {
      let query = SampleQuery(codebook, codebook.vectors(1, seed: UInt64(seed)))
      let q = query.vector
      for row in 0..<Self.rows {
        let x = prepared[row * d..<(row + 1) * d].map { Double($0) }
        let entry = codebook.decode(entries[row]), list = Int(encoded[row].list)
        let c0 = codebook.list(list)
        let missed = sum(sum(x, -1, c0), -1, entry.residual(d))
        let difference = sum(q, -1, x)
        let distance = codebook.isL2 ? dot(difference, difference) : -dot(q, x)
        let bound =
          codebook.isL2
          ? 2 * length(missed) * length(sum(q, -1, c0)) : length(missed) * length(q)
        let rounding = 2e-3 * (dot(x, x) + dot(q, q) + 1)
        let (estimate, tolerance) = query.estimate(list, entry)
        #expect(abs(estimate - distance) <= bound + tolerance + rounding, "row \(row)")
      }
    }
  }

  /// With the correction, a row's estimated product with its own residual is the true one.
  @Test(
    arguments: KernelLevel.available,
    SampleShape.all.filter { $0.levels.count > 1 && $0.dimensions > 1 })
  func estimatesAreUnbiasedAlongTheResidual(_ level: KernelLevel, _ sample: SampleShape) {
    let codebook = SampleCodebook(level, sample), d = sample.dimensions
    let prepared = codebook.prepare(codebook.vectors(Self.rows, seed: 9))
    let (encoded, entries) = codebook.encode(prepared)
    var corrected = 0
    for row in 0..<Self.rows {
      let x = prepared[row * d..<(row + 1) * d].map { Double($0) }
      let r = sum(x, -1, codebook.list(Int(encoded[row].list)))
      let share = dot(codebook.decode(entries[row]).residual(d), r) / dot(r, r)
      if share > 0.11 {
        #expect(abs(share - 1) < 3e-3, "row \(row)")
        corrected += 1
      }
    }
    #expect(corrected > Self.rows / 2)
  }

  @Test(arguments: KernelLevel.available, SampleShape.all)
  func extremeRowsAreEncodedWithoutHarm(_ level: KernelLevel, _ sample: SampleShape) {
    if sample.metric == WRVQ_COSINE { return }
    let codebook = SampleCodebook(level, sample), d = sample.dimensions
    for magnitude: Float in [0x1p-140, 1e-20, 1e18, 1e30, 3e38] {
      let vectors = (0..<3 * d).map { ($0 % 3 == 0 ? -1 : 1) * magnitude }
      let (encoded, entries) = codebook.encode(codebook.prepare(vectors))
      for row in 0..<3 {
        #expect(encoded[row].list < UInt32(codebook.lists))
        #expect(encoded[row].sublist < UInt32(codebook.sublists))
        let entry = codebook.decode(entries[row])
        #expect(entry.constant.isFinite)
        for (i, level) in entry.levels.enumerated() {
          #expect(level.factor.isFinite)
          let count = Int(codebook.shape.level(i + 1).codeword_count)
          #expect(level.codes.allSatisfy { $0 < count })
        }
      }
    }
  }

  /// A row that is its list's codeword leaves no residual, and no division by zero.
  @Test(arguments: KernelLevel.available, SampleShape.all.filter { $0.dimensions > 1 })
  func aRowThatIsACodewordHasNoResidual(_ level: KernelLevel, _ sample: SampleShape) {
    let codebook = SampleCodebook(level, sample)
    let c0 = codebook.list(codebook.lists - 1)
    let (encoded, entries) = codebook.encode(c0.map(Float.init))
    #expect(Int(encoded[0].list) == codebook.lists - 1)
    #expect(encoded[0].residual_squared == 0)
    let entry = codebook.decode(entries[0])
    #expect(entry.constant.isFinite)
    for (i, level) in entry.levels.enumerated() {
      let hasWeight = codebook.shape.level(i + 1).weight_rule != Int32(WRVQ_WEIGHT_ONE.rawValue)
      if hasWeight && i == 0 { #expect(level.factor == 0) }
      #expect(level.factor.isFinite)
    }
  }

  // MARK: Expectations

  private func expectClose(
    _ actual: Float, _ expected: Double, _ relative: Double, _ what: Comment, floor: Double = 1e-7,
    at location: SourceLocation = #_sourceLocation
  ) {
    #expect(
      abs(Double(actual) - expected) <= relative * abs(expected) + floor, what,
      sourceLocation: location)
  }

  /// Equal up to a half's rounding and the single precision before it.
  private func expectHalf(
    _ actual: Double, _ expected: Double, _ what: Comment = "constant",
    at location: SourceLocation = #_sourceLocation
  ) {
    let clamped = min(max(expected, -65504), 65504)
    #expect(
      abs(actual - clamped) <= abs(clamped) * 8e-4 + 2e-6, what, sourceLocation: location)
  }

  private func expectNearest(
    _ x: [Double], _ codewords: [[Double]], _ chosen: Int, normFactor: Double,
    at location: SourceLocation = #_sourceLocation
  ) {
    let scores = codewords.map { dot(x, $0) - normFactor * dot($0, $0) / 2 }
    let longest = codewords.map(length).max()!
    let slack = 2e-6 * (length(x) * longest + normFactor * longest * longest) + 1e-7
    #expect(
      scores[chosen] >= scores.max()! - slack, "chose \(chosen) of \(codewords.count)",
      sourceLocation: location)
  }

  /// Checks the choice of one level; returns the weight.
  private func expectBest(
    _ codebook: SampleCodebook, _ index: Int, _ r: [Double], _ codes: [Int], _ codeword: [Double],
    at location: SourceLocation = #_sourceLocation
  ) -> Double {
    let d = codebook.d, norm = length(r)
    let rule: wrvq_weight_rule
    switch codebook.sample.levels[index] {
    case .flat(let count, let levelRule):
      rule = levelRule
      let normFactor = rule == WRVQ_WEIGHT_ONE ? 1 : (rule == WRVQ_WEIGHT_NORM ? norm : 0)
      let codewords = (0..<count).map { codebook.flatCodeword(index, $0) }
      expectNearest(r, codewords, codes[0], normFactor: normFactor, at: location)
    case .product(let pieces, let p, let levelRule):
      rule = levelRule
      for piece in 0..<pieces {
        let part = (piece * p..<(piece + 1) * p).map { $0 < d ? r[$0] : 0 }
        let codewords = (0..<16).map { codebook.pieceCodeword(index, piece, $0) }
        expectNearest(
          part, codewords, codes[piece], normFactor: rule == WRVQ_WEIGHT_ONE ? 1 : norm,
          at: location)
      }
    }
    if rule == WRVQ_WEIGHT_ONE { return 1 }
    return rule == WRVQ_WEIGHT_NORM ? norm : dot(r, codeword) / dot(codeword, codeword)
  }
}
