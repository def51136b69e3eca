/// Anything that turns vectors into a few bytes and back: what `wrvq evaluate` compares.
///
/// Its codes and weights are counted one way for all: every bit that has to be stored for a vector
/// beside its identifier, nothing for what all vectors share.
public protocol VectorQuantizer: Sendable {
  /// The codes, and weights if it has any, of some vectors.
  associatedtype Encoded: Sendable

  var dimensions: Int { get }
  /// Bits of all codes of a vector.
  var codeBits: Int { get }
  /// Bits of all weights that are stored with them.
  var weightBits: Int { get }
  /// Leading levels that can be decoded by themselves, each better than the one before; 1 where only
  /// all codes together mean anything.
  var levelCount: Int { get }

  /// Encodes vectors.
  ///
  /// - Parameter rows: `n × dimensions`, finite.
  func encode(_ rows: [Float]) throws -> Encoded

  /// Vectors as the leading levels tell them.
  ///
  /// - Parameter levels: 1…`levelCount`.
  /// - Returns: `n × dimensions`.
  func decode(_ encoded: Encoded, levels: Int) throws -> [Float]
}

extension VectorQuantizer {
  /// Bytes of a vector: codes and weights, fractions counted.
  public var bytes: Double { Double(codeBits + weightBits) / 8 }
}

/// The codes of vectors: as many for each.
public struct QuantizerCodes: Sendable, Equatable {
  public var codesPerRow: Int
  /// `rows × codesPerRow`.
  public var values: [UInt16]

  public var rowCount: Int { values.count / codesPerRow }

  /// - Parameter values: A whole number of rows.
  public init(codesPerRow: Int, values: [UInt16]) {
    precondition(codesPerRow >= 1 && values.count.isMultiple(of: codesPerRow))
    self.codesPerRow = codesPerRow
    self.values = values
  }
}

/// Bits of a code among so many.
func codeBits(_ count: Int) -> Int {
  count <= 1 ? 0 : Int.bitWidth - (count - 1).leadingZeroBitCount
}
