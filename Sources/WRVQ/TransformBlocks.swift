/// A transform as catalog and index store it: its diagonal blocks, each row-major.
///
/// Above 768 dimensions a dense transform would cost too much (DESIGN §2), so
/// training makes block-diagonal ones; this finds their blocks again.
public struct TransformBlocks: Sendable, Equatable {
  public let dimensions: Int
  /// Rows and columns of each block; the last may be smaller.
  public let blockDimensions: Int
  /// The blocks in sequence.
  public let values: [Float]

  /// Cuts a dense `[dimensions × dimensions]` transform into the blocks that
  /// training makes, or takes it as one block if there is anything outside of them.
  public init(dense: [Float], dimensions: Int) {
    precondition(dense.count == dimensions * dimensions)
    self.dimensions = dimensions
    let size = Self.blockDimensions(of: dimensions)
    let isBlockDiagonal = (0..<dimensions).allSatisfy { row in
      let block = Self.block(containing: row, size: size, dimensions: dimensions)
      let values = dense[row * dimensions..<(row + 1) * dimensions]
      return values.prefix(block.lowerBound).allSatisfy { $0 == 0 }
        && values.suffix(dimensions - block.upperBound).allSatisfy { $0 == 0 }
    }
    blockDimensions = isBlockDiagonal ? size : dimensions
    var blocks: [Float] = []
    for row in 0..<dimensions {
      let block = Self.block(containing: row, size: blockDimensions, dimensions: dimensions)
      blocks += dense[row * dimensions + block.lowerBound..<row * dimensions + block.upperBound]
    }
    values = blocks
  }

  /// Blocks as stored; nil if their number of values does not fit.
  public init?(blocks: [Float], blockDimensions: Int, dimensions: Int) {
    guard (1...dimensions).contains(blockDimensions),
      blocks.count == Self.valueCount(blockDimensions: blockDimensions, dimensions: dimensions)
    else { return nil }
    (self.dimensions, self.blockDimensions, values) = (dimensions, blockDimensions, blocks)
  }

  /// The transform as one matrix, zero outside of the blocks.
  public var dense: [Float] {
    var dense = [Float](repeating: 0, count: dimensions * dimensions)
    var start = 0
    for row in 0..<dimensions {
      let block = Self.block(containing: row, size: blockDimensions, dimensions: dimensions)
      dense.replaceSubrange(
        row * dimensions + block.lowerBound..<row * dimensions + block.upperBound,
        with: values[start..<start + block.count])
      start += block.count
    }
    return dense
  }

  /// The block size that training uses.
  static func blockDimensions(of dimensions: Int) -> Int {
    Int(Kernels.best.training.default_transform_block(Int32(dimensions)))
  }

  static func valueCount(blockDimensions: Int, dimensions: Int) -> Int {
    let last = dimensions % blockDimensions
    return dimensions / blockDimensions * blockDimensions * blockDimensions + last * last
  }

  /// The columns of the block that a row belongs to.
  private static func block(containing row: Int, size: Int, dimensions: Int) -> Range<Int> {
    let start = row / size * size
    return start..<min(start + size, dimensions)
  }
}
