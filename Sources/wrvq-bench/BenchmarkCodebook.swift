import CWRVQKernels

/// A codebook of random codewords, vectors around its lists, their entries and blocks.
final class BenchmarkCodebook {
  let kernels: wrvq_kernels
  let d: Int
  let lists: Int
  let codebook = aligned(1, of: wrvq_codebook.self)
  let layout = aligned(1, of: wrvq_layout.self)
  let vectors: UnsafeMutablePointer<Float>
  let prepared: UnsafeMutablePointer<Float>
  let encoded: UnsafeMutablePointer<wrvq_encoded>
  let entries: UnsafeMutablePointer<UInt8>
  let scratch: UnsafeMutablePointer<UInt8>
  let rows: Int

  /// - Parameters:
  ///   - flat: Codewords of each flat level from 1.
  ///   - pieces: Of the product level; 0 for none.
  ///   - rows: Vectors.
  init(
    _ kernels: wrvq_kernels, dimensions d: Int, lists: Int, flat: [Int], pieces: Int,
    transform: Bool, rows: Int
  ) {
    self.kernels = kernels
    self.d = d
    self.lists = lists
    self.rows = rows
    let shape = aligned(1, of: wrvq_shape.self)
    shape.pointee.dimensions = Int32(d)
    shape.pointee.metric = Int32(WRVQ_L2.rawValue)
    shape.pointee.scale = 1
    shape.pointee.fuzzy_levels = flat.isEmpty ? 0 : 1
    shape.pointee.transform_block_dimensions = transform ? Int32(d) : 0
    let counts = [lists] + flat + (pieces > 0 ? [16] : [])
    shape.pointee.level_count = Int32(counts.count)
    for (i, count) in counts.enumerated() {
      let level = UnsafeMutablePointer(mutating: wrvq_shape_level(shape, i))
      let isProduct = pieces > 0 && i + 1 == counts.count
      let rule = i == 0 ? WRVQ_WEIGHT_ONE : WRVQ_WEIGHT_PROJECTION
      level.pointee = wrvq_level_shape(
        kind: Int32((isProduct ? WRVQ_PRODUCT : WRVQ_FLAT).rawValue),
        weight_rule: Int32(rule.rawValue), weight_bits: 16, codeword_count: Int32(count),
        piece_count: Int32(isProduct ? pieces : 0),
        piece_dimensions: Int32(isProduct ? (d + pieces - 1) / pieces : 0))
    }
    if kernels.shape_check(shape) != WRVQ_OK { fail("the benchmark's shape is bad") }
    kernels.layout(shape, layout)
    kernels.image_bind(shape, aligned(Int(kernels.image_bytes(shape)), of: UInt8.self), codebook)

    var numbers = RandomNumbers(seed: 1)
    if transform {
      // Orthogonal or not makes no difference to the time: a permutation is.
      var rows = [Float](repeating: 0, count: d * d)
      for i in 0..<d { rows[i * d + (i * 7 + 3) % d] = 1 }
      kernels.image_set_transform(codebook, rows)
    }
    let levelScratch = aligned(Int(kernels.image_scratch_floats(shape)), of: Float.self)
    // Sixteen lists in sequence are near each other, as a build numbers them: a row looks for them together.
    let groups = numbers.normals((lists + 15) / 16 * d)
    let centers = (0..<lists * d).map { groups[$0 / d / 16 * d + $0 % d] + 0.5 * numbers.normal() }
    kernels.image_set_level(codebook, 0, centers, levelScratch)
    for i in counts.indices.dropFirst() {
      let level = wrvq_shape_level(shape, i).pointee
      let isProduct = level.kind == Int32(WRVQ_PRODUCT.rawValue)
      let count = isProduct ? pieces * 16 * Int(level.piece_dimensions) : counts[i] * d
      kernels.image_set_level(
        codebook, Int32(i), numbers.normals(count, times: 1 / Float(d).squareRoot()), levelScratch)
    }

    vectors = aligned(
      (0..<rows).flatMap { row in
        centers[row % lists * d..<(row % lists + 1) * d].map { $0 + 0.3 * numbers.normal() }
      })
    prepared = aligned(rows * d)
    encoded = aligned(rows)
    entries = aligned(rows * Int(layout.pointee.entry_bytes))
    scratch = aligned(Int(kernels.encode_scratch_bytes(codebook, rows)))
    prepare()
    encode(rows)
  }

  func prepare() {
    var bad = 0
    if kernels.prepare(codebook, vectors, rows, scratch, prepared, &bad) != WRVQ_OK {
      fail("row \(bad) cannot be prepared")
    }
  }

  /// Encodes the first `n` rows.
  func encode(_ n: Int) { kernels.encode(codebook, layout, prepared, n, scratch, encoded, entries) }

  /// Every row lies as near to its list as only to the one it was made from (whose number is another
  /// one now), and every level takes something off it.
  func checkEncoding() {
    for row in 0..<rows {
      let e = encoded[row]
      let isLess = codebook.pointee.shape.level_count == 1 || e.loss < e.residual_squared
      if !isLess || !(e.residual_squared < 0.2 * Float(d)) {
        fail("row \(row) is encoded wrongly: \(e)")
      }
    }
  }

  /// All rows in blocks, in sequence.
  func blocks() -> UnsafeMutablePointer<UInt8> {
    let bytes = Int(layout.pointee.block_bytes)
    let blocks = aligned((rows + 31) / 32 * bytes, of: UInt8.self)
    for row in 0..<rows {
      kernels.block_put(
        layout, blocks + row / 32 * bytes, Int32(row % 32), UInt64(row),
        entries + row * Int(layout.pointee.entry_bytes))
    }
    return blocks
  }

  func query() -> UnsafeMutablePointer<wrvq_query> {
    let arena = aligned(Int(kernels.query_bytes(codebook)), of: UInt8.self)
    _ = kernels.query_begin(codebook, layout, vectors, arena)
    return UnsafeMutableRawPointer(arena).assumingMemoryBound(to: wrvq_query.self)
  }
}
