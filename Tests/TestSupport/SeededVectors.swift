/// Vectors for tests of training, the same for the same seed.
public enum SeededVectors {
  /// Gaussian clusters: `rows × dimensions`, clusters of width 0.5 around centres of width 1.
  public static func clustered(
    _ rows: Int, _ dimensions: Int, clusters: Int = 6, seed: UInt64 = 1
  ) -> [Float] {
    var numbers = TestNumbers(seed: seed)
    let centers = numbers.normals(clusters * dimensions)
    return (0..<rows).flatMap { _ in
      let cluster = numbers.below(clusters)
      return (0..<dimensions).map { centers[cluster * dimensions + $0] + 0.5 * numbers.normal() }
    }
  }

  /// Independent coordinates with the given standard deviations, turned by a random rotation of
  /// consecutive pairs of dimensions, so that no axis stays on its own.
  public static func spectrum(_ rows: Int, deviations: [Float], seed: UInt64 = 1) -> [Float] {
    var numbers = TestNumbers(seed: seed)
    let d = deviations.count
    let angles = (0..<3 * d).map { _ in 3 * numbers.uniform() }
    return (0..<rows).flatMap { _ in
      var x = deviations.map { $0 * numbers.normal() }
      for (k, angle) in angles.enumerated() {
        let i = k % d, j = (k * 5 + 1 + k / d) % d
        if i == j { continue }
        // A rational parametrisation of the rotation: no libm needed.
        let c = (1 - angle * angle) / (1 + angle * angle), s = 2 * angle / (1 + angle * angle)
        (x[i], x[j]) = (c * x[i] - s * x[j], s * x[i] + c * x[j])
      }
      return x
    }
  }

  /// One row again and again.
  public static func repeated(_ row: [Float], _ rows: Int) -> [Float] {
    (0..<rows).flatMap { _ in row }
  }
}
