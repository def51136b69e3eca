import CWRVQKernels
import TestSupport
import Testing

/// Codebooks of so many lists that rows look for theirs by groups.
@Suite struct ListGroupsTests {
  private static let shapes: [SampleShape] = [(WRVQ_L2, 613), (WRVQ_IP, 512), (WRVQ_COSINE, 1003)]
    .map { metric, lists in
      SampleShape(
        name: "\(lists) lists", metric: metric, dimensions: 13, transformBlock: 13, scale: 0.5,
        levels: [.flat(lists, WRVQ_WEIGHT_ONE), .flat(3, WRVQ_WEIGHT_PROJECTION)])
    }

  /// Where the image has each row of level 0.
  private func listOfRow(_ codebook: SampleCodebook) -> [Int: Int] {
    let center = (0..<codebook.d).map { Double(codebook.codebook.pointee.center[$0]) }
    let rows = (0..<codebook.lists).map { row in
      let start = row * codebook.d
      return sum(
        codebook.transformed(
          codebook.levelRows[0][start..<start + codebook.d].map { Double($0) }), -1, center)
    }
    var result: [Int: Int] = [:]
    for list in 0..<codebook.lists {
      let nearest = rows.indices.min {
        length(sum(rows[$0], -1, codebook.list(list)))
          < length(sum(rows[$1], -1, codebook.list(list)))
      }!
      #expect(length(sum(rows[nearest], -1, codebook.list(list))) < 0.02)
      result[nearest] = list
    }
    return result
  }

  private func members(_ codebook: SampleCodebook, _ group: Int) -> Range<Int> {
    16 * group..<min(16 * group + 16, codebook.lists)
  }

  private func mean(_ vectors: [[Double]]) -> [Double] {
    vectors.reduce([Double](repeating: 0, count: vectors[0].count)) {
      sum($0, 1 / Double(vectors.count), $1)
    }
  }

  @Test(arguments: KernelLevel.available, shapes)
  func everyCodewordIsInOnePlace(_ level: KernelLevel, _ sample: SampleShape) {
    let codebook = SampleCodebook(level, sample)
    let lists = listOfRow(codebook)
    #expect(Set(lists.values) == Set(0..<codebook.lists))
  }

  @Test(arguments: KernelLevel.available, shapes)
  func listsOfAGroupAreNearEachOther(_ level: KernelLevel, _ sample: SampleShape) {
    let codebook = SampleCodebook(level, sample)
    let lists = (0..<codebook.lists).map(codebook.list), center = mean(lists)
    var within = 0.0, total = 0.0
    for group in 0..<(codebook.lists + 15) / 16 {
      let vectors = members(codebook, group).map { lists[$0] }, middle = mean(vectors)
      for vector in vectors {
        let away = sum(vector, -1, middle), all = sum(vector, -1, center)
        within += dot(away, away)
        total += dot(all, all)
      }
    }
    // Sixteen random ones have 15/16 of it.
    #expect(within < 0.75 * total)
  }

  @Test(arguments: KernelLevel.available, shapes)
  func groupsAreTheMeansOfTheirLists(_ level: KernelLevel, _ sample: SampleShape) {
    let codebook = SampleCodebook(level, sample), groups = (codebook.lists + 15) / 16
    let fields = codebook.codebook.pointee
    for group in 0..<(groups + 15) / 16 * 16 {
      if group >= groups {
        #expect(fields.group_half_norms[group] == .infinity)
        continue
      }
      let expected = mean(members(codebook, group).map(codebook.list))
      let stored = KernelReference.codeword(UnsafePointer(fields.list_groups), group, codebook.d)
      #expect(length(sum(stored, -1, expected)) <= 1e-3 * max(1, length(expected)))
      #expect(
        abs(Double(fields.group_half_norms[group]) - dot(stored, stored) / 2)
          <= 1e-5 * max(1, dot(stored, stored)))
    }
  }

  @Test(arguments: KernelLevel.available, shapes)
  func aRowFindsTheBestListOfItsBestGroups(_ level: KernelLevel, _ sample: SampleShape) {
    let codebook = SampleCodebook(level, sample)
    let groups = (codebook.lists + 15) / 16
    let compared = Int((2.5 * Double(groups).squareRoot()).rounded())
    let lists = (0..<codebook.lists).map(codebook.list)
    let means = (0..<groups).map { mean(members(codebook, $0).map { lists[$0] }) }
    let rows = 200
    let prepared = codebook.prepare(codebook.vectors(rows, seed: 60))
    let (encoded, _) = codebook.encode(prepared)
    var nearest = 0
    for row in 0..<rows {
      let x = prepared[row * codebook.d..<(row + 1) * codebook.d].map { Double($0) }
      func distance(_ y: [Double]) -> Double { dot(sum(x, -1, y), sum(x, -1, y)) }
      let found = distance(lists[Int(encoded[row].list)])
      let best = (0..<groups).sorted { distance(means[$0]) < distance(means[$1]) }
      // Rounding may make the last group that is looked at another one.
      let sure = best.prefix(compared - 1).flatMap { members(codebook, $0) }
      let tolerance = 1e-3 * (1 + dot(x, x))
      #expect(found <= sure.map { distance(lists[$0]) }.min()! + tolerance)
      if found <= lists.map(distance).min()! + tolerance { nearest += 1 }
    }
    #expect(nearest > rows * 9 / 10)
  }

  @Test(arguments: KernelLevel.available, shapes)
  func aRowsListDoesNotDependOnItsBatch(_ level: KernelLevel, _ sample: SampleShape) {
    let codebook = SampleCodebook(level, sample), d = codebook.d
    let prepared = codebook.prepare(codebook.vectors(130, seed: 61))
    let (together, entries) = codebook.encode(prepared)
    for n in [1, 2, 5, 6, 7, 31] {
      for start in stride(from: 0, to: 130 - n, by: 37) {
        let (alone, own) = codebook.encode(Array(prepared[start * d..<(start + n) * d]))
        #expect(alone.map(\.list) == together[start..<start + n].map(\.list))
        #expect(own == Array(entries[start..<start + n]))
      }
    }
  }

  @Test(arguments: KernelLevel.available)
  func listsThatAreAllAlikeWork(_ level: KernelLevel) {
    let codebook = SampleCodebook(level, Self.shapes[0]), d = codebook.d
    let rows = GuardedBuffer([Float](repeating: 0.25, count: codebook.lists * d))
    let scratch = codebook.imageScratch()
    codebook.kernels.image_set_level(codebook.codebook, 0, rows.pointer, scratch.pointer)
    let (encoded, _) = codebook.encode(codebook.prepare(codebook.vectors(20, seed: 62)))
    #expect(encoded.allSatisfy { $0.list == encoded[0].list && Int($0.list) < codebook.lists })
  }

  /// Rows that are trained on look for their codewords by groups as well.
  @Test(arguments: KernelLevel.available)
  func trainingMissesFewNearestCodewords(_ level: KernelLevel) {
    let d = 9, count = 600, rows = 3000
    let sample = SeededVectors.clustered(rows, d)
    let trained = TrainedSample(
      level, sample, dimensions: d, levels: [.flat(count, WRVQ_WEIGHT_ONE)])
    func row(_ values: [Float], _ i: Int) -> [Double] {
      values[i * d..<(i + 1) * d].map { Double($0) }
    }
    let codewords = (0..<count).map { row(trained.codewords[0], $0) }
    let nearest = (0..<rows).reduce(0.0) { total, i in
      let x = row(sample, i)
      return total + codewords.map { dot(sum(x, -1, $0), sum(x, -1, $0)) }.min()!
    }
    let ratio = trained.losses[0] / (nearest / Double(rows))
    #expect(ratio > 0.999 && ratio < 1.03, "\(ratio)")
  }
}
