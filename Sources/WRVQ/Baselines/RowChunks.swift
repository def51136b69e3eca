/// Rows cut into chunks that fit a second-level cache, which threads share.
///
/// The cuts depend on the shape only, so that nothing depends on the number of threads.
struct RowChunks: Sendable {
  let rowCount: Int
  let dimensions: Int
  let threads: Int

  private var size: Int { max(12, min(96, 98304 / dimensions / 6 * 6)) }

  /// Does every chunk once, given its rows.
  func forEach(_ body: @Sendable (Range<Int>) -> Void) {
    let size = size
    concurrently((rowCount + size - 1) / size, threads: threads) { chunk in
      body(chunk * size..<min(rowCount, (chunk + 1) * size))
    }
  }

  /// Makes `width` values of every row.
  ///
  /// - Parameter body: Given rows and where their values go: `rows × width`, not initialised.
  func map<Value>(
    _ width: Int, _ body: @Sendable (Range<Int>, UnsafeMutablePointer<Value>) -> Void
  ) -> [Value] {
    [Value](unsafeUninitializedCapacity: rowCount * width) { buffer, initialized in
      initialized = rowCount * width
      guard let base = buffer.baseAddress, rowCount > 0 else { return }
      let out = SharedMemory(base: base)
      forEach { rows in body(rows, out.base + rows.lowerBound * width) }
    }
  }
}

/// Memory that threads write to, each its own part.
struct SharedMemory<Value>: @unchecked Sendable {
  let base: UnsafeMutablePointer<Value>
}

extension VectorQuantizer {
  /// The number of rows that these values make.
  func checkedRowCount(_ rows: [Float]) throws(EncodingError) -> Int {
    guard rows.count.isMultiple(of: dimensions) else {
      throw .rowSize(values: rows.count, dimensions: dimensions)
    }
    if let bad = rows.firstIndex(where: { !$0.isFinite }) {
      throw .notFinite(row: bad / dimensions, dimension: bad % dimensions)
    }
    return rows.count / dimensions
  }
}

extension QuantizerCodes {
  /// Throws unless each code is below the number of its codewords.
  func check(_ counts: [Int]) throws(EncodingError) {
    guard codesPerRow == counts.count else {
      throw .levelCount(codesPerRow, expected: counts.count)
    }
    for (index, code) in values.enumerated() where Int(code) >= counts[index % codesPerRow] {
      let level = index % codesPerRow
      throw .codeOutOfRange(
        level: level, row: index / codesPerRow, code: Int(code), counts[level])
    }
  }
}
