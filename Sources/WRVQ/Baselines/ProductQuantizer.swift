import CWRVQKernels

/// Product quantization (PQ): vectors cut into pieces, k-means for each piece.
///
/// Pieces are of equal length, or one dimension longer where the dimensions cannot be shared out
/// evenly.
/// - seealso: Jégou, Douze, Schmid, "Product quantization for nearest neighbor search", TPAMI 2011.
public struct ProductQuantizer: VectorQuantizer {
  /// The codewords of each piece.
  var pieces: [CodewordSet]
  public let dimensions: Int
  let threads: Int

  public var codeBits: Int { pieces.reduce(0) { $0 + WRVQ.codeBits($1.count) } }
  public var weightBits: Int { 0 }
  public var levelCount: Int { 1 }

  /// Trains on vectors.
  ///
  /// - Parameters:
  ///   - rows: `n × dimensions`, finite.
  ///   - configuration: A piece for each number of codewords; no more than dimensions.
  ///   - progress: Told the share of the work that is done.
  /// - Throws: `BaselineError` or `TrainingError`.
  /// - Complexity: O(rows × dimensions × codewords × iterations).
  public init(
    training rows: [Float], dimensions: Int, _ configuration: BaselineConfiguration,
    progress: ((Double) -> Void)? = nil
  ) throws {
    try configuration.check(rows, dimensions: dimensions)
    let counts = configuration.codewordCounts
    guard counts.count <= dimensions else {
      throw BaselineError.codeCount(counts.count, expected: 1...dimensions)
    }
    self.dimensions = dimensions
    threads = configuration.threads
    let n = rows.count / dimensions
    pieces = counts.enumerated().map { index, count in
      progress?(Double(index) / Double(counts.count))
      let range = Self.piece(index, of: counts.count, dimensions: dimensions)
      let part = [Float](unsafeUninitializedCapacity: n * range.count) { buffer, initialized in
        initialized = n * range.count
        rows.withUnsafeBufferPointer {
          gather($0.baseAddress!, n, dimensions, range, buffer.baseAddress!)
        }
      }
      return CodewordSet.train(
        part, dimensions: range.count, count: count, seed: configuration.seed &+ UInt64(index),
        configuration)
    }
  }

  /// The dimensions of a piece.
  static func piece(_ index: Int, of count: Int, dimensions: Int) -> Range<Int> {
    index * dimensions / count..<(index + 1) * dimensions / count
  }

  func range(_ piece: Int) -> Range<Int> {
    Self.piece(piece, of: pieces.count, dimensions: dimensions)
  }

  /// Takes the nearest codeword for every piece.
  ///
  /// - Throws: `EncodingError`.
  /// - Complexity: O(rows × dimensions × codewords).
  public func encode(_ rows: [Float]) throws -> QuantizerCodes {
    let n = try checkedRowCount(rows)
    let codes = RowChunks(rowCount: n, dimensions: dimensions, threads: threads).map(pieces.count) {
      (chunk, codes: UnsafeMutablePointer<UInt16>) in
      rows.withUnsafeBufferPointer {
        encode($0.baseAddress! + chunk.lowerBound * dimensions, chunk.count, codes)
      }
    }
    return QuantizerCodes(codesPerRow: pieces.count, values: codes)
  }

  /// Encodes a chunk.
  func encode(_ x: UnsafePointer<Float>, _ n: Int, _ codes: UnsafeMutablePointer<UInt16>) {
    let width = pieces.map(\.dimensions).max()!
    withUnsafeTemporaryAllocation(of: Float.self, capacity: n * width) { part in
      for (index, piece) in pieces.enumerated() {
        gather(x, n, dimensions, range(index), part.baseAddress!)
        piece.assign(part.baseAddress!, n, codes + index, stride: pieces.count)
      }
    }
  }

  public func decode(_ encoded: QuantizerCodes, levels: Int) throws -> [Float] {
    precondition(levels == 1)
    try encoded.check(pieces.map(\.count))
    let chunks = RowChunks(
      rowCount: encoded.rowCount, dimensions: dimensions, threads: threads)
    return chunks.map(dimensions) { (chunk, out: UnsafeMutablePointer<Float>) in
      encoded.values.withUnsafeBufferPointer {
        decode($0.baseAddress! + chunk.lowerBound * pieces.count, chunk.count, out)
      }
    }
  }

  /// Decodes a chunk.
  func decode(_ codes: UnsafePointer<UInt16>, _ n: Int, _ out: UnsafeMutablePointer<Float>) {
    for (index, piece) in pieces.enumerated() {
      let first = range(index).lowerBound, size = piece.dimensions
      piece.rows.withUnsafeBufferPointer { rows in
        for row in 0..<n {
          (out + row * dimensions + first).initialize(
            from: rows.baseAddress! + Int(codes[row * pieces.count + index]) * size, count: size)
        }
      }
    }
  }
}

/// A range of dimensions of `n` rows, in one piece.
func gather(
  _ x: UnsafePointer<Float>, _ n: Int, _ dimensions: Int, _ range: Range<Int>,
  _ out: UnsafeMutablePointer<Float>
) {
  for row in 0..<n {
    (out + row * range.count).initialize(
      from: x + row * dimensions + range.lowerBound, count: range.count)
  }
}
