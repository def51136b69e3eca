/// Estimates distances to encoded vectors by look-ups: `⟨q,x̂⟩ = Σᵢ wᵢ·tableᵢ[codeᵢ]`, and of l2
/// `‖q−x̂‖² = ‖q‖² + ‖x̂‖² − 2⟨q,x̂⟩` (WRVQ paper, eq. 14).
///
/// `Codebook.AsymmetricDistance` makes them for a vector, `Codebook.SymmetricDistance` for an
/// encoded one.
public struct DistanceTables: Sendable {
  /// The distance that is estimated.
  public let metric: Codebook.Metric
  let scale: Double
  /// Of the query in the codebook's space.
  var squaredNorm: Double
  /// One level's products behind the other's: of a flat level with each codeword, of a product
  /// level with each piece's sixteen.
  let products: [Float]
  /// Where a level's products begin.
  let offsets: [Int]

  /// The distances to encoded vectors: Euclidean for l2, the negative inner product for ip, one
  /// minus the cosine for cosine (NaN where a length is zero).
  ///
  /// They are those from the query to the decoded vectors, up to rounding: their error is about
  /// 1e-6 of the lengths; of a Euclidean distance far below the lengths the square has that error.
  ///
  /// - Parameters:
  ///   - encoded: By the codebook that the tables were made of.
  ///   - squaredNorms: What `Codebook.Decoder.squaredNorms(of:)` says of all of `encoded`.
  ///   - rows: Within `0..<encoded.rowCount`; nil for all.
  /// - Complexity: O(rows × codes).
  public func distances(
    to encoded: EncodedVectors, squaredNorms: [Float], rows: Range<Int>? = nil
  ) -> [Float] {
    let rows = rows ?? 0..<encoded.rowCount
    precondition(squaredNorms.count == encoded.rowCount, "norms of other vectors")
    let products = innerProducts(with: encoded, rows: rows)
    return zip(products, squaredNorms[rows]).map { product, norm in
      distance(product, squaredNorm: Double(norm))
    }
  }

  /// `⟨q,x̂⟩` in the codebook's space.
  func innerProducts(with encoded: EncodedVectors, rows: Range<Int>) -> [Double] {
    let levels = offsets.count
    precondition(rows.lowerBound >= 0 && rows.upperBound <= encoded.rowCount)
    precondition(encoded.codes.count == levels, "codes of another codebook")
    var sums = [Double](repeating: 0, count: rows.count)
    for (level, offset) in offsets.enumerated() {
      switch encoded.codes[level] {
      case .flat(let codes):
        for (i, row) in rows.enumerated() {
          let product = products[offset + Int(codes[row])]
          sums[i] += Double(encoded.weights[row * levels + level]) * Double(product)
        }
      case .product(let codes, let pieces):
        for (i, row) in rows.enumerated() {
          var product: Float = 0
          for piece in 0..<pieces {
            product += products[offset + 16 * piece + Int(codes[row * pieces + piece])]
          }
          sums[i] += Double(encoded.weights[row * levels + level]) * Double(product)
        }
      }
    }
    return sums
  }

  private func distance(_ product: Double, squaredNorm norm: Double) -> Float {
    switch metric {
    case .l2: Float(max(0, squaredNorm + norm - 2 * product).squareRoot() / scale)
    case .ip: Float(-product / scale / scale)
    case .cosine: Float(1 - product / (squaredNorm * norm).squareRoot())
    }
  }
}
