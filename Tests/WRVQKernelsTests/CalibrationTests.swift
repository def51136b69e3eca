import CWRVQKernels
import TestSupport
import Testing

/// The state of a calibration at the end of guarded memory, fed from guarded arrays.
private struct Calibration {
  let codebook: SampleCodebook
  let queries: Int
  private let buffer: GuardedBuffer<UInt8>
  private var memory: UnsafeMutableRawPointer { UnsafeMutableRawPointer(buffer.pointer) }

  /// - Parameters:
  ///   - slack: Bytes to leave unused at the end: memory need not be aligned better than they let
  ///     it be.
  init(_ codebook: SampleCodebook, _ prepared: [Float], _ rows: [UInt64], slack: Int = 0) {
    (self.codebook, queries) = (codebook, rows.count)
    let kernels = codebook.kernels
    let bytes = Int(kernels.calibration_bytes(codebook.codebook, rows.count))
    buffer = GuardedBuffer<UInt8>(count: bytes + slack, alignment: 8).spoil()
    let guardedPrepared = GuardedBuffer(prepared), guardedRows = GuardedBuffer(rows)
    kernels.calibration_begin(
      codebook.codebook, guardedPrepared.pointer, guardedRows.pointer, queries, memory)
  }

  /// Adds rows in batches of the sizes given; what the batches leave over is not added.
  func add(_ rows: CalibrationRows, batches: [Int], secondLists: [UInt32]? = nil) {
    var start = 0
    for n in batches {
      let end = start + n, d = codebook.d
      let prepared = GuardedBuffer(Array(rows.prepared[start * d..<end * d]))
      let identifiers = GuardedBuffer(Array(rows.identifiers[start..<end]))
      let encoded = GuardedBuffer(Array(rows.encoded[start..<end]))
      let spilled = secondLists.map { lists in
        GuardedBuffer(
          (start..<end).map { row in
            var encoded = rows.encoded[row]
            encoded.list = lists[row]
            return encoded
          })
      }
      codebook.kernels.calibration_add(
        codebook.codebook, queries, memory, prepared.pointer, identifiers.pointer,
        encoded.pointer, spilled?.pointer, n)
      start = end
    }
  }

  /// As a participant does before each batch.
  func exchange(_ shared: GuardedBuffer<Float>) {
    codebook.kernels.calibration_exchange(codebook.codebook, queries, memory, shared.pointer)
  }

  func merge(_ other: Calibration) {
    codebook.kernels.calibration_merge(codebook.codebook, queries, memory, other.memory)
  }

  /// The neighbours of a query, nearest first, and their lists.
  func neighbours(_ index: Int, _ query: SampleQuery) -> (rows: [UInt64], lists: [Int]) {
    let capacity = Int(WRVQ_CALIBRATION_NEIGHBOURS)
    let rows = GuardedBuffer<UInt64>(count: capacity).spoil()
    let lists = GuardedBuffer<UInt32>(count: capacity).spoil()
    let found = codebook.kernels.calibration_neighbours(
      codebook.codebook, queries, memory, index, query.query, rows.pointer, lists.pointer)
    #expect((0...capacity).contains(found))
    #expect(lists.elements.dropFirst(found).allSatisfy { $0 == 0x7f7f_7f7f })
    return (Array(rows.elements.prefix(found)), lists.elements.prefix(found).map(Int.init))
  }
}

/// Rows as a build passes them to the calibration.
private struct CalibrationRows {
  var vectors: [Float]  // the user's
  var prepared: [Float]
  var identifiers: [UInt64]
  var encoded: [wrvq_encoded]

  var count: Int { identifiers.count }

  init(_ codebook: SampleCodebook, _ vectors: [Float]) {
    self.vectors = vectors
    prepared = codebook.prepare(vectors)
    encoded = codebook.encode(prepared).0
    identifiers = encoded.indices.map(Self.identifier)
  }

  /// As a table's are: many that differ in the block's number only, above 32 bits for some.
  static func identifier(_ row: Int) -> UInt64 {
    UInt64(row / 3) << (row % 2 == 0 ? 32 : 16) | UInt64(row % 3 + 1)
  }

  func slice(_ range: Range<Int>, _ d: Int) -> CalibrationRows {
    var slice = self
    slice.prepared = Array(prepared[range.lowerBound * d..<range.upperBound * d])
    slice.identifiers = Array(identifiers[range])
    slice.encoded = Array(encoded[range])
    return slice
  }

  func vector(_ row: Int, _ d: Int) -> [Float] { Array(vectors[row * d..<(row + 1) * d]) }

  func prepared(_ row: Int, _ d: Int) -> [Float] { Array(prepared[row * d..<(row + 1) * d]) }
}

/// The distances of all rows but those of one identifier from one query, by brute force.
private struct Distances {
  let all: [Double]
  let isOwn: [Bool]
  let sorted: [Double]
  let tolerance: Double

  init(_ rows: CalibrationRows, _ codebook: SampleCodebook, _ query: [Float], _ own: UInt64) {
    let d = codebook.d, q = query.map(Double.init)
    var largest = dot(q, q)
    var all: [Double] = []
    for row in 0..<rows.count {
      let x = rows.prepared(row, d).map(Double.init), difference = sum(x, -1, q)
      largest = max(largest, dot(x, x))
      all.append(codebook.isL2 ? dot(difference, difference) : -dot(x, q))
    }
    let isOwn = rows.identifiers.map { $0 == own }
    (self.all, self.isOwn) = (all, isOwn)
    sorted = all.indices.filter { !isOwn[$0] }.map { all[$0] }.sorted()
    tolerance = 4e-6 * largest
  }

  var neighbours: Int { min(sorted.count, Int(WRVQ_CALIBRATION_NEIGHBOURS)) }

  /// Rows that may be the neighbour at a place, from 0: one, but for what rounding makes of ties.
  func candidates(_ place: Int) -> [Int] {
    all.indices.filter { !isOwn[$0] && abs(all[$0] - sorted[place]) <= tolerance }
  }
}

@Suite struct CalibrationTests {
  private static let lists = 400

  /// More lists than rows, so that a list tells which row it stands for.
  private static let wide: [SampleShape] = [WRVQ_L2, WRVQ_IP, WRVQ_COSINE].map {
    .init(
      name: "a list a row", metric: $0, dimensions: 21, transformBlock: 21, scale: 0.5,
      levels: [.flat(lists, WRVQ_WEIGHT_ONE)])
  }

  private static func list(ofRow row: Int) -> UInt32 { UInt32((row * 7 + 3) % lists) }

  /// The rows that are the neighbours of a query with the vector of `row`, where rows have lists of
  /// their own; -1: no such list.
  private func kept(
    _ calibration: Calibration, _ index: Int, _ rows: CalibrationRows, row: Int
  ) -> [Int] {
    let codebook = calibration.codebook
    let query = SampleQuery(codebook, rows.vector(row, codebook.d))
    var owners = [Int](repeating: -1, count: Self.lists)
    for row in 0..<Self.lists { owners[Int(Self.list(ofRow: row))] = row }
    let found = calibration.neighbours(index, query)
    let kept = found.lists.map { owners.indices.contains($0) ? owners[$0] : -1 }
    for (kept, identifier) in zip(kept, found.rows) where rows.identifiers.indices.contains(kept) {
      #expect(identifier == rows.identifiers[kept])
    }
    return kept
  }

  private func wideRows(_ codebook: SampleCodebook, _ vectors: [Float]) -> CalibrationRows {
    var rows = CalibrationRows(codebook, vectors)
    for row in 0..<rows.count { rows.encoded[row].list = Self.list(ofRow: row) }
    return rows
  }

  private func expectNearest(_ kept: [Int], _ distances: Distances, _ comment: Comment) {
    #expect(kept.count == distances.neighbours, comment)
    #expect(Set(kept).count == kept.count, comment)
    for (place, row) in kept.enumerated() where place < distances.neighbours {
      #expect(distances.candidates(place).contains(row), "\(comment): place \(place), row \(row)")
    }
  }

  // MARK: Neighbours

  @Test(arguments: KernelLevel.available, wide)
  func theNearestRowsAreKept(_ level: KernelLevel, _ sample: SampleShape) {
    let codebook = SampleCodebook(level, sample), d = codebook.d
    let rows = wideRows(codebook, codebook.vectors(300, seed: 80))
    for queries in [1, 15, 16, 17, 33, 128] {
      // As in a build: some of the rows, in order.
      let own = (0..<queries).map { $0 * rows.count / queries }
      let calibration = Calibration(
        codebook, own.flatMap { rows.prepared($0, d) }, own.map { rows.identifiers[$0] })
      calibration.add(rows, batches: [50, 128, 1, 17, 104])
      for (index, row) in own.enumerated() {
        let kept = kept(calibration, index, rows, row: row)
        #expect(!kept.contains(row))
        expectNearest(
          kept,
          Distances(rows, codebook, rows.prepared(row, d), rows.identifiers[row]),
          "query \(index) of \(queries)")
      }
    }
  }

  @Test(arguments: KernelLevel.available, wide)
  func onlyTheRowOfTheSameIdentifierIsLeftOut(_ level: KernelLevel, _ sample: SampleShape) {
    let codebook = SampleCodebook(level, sample), d = codebook.d
    var rows = wideRows(codebook, codebook.vectors(60, seed: 81))
    let identifier: UInt64 = 0x1234_5678_0007
    // Ones that are this one in 16, in 32 and in all but the highest bits.
    (rows.identifiers[20], rows.identifiers[30]) = (7, 0x5678_0007)
    (rows.identifiers[40], rows.identifiers[50]) = (0x9234_5678_0007, identifier)
    for row in [20, 30, 40, 50] {
      let range = row * d..<(row + 1) * d
      rows.prepared.replaceSubrange(range, with: rows.prepared(10, d))
      rows.encoded[row].norm_squared = rows.encoded[10].norm_squared
    }
    // Its own vector is another one's than that of the row of its identifier, too.
    for (owner, row) in [(identifier, 10), (identifier, 3), (0xffff_0000_0001, 10)] {
      let calibration = Calibration(codebook, rows.prepared(row, d), [owner])
      calibration.add(rows, batches: [25, 35])
      let kept = kept(calibration, 0, rows, row: row)
      let distances = Distances(rows, codebook, rows.prepared(row, d), owner)
      expectNearest(kept, distances, "identifier \(owner), vector of row \(row)")
      #expect(kept.contains(50) == (owner != identifier && row == 10))
      if row == 10 && sample.metric != WRVQ_IP {
        #expect(Set([10, 20, 30, 40]).isSubset(of: kept))
      }
    }
  }

  @Test(arguments: KernelLevel.available, wide)
  func fewerRowsThanNeighboursAreAllKept(_ level: KernelLevel, _ sample: SampleShape) {
    let codebook = SampleCodebook(level, sample), d = codebook.d
    let rows = wideRows(codebook, codebook.vectors(12, seed: 82))
    for added in [0, 1, 2, 9, 10, 11, 12] {
      // The first query's own row is among them, if any is; the second one's never.
      let calibration = Calibration(
        codebook, rows.prepared(0, d) + rows.prepared(1, d), [rows.identifiers[0], 1 << 40])
      calibration.add(rows, batches: [added / 2, added - added / 2].filter { $0 > 0 })
      for (index, others) in [max(0, added - 1), added].enumerated() {
        let kept = kept(calibration, index, rows, row: index)
        #expect(kept.count == min(others, 10))
        #expect(Set(kept).count == kept.count)
        #expect(Set(kept).isSubset(of: (index == 0 ? 1 : 0)..<max(added, 1)))
      }
    }
  }

  @Test(arguments: KernelLevel.available, wide)
  func noQueriesNeedNoMemory(_ level: KernelLevel, _ sample: SampleShape) {
    let codebook = SampleCodebook(level, sample)
    let rows = wideRows(codebook, codebook.vectors(5, seed: 83))
    let calibration = Calibration(codebook, [], [])
    calibration.add(rows, batches: [5])
    #expect(codebook.kernels.calibration_bytes(codebook.codebook, 0) == 0)
  }

  // MARK: Ties

  /// Coordinates are small integers, so that products and distances are exact, and equal for many
  /// rows and not only for the same vectors.
  @Test(arguments: KernelLevel.available, wide)
  func ofTiesAnyButNoneTwice(_ level: KernelLevel, _ sample: SampleShape) {
    let codebook = SampleCodebook(level, sample), d = codebook.d
    var rows = wideRows(codebook, codebook.vectors(200, seed: 84))
    var numbers = TestNumbers(seed: 85)
    for row in 0..<rows.count {
      let vector =
        row % 4 == 3
        ? rows.prepared(row - 3, d) : (0..<d).map { _ in Float(numbers.below(3) - 1) }
      rows.prepared.replaceSubrange(row * d..<(row + 1) * d, with: vector)
      rows.encoded[row].norm_squared = vector.reduce(0) { $0 + $1 * $1 }
    }
    let own = [0, 3, 77, 123, 199]
    var kept: [[[Int]]] = []
    for batches in [[128, 72], [1, 127, 1, 71], [16, 17, 15, 33, 119], [63, 63, 63, 11]] {
      let calibration = Calibration(
        codebook, own.flatMap { rows.prepared($0, d) }, own.map { rows.identifiers[$0] })
      calibration.add(rows, batches: batches)
      kept.append(
        own.indices.map { self.kept(calibration, $0, rows, row: own[$0]) })
      for (index, row) in own.enumerated() {
        let distances = Distances(
          rows, codebook, rows.prepared(row, d), rows.identifiers[row])
        let found = kept.last![index]
        let known = found.filter(rows.identifiers.indices.contains)
        #expect(known.map { distances.all[$0] } == Array(distances.sorted.prefix(10)))
        #expect(Set(found).count == 10 && !found.contains(row))
      }
    }
    // The order of the rows decides between equals, not where a batch ends.
    for other in kept { #expect(other == kept[0]) }
  }

  @Test(arguments: KernelLevel.available, wide)
  func ofEqualRowsAllNeighboursAreOthers(_ level: KernelLevel, _ sample: SampleShape) {
    let codebook = SampleCodebook(level, sample), d = codebook.d
    let rows = wideRows(
      codebook, SeededVectors.repeated(codebook.vectors(1, seed: 86), 150))
    let own = [0, 64, 149]
    let calibration = Calibration(
      codebook, own.flatMap { rows.prepared($0, d) }, own.map { rows.identifiers[$0] })
    calibration.add(rows, batches: [22, 128])
    for (index, row) in own.enumerated() {
      let kept = kept(calibration, index, rows, row: row)
      #expect(kept.count == 10 && Set(kept).count == 10 && !kept.contains(row))
      #expect(kept.allSatisfy { (0..<150).contains($0) })
    }
  }

  // MARK: Participants

  @Test(arguments: KernelLevel.available, wide)
  func participantsFindTogetherWhatOneFinds(_ level: KernelLevel, _ sample: SampleShape) {
    let codebook = SampleCodebook(level, sample), d = codebook.d
    let rows = wideRows(codebook, codebook.vectors(300, seed: 88))
    let own = [0, 64, 65, 130, 299]
    let prepared = own.flatMap { rows.prepared($0, d) },
      identifiers = own.map { rows.identifiers[$0] }
    for doExchange in [false, true] {
      let parts = (0..<3).map { _ in Calibration(codebook, prepared, identifiers) }
      let shared = GuardedBuffer([Float](repeating: -.infinity, count: own.count))
      var last = shared.elements
      for start in stride(from: 0, to: 300, by: 20) {
        let part = parts[start / 20 % 3]
        if doExchange {
          part.exchange(shared)
          #expect(zip(shared.elements, last).allSatisfy { $0 >= $1 })
          last = shared.elements
        }
        part.add(rows.slice(start..<start + 20, d), batches: [20])
      }
      #expect(last.allSatisfy { $0 > -.infinity } == doExchange)
      let whole = Calibration(codebook, prepared, identifiers)
      for part in parts { whole.merge(part) }
      for (index, row) in own.enumerated() {
        expectNearest(
          kept(whole, index, rows, row: row),
          Distances(rows, codebook, rows.prepared(row, d), rows.identifiers[row]),
          "query \(index), exchange \(doExchange)")
      }
    }
  }

  // MARK: Lists

  @Test(arguments: KernelLevel.available, SampleShape.all)
  func neighboursHaveTheListsTheyAreIn(_ level: KernelLevel, _ sample: SampleShape) {
    let codebook = SampleCodebook(level, sample), d = codebook.d
    let rows = CalibrationRows(codebook, codebook.vectors(110, seed: 87))
    let own = [0, 5, 21, 22, 54, 83, 109]
    // Memory as a server gives it, aligned to eight bytes.
    let calibration = Calibration(
      codebook, own.flatMap { rows.prepared($0, d) }, own.map { rows.identifiers[$0] }, slack: 8)
    calibration.add(rows, batches: [37, 3, 70])
    for (index, row) in own.enumerated() {
      let query = SampleQuery(codebook, rows.vector(row, d))
      let found = calibration.neighbours(index, query)
      let distances = Distances(
        rows, codebook, rows.prepared(row, d), rows.identifiers[row])
      #expect(found.rows.count == 10)
      for (place, list) in found.lists.enumerated() {
        let possible = distances.candidates(place)
        #expect(possible.contains { rows.identifiers[$0] == found.rows[place] })
        #expect(possible.contains { rows.encoded[$0].list == UInt32(list) })
      }
      // Asking changes nothing.
      #expect(calibration.neighbours(index, query) == found)
    }
  }

  @Test(arguments: KernelLevel.available, wide)
  func ofTwoListsTheBetterOneCounts(_ level: KernelLevel, _ sample: SampleShape) {
    let codebook = SampleCodebook(level, sample), d = codebook.d
    let rows = wideRows(codebook, codebook.vectors(60, seed: 89))
    let second = (0..<rows.count).map { (Self.list(ofRow: $0) + 200) % UInt32(Self.lists) }
    let calibration = Calibration(codebook, rows.prepared(7, d), [rows.identifiers[7]])
    calibration.add(rows, batches: [60], secondLists: second)
    let query = SampleQuery(codebook, rows.vector(7, d)), found = calibration.neighbours(0, query)
    let scores = query.query.pointee.list_scores!
    for (identifier, list) in zip(found.rows, found.lists) {
      let row = rows.identifiers.firstIndex(of: identifier)!
      let lists = [Int(rows.encoded[row].list), Int(second[row])]
      #expect(lists.contains(list) && lists.allSatisfy { scores[list] <= scores[$0] })
    }
  }
}
