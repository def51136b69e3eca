/// Where the threads put what they encode, each its own rows.
struct EncoderOutput: @unchecked Sendable {
  enum Codes {
    case flat(UnsafeMutablePointer<UInt16>)
    case product(UnsafeMutablePointer<UInt8>, pieces: Int)
  }

  let rows: Int
  let codes: [Codes]
  /// `[rows × levels]`.
  let weights: UnsafeMutablePointer<Float16>
  /// `[chunks × levels]`: sums over a chunk's rows.
  let losses: UnsafeMutablePointer<Double>
  private let chunks: Int
  private let levelCount: Int

  init(rows: Int, chunks: Int, _ codebook: Codebook) {
    self.rows = rows
    self.chunks = chunks
    levelCount = codebook.levels.count
    codes = codebook.levels.map { level in
      switch level.kind {
      case .flat: .flat(.allocate(capacity: rows))
      case .product(let pieces, _): .product(.allocate(capacity: rows * pieces), pieces: pieces)
      }
    }
    weights = .allocate(capacity: rows * levelCount)
    losses = .allocate(capacity: chunks * levelCount)
  }

  func move(into encoded: inout EncodedVectors) {
    encoded.codes = codes.map { codes in
      switch codes {
      case .flat(let codes): .flat(Array(UnsafeBufferPointer(start: codes, count: rows)))
      case .product(let codes, let pieces):
        .product(
          Array(UnsafeBufferPointer(start: codes, count: rows * pieces)), pieces: pieces)
      }
    }
    encoded.weights = Array(UnsafeBufferPointer(start: weights, count: rows * levelCount))
    // In the order of the chunks, so that the sum does not depend on who did which.
    encoded.loss = (0..<levelCount).map { level in
      (0..<chunks).reduce(0.0) { $0 + losses[$1 * levelCount + level] } / Double(rows)
    }
  }

  func deallocate() {
    for codes in codes {
      switch codes {
      case .flat(let codes): codes.deallocate()
      case .product(let codes, _): codes.deallocate()
      }
    }
    weights.deallocate()
    losses.deallocate()
  }
}
