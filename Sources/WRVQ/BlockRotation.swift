import CWRVQKernels

/// Products of rows with a transform, or with its transpose, block by block.
struct BlockRotation: Sendable {
  private struct Block {
    let first: Int
    let size: Int
    /// Rows of the matrix as packed codewords.
    let packed: [Float]
  }

  private let dimensions: Int
  private let blocks: [Block]
  private let kernels: wrvq_kernels

  /// - Parameters:
  ///   - transform: Row-major `[dimensions × dimensions]`.
  ///   - inverse: `x = Tᵀz` instead of `z = T·x`.
  init(_ transform: [Float], dimensions: Int, inverse: Bool, kernels: wrvq_kernels) {
    self.dimensions = dimensions
    self.kernels = kernels
    let parts = TransformBlocks(dense: transform, dimensions: dimensions)
    var start = 0
    blocks = stride(from: 0, to: dimensions, by: parts.blockDimensions).map { first in
      let size = min(parts.blockDimensions, dimensions - first)
      var rows = Array(parts.values[start..<start + size * size])
      start += size * size
      if inverse { rows = Self.transposed(rows, size) }
      return Block(first: first, size: size, packed: packed(rows, size, size, kernels))
    }
  }

  /// - Parameters:
  ///   - x: `[n × dimensions]`; may be the output.
  ///   - out: `[n × dimensions]`.
  func apply(_ x: UnsafePointer<Float>, _ n: Int, _ out: UnsafeMutablePointer<Float>) {
    for block in blocks {
      let size = block.size, width = paddedToPanels(size)
      withUnsafeTemporaryAllocation(of: Float.self, capacity: n * (size + width)) { memory in
        let part = memory.baseAddress!, products = part + n * size
        for row in 0..<n {
          (part + row * size).initialize(from: x + row * dimensions + block.first, count: size)
        }
        kernels.inner_products(part, n, size, block.packed, size, products)
        for row in 0..<n {
          (out + row * dimensions + block.first).update(from: products + row * width, count: size)
        }
      }
    }
  }

  private static func transposed(_ matrix: [Float], _ size: Int) -> [Float] {
    (0..<size).flatMap { i in (0..<size).map { j in matrix[j * size + i] } }
  }
}

/// Codewords in the layout of the batch kernels, `[ceil(count/16)][dimensions][16]`.
func packed(_ rows: [Float], _ count: Int, _ dimensions: Int, _ kernels: wrvq_kernels) -> [Float] {
  let floats = paddedToPanels(count) * dimensions
  return [Float](unsafeUninitializedCapacity: floats) { buffer, initialized in
    kernels.pack(rows, count, dimensions, buffer.baseAddress!)
    initialized = floats
  }
}

/// Codewords come in panels of 16.
func paddedToPanels(_ count: Int) -> Int { (count + 15) / 16 * 16 }
