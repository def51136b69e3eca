import Foundation

extension Codebook {
  /// SHA-256 over the canonical bytes: `wrvq-codebook-1`, dimensions, metric and scale, each
  /// ended by a newline, then of each level a line of kind, codewords, pieces, their dimensions
  /// (0 for a flat level), weight rule and weight bits, and the codewords, the transform's
  /// blocks and the weights' values as little-endian halves, as the catalog stores them.
  public var sha256: Data {
    var hash = SHA256()
    hash.update("wrvq-codebook-1\n\(dimensions)\n\(metric.rawValue)\n\(scaleText)\n".utf8)
    for level in levels {
      let shape =
        switch level.kind {
        case .flat(let count): "flat \(count) 0 0"
        case .product(let pieces, let pieceDimensions): "product 16 \(pieces) \(pieceDimensions)"
        }
      hash.update("\(shape) \(level.weightRule.rawValue) \(level.weightBits)\n".utf8)
      hash.update(Halves.littleEndian(level.codewords))
      if let transform = level.transform {
        let blocks = TransformBlocks(dense: transform, dimensions: dimensions)
        hash.update(Halves.littleEndian(blocks.values))
      }
      hash.update(Halves.littleEndian(level.weights ?? []))
    }
    return hash.finish()
  }

  /// The scale in decimal, the same in files, in the catalog's JSON and in the hash:
  /// the shortest digits that give the same float, at least one after the
  /// point, never an exponent (which `jsonb` would expand).
  public var scaleText: String {
    let text = "\(scale)"
    guard let mark = text.firstIndex(of: "e") else { return text }
    let exponent = Int(text[text.index(after: mark)...])!
    let mantissa = text[..<mark].split(separator: ".", omittingEmptySubsequences: false)
    var digits = String(mantissa[0])
    var fraction = mantissa.count > 1 && mantissa[1] != "0" ? String(mantissa[1]) : ""
    if exponent < 0 {
      fraction = String(repeating: "0", count: -exponent - 1) + digits + fraction
      digits = "0"
    } else {
      fraction += String(repeating: "0", count: max(0, exponent - fraction.count))
      digits += fraction.prefix(exponent)
      fraction.removeFirst(exponent)
    }
    return "\(digits).\(fraction.isEmpty ? "0" : fraction)"
  }
}

/// Bytes as two hexadecimal digits each.
public func hexadecimal(_ bytes: some Sequence<UInt8>) -> String {
  bytes.map { ($0 < 16 ? "0" : "") + String($0, radix: 16) }.joined()
}
