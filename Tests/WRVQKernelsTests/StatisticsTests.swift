import CWRVQKernels
import TestSupport
import Testing

@Suite struct StatisticsTests {
  private static let rows = 120

  /// Sums `rows` encoded rows in the batches given and sets them.
  private func gather(
    _ codebook: SampleCodebook, _ prepared: [Float], batches: [Int]
  ) -> ([wrvq_encoded], [[UInt8]]) {
    let kernels = codebook.kernels, d = codebook.d
    let statistics = GuardedBuffer<UInt8>(
      count: Int(kernels.statistics_bytes(codebook.codebook)), alignment: 8)
    var all: ([wrvq_encoded], [[UInt8]]) = ([], [])
    var start = 0
    for n in batches {
      let (encoded, entries) = codebook.encode(Array(prepared[start * d..<(start + n) * d]))
      let guardedEncoded = GuardedBuffer(encoded)
      let guardedEntries = GuardedBuffer(Array(entries.joined()))
      codebook.withLayout {
        kernels.statistics_add(
          codebook.codebook, $0, statistics.raw, guardedEncoded.pointer, guardedEntries.pointer, n)
      }
      all.0 += encoded
      all.1 += entries
      start += n
    }
    kernels.image_set_statistics(codebook.codebook, statistics.raw)
    return all
  }

  /// Prepared rows around the lists' codewords, one in ten of them far away.
  private static func nearLists(_ codebook: SampleCodebook) -> [Float] {
    var numbers = TestNumbers(seed: 60)
    return (0..<rows).flatMap { row in
      let width: Float = row % 10 == 3 ? 9 : 0.3
      return codebook.list(row % codebook.lists).map { Float($0) + width * numbers.normal() }
    }
  }

  @Test(arguments: KernelLevel.available, SampleShape.all)
  func statisticsAreMeansAndVariancesOfTheRows(_ level: KernelLevel, _ sample: SampleShape) {
    let codebook = SampleCodebook(level, sample), c = codebook.codebook.pointee
    let (encoded, entries) = gather(codebook, Self.nearLists(codebook), batches: [50, 1, 69])
    // Under L2 a row that is farther than four from its list counts as an outlier.
    let isOutlier = { codebook.isL2 && encoded[$0].residual_squared > 16 }
    #expect(encoded.indices.filter(isOutlier).isEmpty != codebook.isL2)
    for list in 0..<codebook.lists {
      let members = encoded.indices.filter { Int(encoded[$0].list) == list && !isOutlier($0) }
      let n = Double(members.count)
      if members.isEmpty {
        // What a list starts with stays (ShapeTests).
        #expect(c.list_means[list] == (codebook.isL2 ? 2 * c.list_half_norms[list] : 0))
        #expect(c.list_variances[list] == 0)
        continue
      }
      let norms = members.map { Double(encoded[$0].norm_squared) }
      let mean = norms.reduce(0, +) / n
      let variance = norms.reduce(0) { $0 + ($1 - mean) * ($1 - mean) } / n
      let residual = members.reduce(0) { $0 + Double(encoded[$1].residual_squared) } / n
      if codebook.isL2 {
        #expect(abs(Double(c.list_means[list]) - mean) <= 1e-5 * mean)
        #expect(abs(Double(c.list_variances[list]) - variance) <= 1e-5 * (variance + mean * mean))
      } else {
        #expect(c.list_means[list] == 0 && c.list_variances[list] == 0)
      }
      let perDimension = residual / Double(sample.dimensions)
      #expect(abs(Double(c.list_residual_variances[list]) - perDimension) <= 1e-5 * perDimension)
      for sublist in 0..<codebook.sublists {
        let fields = members.filter { Int(encoded[$0].sublist) == sublist }
          .map { codebook.decode(entries[$0]) }
        let at = list * codebook.sublists + sublist
        func expectMean(_ half: UInt16, _ values: [Double]) {
          let mean = values.isEmpty ? 0 : values.reduce(0, +) / Double(values.count)
          #expect(abs(KernelReference.value(ofHalf: half) - mean) <= abs(mean) * 6e-4 + 1e-5)
        }
        for level in 0..<max(1, sample.fuzzyLevels) {
          expectMean(
            c.sublist_weights[level * codebook.lists * codebook.sublists + at],
            fields.map { level < $0.levels.count ? $0.levels[level].factor : 0 })
        }
        expectMean(c.sublist_constants[at], fields.map(\.constant))
      }
    }
  }

  @Test(arguments: KernelLevel.available)
  func statisticsDoNotDependOnTheBatches(_ level: KernelLevel) {
    let sample = SampleShape.fuzzy[0]
    let images = [[120], [1, 119], [60, 60]].map { batches in
      let codebook = SampleCodebook(level, sample)
      _ = gather(
        codebook, codebook.prepare(codebook.vectors(Self.rows, seed: 61)), batches: batches)
      return codebook.image.elements
    }
    #expect(images[1] == images[0])
    #expect(images[2] == images[0])
  }
}
