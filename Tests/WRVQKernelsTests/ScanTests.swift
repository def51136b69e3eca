import CWRVQKernels
import TestSupport
import Testing

/// Encoded rows of one codebook in blocks, each block of one list.
private struct Posting {
  let codebook: SampleCodebook
  var blocks: [(list: UInt32, rows: [UInt64], entries: [[UInt8]], memory: GuardedBuffer<UInt8>)] =
    []

  init(_ codebook: SampleCodebook, rows n: Int, seed: UInt64) {
    self.codebook = codebook
    let (encoded, entries) = codebook.encode(
      codebook.prepare(codebook.vectors(n, seed: seed)))
    for list in 0..<UInt32(codebook.lists) {
      let members = encoded.indices.filter { encoded[$0].list == list }
      for start in stride(from: 0, to: members.count, by: 32) {
        let part = members[start..<min(start + 32, members.count)]
        let rows = part.map { UInt64($0) << 20 | 7 }, fields = part.map { entries[$0] }
        blocks.append((list, rows, fields, codebook.block(rows, fields)))
      }
    }
  }

  /// Rows of the codebook with nothing but lists and a product level, and a query.
  static func ofProductLevel(
    _ level: KernelLevel, rows n: Int, seed: UInt64
  ) -> (posting: Posting, query: SampleQuery) {
    let sample = SampleShape.all.first { $0.name == "product, even" }!
    let codebook = SampleCodebook(level, sample)
    return (
      Posting(codebook, rows: n, seed: seed),
      SampleQuery(codebook, codebook.vectors(1, seed: seed + 1))
    )
  }

  func scan(_ query: SampleQuery) { scan(query, blocks.indices) }

  func scan(_ query: SampleQuery, _ range: Range<Int>) {
    for block in blocks[range] { query.scan(block.list, block.memory, block.rows.count) }
  }

  /// Every live row's estimate by the obvious formula.
  func estimates(_ query: SampleQuery) -> [UInt64: (value: Double, tolerance: Double)] {
    var result: [UInt64: (value: Double, tolerance: Double)] = [:]
    for block in blocks {
      for (position, entry) in block.entries.enumerated()
      where codebook.kernels.block_row(block.memory.pointer, Int32(position)) != WRVQ_ROW_DEAD {
        result[block.rows[position]] = query.estimate(
          Int(block.list), codebook.decode(entry))
      }
    }
    return result
  }
}

@Suite struct ScanTests {
  private static let rows = 100

  @Test(arguments: KernelLevel.available, SampleShape.all)
  func estimatesAreThoseOfTheEntriesFields(_ level: KernelLevel, _ sample: SampleShape) {
    let codebook = SampleCodebook(level, sample)
    let posting = Posting(codebook, rows: Self.rows, seed: 30)
    for seed in 31..<33 {
      let query = SampleQuery(codebook, codebook.vectors(1, seed: UInt64(seed)))
      query.beginRound(Self.rows)
      posting.scan(query)
      let expected = posting.estimates(query), kept = query.kept
      #expect(kept.count == Self.rows)
      #expect(Set(kept.map(\.row)) == Set(expected.keys))
      #expect(query.query.pointee.visited == Int64(Self.rows))
      for (estimate, row) in kept {
        let (value, tolerance) = expected[row]!
        #expect(abs(Double(estimate) - value) <= tolerance, "row \(row >> 20)")
      }
    }
  }

  @Test(arguments: KernelLevel.available, SampleShape.all)
  func theBestEntriesAreKept(_ level: KernelLevel, _ sample: SampleShape) {
    let codebook = SampleCodebook(level, sample)
    let posting = Posting(codebook, rows: Self.rows, seed: 35)
    let query = SampleQuery(codebook, codebook.vectors(1, seed: 36))
    query.beginRound(Self.rows)
    posting.scan(query)
    let ranked = query.kept.sorted { $0.estimate < $1.estimate }
    let estimates = Dictionary(uniqueKeysWithValues: ranked.map { ($0.row, $0.estimate) })
    let expected = posting.estimates(query), values = expected.values.map(\.value).sorted()
    let widest = expected.values.map(\.tolerance).max()!
    for limit in [1, 2, 10, 31, 64] {
      query.beginRound(limit)
      posting.scan(query)
      let best = query.takeWithEstimates(limit)
      // Of equals, any.
      #expect(best.estimates.sorted() == ranked.prefix(limit).map(\.estimate), "limit \(limit)")
      #expect(best.estimates == best.rows.map { estimates[$0] }, "limit \(limit)")
      #expect(zip(best.rows, best.rows.dropFirst()).allSatisfy(<))
      #expect(query.take() == [], "what was handed out is not handed out again")
      for row in best.rows { #expect(expected[row]!.value <= values[limit - 1] + 2 * widest) }
    }
  }

  /// A large round guesses its threshold from every so many-th candidate; whatever these are.
  @Test(arguments: KernelLevel.available)
  func theBestOfManyEntriesAreKept(_ level: KernelLevel) {
    let limit = 5000, entries = 30_000
    let (posting, query) = Posting.ofProductLevel(level, rows: 3000, seed: 56)
    // The first entry of each block, by estimate.
    query.beginRound(posting.blocks.count)
    for block in posting.blocks { query.scan(block.list, block.memory, 1) }
    let pool = zip(posting.blocks, query.kept).sorted { $0.1.estimate < $1.1.estimate }
    let estimates = Dictionary(uniqueKeysWithValues: pool.map { ($0.1.row, $0.1.estimate) })
    var numbers = TestNumbers(seed: 58)
    let orders: [(Int) -> Int] = [
      { _ in numbers.below(pool.count) },
      { $0 * pool.count / entries },
      { (entries - 1 - $0) * pool.count / entries },
      { $0 % 10 == 0 ? 0 : numbers.below(pool.count) },
      { $0 % 10 == 0 ? pool.count - 1 : numbers.below(pool.count) },
      { _ in pool.count / 2 },
    ]
    for (i, order) in orders.enumerated() {
      let sequence = (0..<entries).map(order)
      query.beginRound(limit)
      for at in sequence { query.scan(pool[at].0.list, pool[at].0.memory, 1) }
      _ = query.take()
      let best = sequence.map { pool[$0].1 }.sorted { $0.estimate < $1.estimate }.prefix(limit)
      #expect(query.kept.map(\.estimate).sorted() == best.map(\.estimate), "order \(i)")
      #expect(query.kept.allSatisfy { estimates[$0.row] == $0.estimate }, "order \(i)")
    }
  }

  @Test(arguments: KernelLevel.available, SampleShape.all)
  func candidatesWithinABoundAreCounted(_ level: KernelLevel, _ sample: SampleShape) {
    let codebook = SampleCodebook(level, sample)
    let posting = Posting(codebook, rows: Self.rows, seed: 44)
    let query = SampleQuery(codebook, codebook.vectors(1, seed: 45))
    query.beginRound(Self.rows)
    #expect(query.within(.infinity) == 0)
    posting.scan(query)
    let estimates = query.kept.map(\.estimate)
    for estimate in estimates {
      for bound in [estimate, estimate.nextDown, estimate.nextUp] {
        #expect(query.within(bound) == estimates.count { $0 <= bound }, "bound \(bound)")
      }
    }
    #expect(query.within(-.infinity) == 0)
    #expect(query.within(.infinity) == Self.rows)
  }

  @Test(arguments: KernelLevel.available, SampleShape.all)
  func entriesBeyondTheCountAreNotRead(_ level: KernelLevel, _ sample: SampleShape) {
    let codebook = SampleCodebook(level, sample)
    let (_, entries) = codebook.encode(codebook.prepare(codebook.vectors(32, seed: 37)))
    let rows = (0..<32).map { UInt64($0) + 1000 }
    let block = codebook.block(rows, entries)
    let query = SampleQuery(codebook, codebook.vectors(1, seed: 38))
    query.beginRound(64)
    codebook.kernels.query_scan_block(query.query, 0, block.pointer, 32)
    let all = query.kept.map(\.estimate)
    for count in 1...32 {
      query.beginRound(64)
      query.scan(0, block, count)
      #expect(query.kept.map(\.row) == Array(rows.prefix(count)))
      #expect(query.kept.map(\.estimate) == Array(all.prefix(count)))
    }
  }

  @Test(arguments: KernelLevel.available, SampleShape.all)
  func deadEntriesArePassedOver(_ level: KernelLevel, _ sample: SampleShape) {
    let codebook = SampleCodebook(level, sample)
    let posting = Posting(codebook, rows: Self.rows, seed: 39)
    var numbers = TestNumbers(seed: 40), live: Set<UInt64> = []
    for block in posting.blocks {
      for (position, row) in block.rows.enumerated() {
        if numbers.below(3) == 0 {
          codebook.kernels.block_set_row(block.memory.pointer, Int32(position), WRVQ_ROW_DEAD)
        } else {
          live.insert(row)
        }
      }
    }
    let query = SampleQuery(codebook, codebook.vectors(1, seed: 41))
    query.beginRound(Self.rows)
    posting.scan(query)
    #expect(query.take() == live.sorted())
    let limit = 20
    let estimates = Dictionary(uniqueKeysWithValues: query.kept.map { ($0.row, $0.estimate) })
    query.beginRound(limit)
    posting.scan(query)
    let best = query.takeWithEstimates(limit)
    // Of equals, any: all better ones are there, for no row is twice.
    #expect(best.estimates.sorted() == Array(estimates.values.sorted().prefix(limit)))
    #expect(best.estimates == best.rows.map { estimates[$0] })
    #expect(zip(best.rows, best.rows.dropFirst()).allSatisfy(<))
    #expect(live.isSuperset(of: best.rows))
  }

  @Test(arguments: KernelLevel.available, SampleShape.all)
  func extremeQueriesKeepAnOrder(_ level: KernelLevel, _ sample: SampleShape) {
    let codebook = SampleCodebook(level, sample), d = sample.dimensions
    let posting = Posting(codebook, rows: 90, seed: 42)
    var numbers = TestNumbers(seed: 43)
    let direction = numbers.normals(d)
    for magnitude: Float in [0, 0x1p-140, 1e-30, 1e10, 1e18, 1e19, 1e30, 1e38] {
      let query = SampleQuery(codebook, direction.map { $0 * magnitude })
      #expect(query.status == WRVQ_OK)
      query.beginRound(90)
      posting.scan(query)
      #expect(query.kept.count == 90, "query of \(magnitude)")
      #expect(query.kept.allSatisfy { !$0.estimate.isNaN && $0.estimate < .infinity })
      query.beginRound(10)
      posting.scan(query)
      #expect(query.take().count == 10)
      let lists = query.lists(0, codebook.lists)
      #expect(lists == Array(0..<UInt32(codebook.lists)))
    }
  }

  /// Whatever a damaged page holds, a scan reads nothing but the block and its tables.
  @Test(arguments: KernelLevel.available, SampleShape.all)
  func randomBytesAreScannedWithoutHarm(_ level: KernelLevel, _ sample: SampleShape) {
    let codebook = SampleCodebook(level, sample)
    let query = SampleQuery(codebook, codebook.vectors(1, seed: 44))
    var numbers = TestNumbers(seed: 45)
    let block = GuardedBuffer<UInt8>(count: Int(codebook.layout.block_bytes))
    query.beginRound(40)
    for trial in 0..<20 {
      for i in 0..<block.count { block[i] = trial == 0 ? 0xff : UInt8(numbers.below(256)) }
      query.scan(UInt32(trial % codebook.lists), block, 1 + numbers.below(32))
    }
    #expect(query.kept.allSatisfy { !$0.estimate.isNaN })
    #expect(query.take().count <= 40)
  }

  @Test(arguments: KernelLevel.available)
  func aRoundForgetsTheOneBefore(_ level: KernelLevel) {
    let (first, query) = Posting.ofProductLevel(level, rows: 60, seed: 46)
    query.beginRound(5)
    first.scan(query)
    #expect(query.take().count == 5)
    query.beginRound(100)
    #expect(query.take() == [])
    first.scan(query)
    #expect(query.take().count == 60)
    #expect(query.query.pointee.visited == 120)
  }

  /// With `spill` a row has two entries.
  @Test(arguments: KernelLevel.available)
  func aRowWithTwoEntriesIsTakenOnce(_ level: KernelLevel) {
    let (posting, query) = Posting.ofProductLevel(level, rows: 60, seed: 48)
    query.beginRound(500)
    posting.scan(query)
    posting.scan(query)
    #expect(query.kept.count == 120)
    #expect(query.take() == posting.blocks.flatMap(\.rows).sorted())
  }

  /// However far each call reaches, together they hand out the candidates from the best one on.
  @Test(arguments: KernelLevel.available)
  func laterCallsGoOnWhereTheOneBeforeEnded(_ level: KernelLevel) {
    let (posting, query) = Posting.ofProductLevel(level, rows: 300, seed: 54)
    for steps in [[1, 2, 3, 300], [150, 151, 299, 300], [10, 5, 10, 40, 300], [300, 300]] {
      query.beginRound(300)
      posting.scan(query)
      let ranked = query.kept.enumerated().sorted {
        ($0.element.estimate, $0.offset) < ($1.element.estimate, $1.offset)
      }.map(\.element)
      var done = 0
      for n in steps {
        let part = query.takeWithEstimates(n)
        let expected = ranked[done..<max(done, n)].sorted { $0.row < $1.row }
        #expect(part.rows == expected.map(\.row))
        #expect(part.estimates == expected.map(\.estimate))
        done = max(done, n)
        #expect(
          part.next == (n < done ? part.next : done < 300 ? ranked[done].estimate : .infinity))
      }
    }
  }

  @Test(arguments: KernelLevel.available)
  func entriesScannedLaterJoinThoseBefore(_ level: KernelLevel) {
    let (posting, query) = Posting.ofProductLevel(level, rows: 300, seed: 59)
    for split in [0, 1, posting.blocks.count / 2, posting.blocks.count] {
      query.beginRound(100)
      posting.scan(query, 0..<split)
      let first = query.takeWithEstimates(40)
      posting.scan(query, split..<posting.blocks.count)
      let more = query.takeWithEstimates(80, without: first.rows)
      query.beginRound(100)
      posting.scan(query)
      let atOnce = query.takeWithEstimates(80, without: first.rows)
      #expect(more.rows == atOnce.rows, "\(split) blocks first")
      #expect(more.estimates == atOnce.estimates)
      #expect(more.next == atOnce.next)
    }
  }

  @Test(arguments: KernelLevel.available)
  func rowsTakenBeforeAreLeftOut(_ level: KernelLevel) {
    let (posting, query) = Posting.ofProductLevel(level, rows: 100, seed: 50)
    query.beginRound(200)
    posting.scan(query)
    let all = posting.blocks.flatMap(\.rows).sorted()
    var numbers = TestNumbers(seed: 52)
    for share in [0, 1, 5, 10] {
      let present = all.filter { _ in numbers.below(10) < share }
      let absent = all.filter { _ in numbers.below(2) == 0 }.map { $0 + 1 }
      let taken = (present + absent).sorted()
      query.beginRound(200)
      posting.scan(query)
      #expect(query.take(without: taken) == all.filter { !present.contains($0) })
    }
    query.beginRound(200)
    posting.scan(query)
    #expect(query.take(without: all) == [])
  }

  @Test(arguments: KernelLevel.available)
  func mergedRowsAreTheSortedUnion(_ level: KernelLevel) {
    let kernels = level.kernels
    var numbers = TestNumbers(seed: 53)
    for (a, b) in [(0, 0), (0, 5), (5, 0), (1, 1), (17, 40), (40, 17), (100, 100)] {
      let union = Set((0..<a + b + 20).map { _ in numbers.next() >> 16 }).prefix(a + b)
      let first = union.prefix(a).sorted(), second = union.dropFirst(a).sorted()
      let taken = GuardedBuffer(first + Array(repeating: 0, count: b))
      let rows = GuardedBuffer(second)
      kernels.rows_merge(taken.pointer, Int64(a), rows.pointer, Int64(b))
      #expect(taken.elements == union.sorted())
      #expect(rows.elements == second)
    }
  }
}
