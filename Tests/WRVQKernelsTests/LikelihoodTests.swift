import CWRVQKernels
import TestSupport
import Testing

#if canImport(Glibc)
  import Glibc
#endif

@Suite struct LikelihoodTests {
  private static let counts = [1, 2, 7, 8, 9, 16, 17, 33, 400]

  private static func shape(_ lists: Int) -> SampleShape {
    .init(
      name: "\(lists) lists", metric: WRVQ_L2, dimensions: 21, transformBlock: 0, scale: 1,
      levels: [.flat(lists, WRVQ_WEIGHT_ONE)])
  }

  /// A query over lists whose rows have a spread, so that there is a deviation.
  private func query(_ level: KernelLevel, lists: Int, deviation: Float = 0.002) -> SampleQuery {
    let codebook = SampleCodebook(level, Self.shape(lists))
    for list in 0..<lists { codebook.codebook.pointee.list_residual_variances[list] = deviation }
    return SampleQuery(codebook, codebook.vectors(1, seed: 90))
  }

  private func scores(_ query: SampleQuery) -> [Float] {
    (0..<query.codebook.lists).map { query.query.pointee.list_scores![$0] }
  }

  /// Of all lists, best first.
  private func shares(_ query: SampleQuery, _ temperature: Float) -> [Float] {
    let scores = scores(query), lists = scores.indices.sorted { scores[$0] < scores[$1] }
    let guarded = GuardedBuffer(lists.map(UInt32.init))
    let shares = GuardedBuffer<Float>(count: lists.count).spoil()
    query.codebook.kernels.query_shares(
      query.query, temperature, guarded.pointer, lists.count, shares.pointer)
    return shares.elements
  }

  /// The same in double precision.
  private func expectedShares(_ query: SampleQuery, _ temperature: Float) -> [Double] {
    let scores = scores(query).map(Double.init).sorted()
    let width = Double(temperature) * Double(query.query.pointee.deviation)
    let likelihoods = scores.map { width > 0 ? exp(-($0 - scores[0]) / width) : 1 }
    let total = likelihoods.reduce(0, +)
    var before = 0.0
    return likelihoods.map { likelihood in
      defer { before += likelihood }
      return before / total
    }
  }

  @Test(arguments: KernelLevel.available, counts)
  func sharesAreWhatTheListsBeforeHave(_ level: KernelLevel, _ lists: Int) {
    for deviation: Float in [0, 0.002] {
      let query = query(level, lists: lists, deviation: deviation)
      #expect((query.query.pointee.deviation > 0) == (deviation > 0))
      for temperature: Float in [0.05, 1, 8, 1e9] {
        let shares = shares(query, temperature)
        for (share, expected) in zip(shares, expectedShares(query, temperature)) {
          #expect(abs(Double(share) - expected) < 1e-5)
        }
      }
    }
  }

  @Test(arguments: KernelLevel.available, counts)
  func aShareIsSpentByTheListsBeforeIt(_ level: KernelLevel, _ lists: Int) {
    let query = query(level, lists: lists), kernels = level.kernels
    for temperature: Float in [0.5, 1, 8, 1e9] {
      let prior = expectedShares(query, temperature)
      for share: Float in [0, 0.01, 0.3, 0.5, 0.77, 0.95, 0.999] {
        let probes = Int(kernels.query_probes(query.query, temperature, share))
        #expect((1...lists).contains(probes))
        // The last list that is visited had not spent the share before it, the next one would have.
        #expect(prior[probes - 1] <= Double(share) + 1e-4)
        if probes < lists { #expect(prior[probes] >= Double(share) - 1e-4) }
      }
      #expect(Int(kernels.query_probes(query.query, temperature, 1)) == lists)
    }
  }

  @Test(arguments: KernelLevel.available)
  func damagedStatisticsDoNoHarm(_ level: KernelLevel) {
    for damage: Float in [.nan, -1, .infinity, 1e38] {
      let query = query(level, lists: 33, deviation: damage)
      #expect((1...33).contains(level.kernels.query_probes(query.query, 1, 0.5)))
    }
  }

  @Test(arguments: KernelLevel.available)
  func thePlaceOfACandidateIsByItsEstimate(_ level: KernelLevel) {
    let sample = SampleShape.all.first { $0.name == "product, even" }!
    let codebook = SampleCodebook(level, sample)
    let query = SampleQuery(codebook, codebook.vectors(1, seed: 91))
    let (encoded, entries) = codebook.encode(codebook.prepare(codebook.vectors(64, seed: 92)))
    query.beginRound(20)
    for row in entries.indices {
      let block = GuardedBuffer<UInt8>(count: Int(codebook.layout.block_bytes))
      let entry = GuardedBuffer(entries[row])
      codebook.withLayout {
        level.kernels.block_put($0, block.pointer, 0, UInt64(row), entry.pointer)
      }
      query.scan(encoded[row].list, block, 1)
    }
    let (rows, estimates, next) = query.takeWithEstimates(12)
    let kept = query.kept.sorted { $0.estimate < $1.estimate }
    for (place, candidate) in kept.prefix(20).enumerated() {
      #expect(Int(level.kernels.query_place(query.query, candidate.row)) == place)
    }
    #expect(level.kernels.query_place(query.query, 1000) == 20)
    #expect(rows == kept.prefix(12).map(\.row).sorted())
    for (row, estimate) in zip(rows, estimates) {
      #expect(kept.first { $0.row == row }!.estimate == estimate)
    }
    #expect(next == kept[12].estimate)
    #expect(query.takeWithEstimates(20, without: rows).rows.count == 8)
  }

  @Test(arguments: KernelLevel.available, [WRVQ_L2, WRVQ_IP, WRVQ_COSINE])
  func anExactDistanceIsScaledAsEstimatesAre(_ level: KernelLevel, _ metric: wrvq_metric) {
    let sample = SampleShape(
      name: "scaled", metric: metric, dimensions: 24, transformBlock: 0, scale: 0.25,
      levels: [.flat(5, WRVQ_WEIGHT_ONE)])
    let codebook = SampleCodebook(level, sample), kernels = level.kernels
    let vectors = codebook.vectors(2, seed: 93), d = codebook.d
    let prepared = codebook.prepare(vectors).map(Double.init)
    let x = Array(prepared[0..<d]), q = Array(prepared[d...])
    let a = GuardedBuffer(Array(vectors[0..<d])), b = GuardedBuffer(Array(vectors[d...]))
    let query = SampleQuery(codebook, b.elements)
    let (distance, expected): (Double, Double) =
      switch metric {
      case WRVQ_L2:
        (
          kernels.l2_distance(a.pointer, b.pointer, d),
          zip(x, q).reduce(0) { $0 + ($1.0 - $1.1) * ($1.0 - $1.1) }
        )
      case WRVQ_IP: (-kernels.inner_product(a.pointer, b.pointer, d), -dot(x, q))
      default: (kernels.cosine_distance(a.pointer, b.pointer, d), -dot(x, q))
      }
    #expect(abs(kernels.query_exact(query.query, distance) - expected) < 1e-4)
  }
}
