import CWRVQKernels
import Foundation
import TestSupport
import Testing

private let one = WRVQ_WEIGHT_ONE, projection = WRVQ_WEIGHT_PROJECTION

@Suite struct BalancedPCATests {
  private static func train(
    _ kernels: KernelLevel, _ sample: [Float], _ d: Int, block: Int, p: Int, iterations: Int = 1
  ) -> TrainedSample {
    TrainedSample(
      kernels, sample, dimensions: d, block: block,
      levels: [.flat(1, one), .product(pieces: (d + p - 1) / p, dimensions: p, projection)],
      iterations: iterations)
  }

  /// log₂ of the product of the rotated variances, for every piece.
  private static func logProducts(_ trained: TrainedSample, p: Int) -> [Double] {
    let rotated = trained.unitResiduals(after: 1).map {
      Reference.transformed($0, trained.denseTransform)
    }
    let covariance = Reference.covariance(rotated)
    return stride(from: 0, to: trained.dimensions, by: p).map { start in
      (start..<start + p).reduce(0) { $0 + log2(covariance[$1][$1]) }
    }
  }

  @Test(arguments: KernelLevel.available, [UInt64(1), 2, 3])
  func piecesCarryTheSameProductOfVariances(_ kernels: KernelLevel, _ seed: UInt64) {
    // Variances from 1 to 2⁻¹¹: pieces in this order would differ by a factor of 2²⁴.
    let deviations = (0..<24).map { exp2(-Float($0) / 4) }
    let sample = SeededVectors.spectrum(150, deviations: deviations, seed: seed)
    let products = Self.logProducts(Self.train(kernels, sample, 24, block: 24, p: 4), p: 4)
    #expect(products.max()! - products.min()! < 2, "\(products)")
  }

  @Test(arguments: KernelLevel.available)
  func piecesWithinABlockAreBalanced(_ kernels: KernelLevel) {
    let deviations = (0..<24).map { exp2(-Float($0 % 12) / 3) }
    let sample = SeededVectors.spectrum(150, deviations: deviations)
    let products = Self.logProducts(Self.train(kernels, sample, 24, block: 12, p: 4), p: 4)
    for block in [products[0..<3], products[3..<6]] {
      #expect(block.max()! - block.min()! < 2.5, "\(products)")
    }
  }

  @Test(arguments: KernelLevel.available)
  func theTransformLowersTheLoss(_ kernels: KernelLevel) {
    let deviations = (0..<16).map { exp2(-Float($0) / 3) }
    let sample = SeededVectors.spectrum(300, deviations: deviations)
    let with = Self.train(kernels, sample, 16, block: 16, p: 4, iterations: 4).losses[1]
    let without = Self.train(kernels, sample, 16, block: 0, p: 4, iterations: 4).losses[1]
    #expect(with < 0.9 * without, "\(with) with, \(without) without")
  }

  @Test(arguments: KernelLevel.available)
  func dimensionsWithoutVarianceFillThePieces(_ kernels: KernelLevel) {
    // Six dimensions vary: they need six of the eight pieces of two.
    let deviations = (0..<16).map { Float($0 % 3 == 0 ? 1 : 0) }
    let sample = SeededVectors.spectrum(120, deviations: deviations)
    let trained = Self.train(kernels, sample, 16, block: 16, p: 2)
    let rotated = trained.unitResiduals(after: 1).map {
      Reference.transformed($0, trained.denseTransform)
    }
    let covariance = Reference.covariance(rotated)
    let varying = (0..<8).map { piece in
      [2 * piece, 2 * piece + 1].count { covariance[$0][$0] > 1e-3 }
    }
    #expect(varying.allSatisfy { $0 <= 1 } && varying.reduce(0, +) == 6, "\(varying)")
  }
}
