import CWRVQKernels
import TestSupport
import Testing

@testable import WRVQ

/// Sums of gradients against what a small change of each parameter does to the loss.
@Suite struct LevelSumsTests {
  private static let d = 10

  private struct Sample {
    var codebook = EncoderSample.codebook()
    var rows = EncoderSample.rows(25)
    let encoded: EncodedVectors
    var residuals: [Float]

    init() {
      (codebook.metric, codebook.scale) = (.l2, 1)
      residuals = rows
      encoded = Codebook.Encoder(
        trusted: codebook, beam: 2, refitsWeights: true, threads: 1, kernels: .best
      ).encode(prepared: &residuals)
    }

    /// The sum of squares that a codebook leaves with these codes and weights.
    func loss(_ codebook: Codebook) -> Double {
      let twin = EncoderTwin(codebook: codebook)
      return (0..<25).reduce(0.0) { total, row in
        var r = rows[row * d..<(row + 1) * d].map(Double.init)
        for (i, level) in codebook.levels.enumerated() {
          let v = twin.direction(level, encoded.codes(level: i, row: row))
          r = sum(r, -Double(encoded.weights[row * codebook.levels.count + i]), v)
        }
        return total + dot(r, r)
      }
    }

    func sums(_ i: Int, whole: Bool = false) -> LevelSums {
      let table = Kernels.best.table
      var sums = LevelSums(codebook.levels[i], dimensions: d, kernels: table)
      sums.add(codebook.levels[i], i, encoded, residuals)
      sums.addOuter(codebook.levels[i], i, encoded, residuals, whole: whole)
      return sums
    }
  }

  @Test func codewordsHaveTheGradientOfTheLoss() throws {
    let sample = Sample()
    for i in sample.codebook.levels.indices {
      let products = sample.sums(i).products
      for parameter in stride(from: 0, to: products.count, by: max(1, products.count / 40)) {
        var (up, down) = (sample.codebook, sample.codebook)
        up.levels[i].codewords[parameter] += 0.01
        down.levels[i].codewords[parameter] -= 0.01
        let slope = (sample.loss(up) - sample.loss(down)) / 0.02
        #expect(
          abs(-2 * Double(products[parameter]) - slope) < 2e-3 * (1 + abs(slope)),
          "level \(i), parameter \(parameter)")
      }
    }
  }

  @Test func transformsHaveTheGradientOfTheLoss() throws {
    let sample = Sample()
    for i in [3, 5] {
      let outer = try #require(sample.sums(i).outer.first)
      for parameter in stride(from: 0, to: 100, by: 7) {
        var (up, down) = (sample.codebook, sample.codebook)
        up.levels[i].transform![parameter] += 0.01
        down.levels[i].transform![parameter] -= 0.01
        let slope = (sample.loss(up) - sample.loss(down)) / 0.02
        #expect(
          abs(-2 * Double(outer.values[parameter]) - slope) < 2e-3 * (1 + abs(slope)),
          "level \(i), parameter \(parameter)")
      }
    }
  }

  @Test func refitsLowerTheLossWithCodesAndWeightsGiven() throws {
    var sample = Sample()
    let table = Kernels.best.table
    for i in sample.codebook.levels.indices {
      let before = sample.loss(sample.codebook)
      var level = AdamLevel(sample.codebook.levels[i], dimensions: Self.d)
      sample.residuals.withUnsafeMutableBufferPointer {
        level.refitCodewords(i, sample.encoded, $0.baseAddress!, table)
      }
      sample.codebook.levels[i] = level.level
      let after = sample.loss(sample.codebook)
      #expect(after < before, "level \(i)")
      // The residuals follow.
      let squares = sample.residuals.reduce(0.0) { $0 + Double($1) * Double($1) }
      #expect(abs(squares - after) < 1e-3 * (1 + after))
    }
    for i in [3, 5] {
      let before = sample.loss(sample.codebook)
      var level = AdamLevel(sample.codebook.levels[i], dimensions: Self.d)
      sample.residuals.withUnsafeMutableBufferPointer {
        level.refitTransform(i, sample.encoded, $0.baseAddress!, table)
      }
      sample.codebook.levels[i] = level.level
      #expect(sample.loss(sample.codebook) < before * 1.0001, "transform of level \(i)")
      // Each transform is fitted to what the others leave: bring the residuals up to date.
      let twin = EncoderTwin(codebook: sample.codebook)
      for row in 0..<25 {
        var r = sample.rows[row * Self.d..<(row + 1) * Self.d].map(Double.init)
        for (j, level) in sample.codebook.levels.enumerated() {
          let v = twin.direction(level, sample.encoded.codes(level: j, row: row))
          r = sum(r, -Double(sample.encoded.weights(row: row)[j]), v)
        }
        sample.residuals.replaceSubrange(row * Self.d..<(row + 1) * Self.d, with: r.map(Float.init))
      }
    }
  }
}
