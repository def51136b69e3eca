import CWRVQKernels

/// A codebook of random codewords in a guarded image, and the kernels over it on Swift arrays.
///
/// Every array that a kernel gets ends at an inaccessible page.
public final class SampleCodebook {
  public let kernels: wrvq_kernels
  public let sample: SampleShape
  public let shape: wrvq_shape
  public let layout: wrvq_layout
  public let codebook: UnsafeMutablePointer<wrvq_codebook>
  public let image: GuardedBuffer<UInt8>
  /// The transform's blocks in sequence, row-major, as they were put into the image.
  public let transform: [Float]
  /// Each level's codewords, as they were put into the image.
  public let levelRows: [[Float]]

  public var d: Int { sample.dimensions }
  public var lists: Int { Int(shape.level(0).codeword_count) }
  public var sublists: Int {
    (0..<sample.fuzzyLevels).reduce(1) { $0 * Int(shape.level($1 + 1).codeword_count) }
  }
  /// The sub-list of an entry, by the codes of its fuzzy levels.
  public func sublist(_ entry: DecodedEntry) -> Int {
    entry.levels.prefix(sample.fuzzyLevels).enumerated().reduce(0) {
      $0 * Int(shape.level($1.offset + 1).codeword_count) + $1.element.codes[0]
    }
  }

  /// The codes that make up a sub-list's number, level 1's first.
  public func digits(_ sublist: Int) -> [Int] {
    var rest = sublist, codes: [Int] = []
    for level in stride(from: sample.fuzzyLevels, to: 0, by: -1) {
      let count = Int(shape.level(level).codeword_count)
      codes.insert(rest % count, at: 0)
      rest /= count
    }
    return codes
  }

  /// What the kernel says is the sub-list of an entry.
  public func entrySublist(_ entry: [UInt8]) -> Int {
    let guarded = GuardedBuffer(entry)
    return withLayout { layout in
      withUnsafePointer(to: shape) { Int(kernels.entry_sublist($0, layout, guarded.pointer)) }
    }
  }

  public var entryBytes: Int { Int(layout.entry_bytes) }
  public var isL2: Bool { sample.metric == WRVQ_L2 }

  public init(_ level: KernelLevel, _ sample: SampleShape, seed: UInt64 = 1) {
    var numbers = TestNumbers(seed: seed)
    kernels = level.kernels
    self.sample = sample
    var shape = sample.shape
    self.shape = shape
    precondition(kernels.shape_check(&shape) == WRVQ_OK, "\(sample) is not a valid shape")
    var layout = wrvq_layout()
    kernels.layout(&shape, &layout)
    self.layout = layout
    image = GuardedBuffer(count: Int(kernels.image_bytes(&shape)), alignment: 64).spoil()
    codebook = .allocate(capacity: 1)
    kernels.image_bind(&shape, image.raw, codebook)
    transform = Self.orthogonalBlocks(sample.dimensions, sample.transformBlock, &numbers)
    if !transform.isEmpty {
      let rows = GuardedBuffer(transform)
      kernels.image_set_transform(codebook, rows.pointer)
    }
    levelRows = sample.levels.enumerated().map { i, level in
      Self.codewords(sample, level, isFirst: i == 0, &numbers)
    }
    let scratch = imageScratch()
    for (i, rows) in levelRows.enumerated() {
      let input = GuardedBuffer(rows)
      kernels.image_set_level(codebook, Int32(i), input.pointer, scratch.pointer)
    }
  }

  deinit { codebook.deallocate() }

  /// What putting a level into the image wants.
  public func imageScratch() -> GuardedBuffer<Float> {
    let floats = withUnsafePointer(to: shape) { kernels.image_scratch_floats($0) }
    return GuardedBuffer<Float>(count: Int(floats), alignment: 8).spoil()
  }

  // MARK: Data

  /// Random rotations, one a diagonal block.
  private static func orthogonalBlocks(
    _ d: Int, _ block: Int, _ numbers: inout TestNumbers
  ) -> [Float] {
    var result: [Float] = []
    if block == 0 { return result }
    for start in stride(from: 0, to: d, by: block) {
      let size = min(block, d - start)
      var rows: [[Double]] = []
      for _ in 0..<size {
        var row = numbers.normals(size).map(Double.init)
        // Twice, for Gram and Schmidt lose digits when the row is nearly spanned.
        for _ in 0..<2 {
          for other in rows { row = sum(row, -dot(row, other), other) }
        }
        let norm = length(row)
        rows.append(row.map { $0 / norm })
      }
      result += rows.joined().map(Float.init)
    }
    return result
  }

  private static func codewords(
    _ sample: SampleShape, _ level: SampleShape.Level, isFirst: Bool, _ numbers: inout TestNumbers
  ) -> [Float] {
    let d = sample.dimensions
    switch level {
    case .product(let pieces, let p, _):
      // [m][16][p], zero beyond the dimensions.
      return (0..<pieces).flatMap { piece in
        (0..<16).flatMap { _ in
          (0..<p).map { i in
            let value = numbers.normal() / Float(d).squareRoot()
            return piece * p + i < d ? value : 0
          }
        }
      }
    case .flat(let count, let rule):
      return (0..<count).flatMap { _ in
        var row = numbers.normals(d, times: rule == WRVQ_WEIGHT_ONE && !isFirst ? 0.2 : 1)
        if isFirst && sample.metric == WRVQ_L2 { row[0] += 3 }
        let isUnit = !isFirst && rule != WRVQ_WEIGHT_ONE || sample.metric == WRVQ_COSINE
        let norm = isUnit ? max(Float(length(row.map(Double.init))), 1e-3) : 1
        let scale = isFirst ? sample.scale : 1
        return row.map { $0 / norm * scale }
      }
    }
  }

  /// Vectors around the lists, in the user's space.
  public func vectors(_ n: Int, seed: UInt64) -> [Float] {
    var numbers = TestNumbers(seed: seed)
    let spread: Float = sample.metric == WRVQ_COSINE ? 0.1 : 0.4
    return (0..<n).flatMap { _ in
      let list = numbers.below(lists)
      return levelRows[0][list * d..<(list + 1) * d].map {
        $0 / sample.scale + numbers.normal() * spread
      }
    }
  }

  // MARK: Kernels

  public func prepare(_ vectors: [Float]) -> [Float] {
    let n = vectors.count / d
    let input = GuardedBuffer(vectors), scratch = scratch(n)
    let prepared = GuardedBuffer<Float>(count: n * d).spoil()
    var bad = -1
    let status = kernels.prepare(
      codebook, input.pointer, n, scratch.raw, prepared.pointer, &bad)
    precondition(status == WRVQ_OK, "prepare refused row \(bad)")
    return prepared.elements
  }

  /// Encodes prepared rows; the entries come one an array.
  public func encode(_ prepared: [Float]) -> ([wrvq_encoded], [[UInt8]]) {
    let n = prepared.count / d
    let input = GuardedBuffer(prepared), scratch = scratch(n)
    let encoded = GuardedBuffer<wrvq_encoded>(count: n)
    let entries = GuardedBuffer<UInt8>(count: n * entryBytes).spoil()
    withLayout {
      kernels.encode(
        codebook, $0, input.pointer, n, scratch.raw, encoded.pointer, entries.pointer)
    }
    let bytes = entries.elements
    return (
      encoded.elements, (0..<n).map { Array(bytes[$0 * entryBytes..<($0 + 1) * entryBytes]) }
    )
  }

  public func scratch(_ n: Int) -> GuardedBuffer<UInt8> {
    GuardedBuffer(count: Int(kernels.encode_scratch_bytes(codebook, n)), alignment: 64).spoil()
  }

  public func withLayout<R>(_ body: (UnsafePointer<wrvq_layout>) -> R) -> R {
    withUnsafePointer(to: layout, body)
  }

  /// A block whose first positions hold the entries.
  public func block(_ rows: [UInt64], _ entries: [[UInt8]]) -> GuardedBuffer<UInt8> {
    let block = GuardedBuffer<UInt8>(count: Int(layout.block_bytes))
    withLayout { layout in
      for (position, row) in rows.enumerated() {
        let entry = GuardedBuffer(entries[position])
        kernels.block_put(layout, block.pointer, Int32(position), row, entry.pointer)
      }
    }
    return block
  }

  // MARK: What the image says, decoded

  /// Every level's codewords as the image holds them; a product level's pieces in sequence.
  private lazy var codewords: [[[Double]]] = sample.levels.enumerated().map { i, level in
    let packed = UnsafePointer(wrvq_codebook_level(codebook, i))
    switch level {
    case .flat(let count, _): return (0..<count).map { KernelReference.codeword(packed, $0, d) }
    case .product(let pieces, let p, _):
      return (0..<pieces * 16).map {
        KernelReference.codeword(packed + $0 / 16 * p * 16, $0 % 16, p)
      }
    }
  }

  /// List `i`'s codeword in the prepared space.
  public func list(_ i: Int) -> [Double] { flatCodeword(0, i) }

  public func flatCodeword(_ level: Int, _ code: Int) -> [Double] { codewords[level][code] }

  /// Codeword `code` of one piece of the product level.
  public func pieceCodeword(_ level: Int, _ piece: Int, _ code: Int) -> [Double] {
    codewords[level][piece * 16 + code]
  }

  /// A row of the space between, `T·x` in double precision; `x` without a transform.
  public func transformed(_ x: [Double]) -> [Double] {
    if transform.isEmpty { return x }
    let rounded = transform.map { KernelReference.value(ofHalf: KernelReference.half($0)) }
    var result: [Double] = []
    var source = 0
    for start in stride(from: 0, to: d, by: sample.transformBlock) {
      let size = min(sample.transformBlock, d - start)
      for _ in 0..<size {
        result.append(dot(Array(rounded[source..<source + size]), Array(x[start..<start + size])))
        source += size
      }
    }
    return result
  }

  /// An entry's fields, read by the description in wrvq_kernels.h.
  public func decode(_ entry: [UInt8]) -> DecodedEntry {
    var rest = entry[...]
    var result = DecodedEntry()
    if isL2 {
      result.constant = KernelReference.half(rest)
      rest = rest.dropFirst(2)
    }
    for i in sample.levels.indices.dropFirst() {
      var codes: [Int] = []
      var codeword: [Double]
      switch sample.levels[i] {
      case .flat(let count, _):
        let bytes = count <= 256 ? 1 : 2
        let code = Int(rest.first!) | (bytes == 2 ? Int(rest.dropFirst().first!) << 8 : 0)
        codes = [code]
        codeword = flatCodeword(i, code)
        rest = rest.dropFirst(bytes)
      case .product(let pieces, _, _):
        codeword = []
        for piece in 0..<pieces {
          let byte = rest[rest.startIndex + piece / 2]
          codes.append(Int(piece % 2 == 0 ? byte & 15 : byte >> 4))
          codeword += pieceCodeword(i, piece, codes[piece])
        }
        codeword = Array(codeword.prefix(d))
        rest = rest.dropFirst((pieces + 1) / 2)
      }
      result.levels.append((codes, KernelReference.half(rest), codeword))
      rest = rest.dropFirst(2)
    }
    precondition(rest.isEmpty, "\(rest.count) bytes of the entry are left over")
    return result
  }
}

/// An entry's fields, and the codewords that its codes stand for.
public struct DecodedEntry {
  public var constant = 0.0
  /// From level 1: the code or the codes of the pieces, the factor, the codeword.
  public var levels: [(codes: [Int], factor: Double, codeword: [Double])] = []

  /// `g·r̂`: the residual after level 0 as estimates see it.
  public func residual(_ d: Int) -> [Double] {
    levels.reduce([Double](repeating: 0, count: d)) { sum($0, $1.factor, $1.codeword) }
  }
}

/// A query in a guarded arena.
public final class SampleQuery {
  public let codebook: SampleCodebook
  public let status: wrvq_status
  public let query: UnsafeMutablePointer<wrvq_query>
  private let arena: GuardedBuffer<UInt8>
  private var candidates: GuardedBuffer<UInt8>?

  public init(_ codebook: SampleCodebook, _ vector: [Float]) {
    self.codebook = codebook
    let kernels = codebook.kernels
    let arena = GuardedBuffer<UInt8>(
      count: Int(kernels.query_bytes(codebook.codebook)), alignment: 64
    ).spoil()
    self.arena = arena
    let input = GuardedBuffer(vector)
    status = codebook.withLayout {
      kernels.query_begin(codebook.codebook, $0, input.pointer, arena.raw)
    }
    query = arena.raw.assumingMemoryBound(to: wrvq_query.self)
  }

  /// The prepared query.
  public var vector: [Double] { (0..<codebook.d).map { Double(query.pointee.vector![$0]) } }

  public func beginRound(_ limit: Int) {
    let memory = GuardedBuffer<UInt8>(
      count: Int(codebook.kernels.candidates_bytes(Int64(limit))), alignment: 8
    ).spoil()
    candidates = memory
    codebook.kernels.query_round(query, Int64(limit), memory.raw)
  }

  public func scan(_ list: UInt32, _ block: GuardedBuffer<UInt8>, _ count: Int) {
    codebook.kernels.query_scan_block(query, list, block.pointer, Int32(count))
  }

  /// Estimates and rows of the candidates that the round holds now.
  public var kept: [(estimate: Float, row: UInt64)] {
    (0..<Int(query.pointee.candidate_count)).map {
      (query.pointee.candidate_estimates![$0], query.pointee.candidate_rows![$0])
    }
  }

  public func take(without taken: [UInt64] = []) -> [UInt64] {
    takeWithEstimates(Int(query.pointee.limit), without: taken).rows
  }

  /// The best `n` candidates, and the least estimate that is not among them.
  public func takeWithEstimates(
    _ n: Int, without taken: [UInt64] = []
  ) -> (rows: [UInt64], estimates: [Float], next: Float) {
    let guardedTaken = GuardedBuffer(taken), next = GuardedBuffer<Float>(count: 1)
    let first = GuardedBuffer<Int64>(count: 1)
    let found = codebook.kernels.query_take(
      query, Int64(n), taken.isEmpty ? nil : UnsafePointer(guardedTaken.pointer),
      Int64(taken.count), first.pointer, next.pointer)
    let handedOut = Int(first.elements[0])..<Int(first.elements[0] + found)
    return (
      handedOut.map { query.pointee.candidate_rows![$0] },
      handedOut.map { query.pointee.candidate_estimates![$0] }, next.elements[0]
    )
  }

  public func within(_ bound: Float) -> Int { Int(codebook.kernels.query_within(query, bound)) }

  public func lists(_ first: Int, _ n: Int) -> [UInt32] {
    let lists = GuardedBuffer<UInt32>(count: n)
    let found = codebook.kernels.query_lists(query, Int32(first), Int32(n), lists.pointer)
    return Array(lists.elements.prefix(Int(found)))
  }

  /// The estimate of an entry by the identity in wrvq_kernels.h, and how far the byte table and
  /// single precision may take the kernel's from it.
  public func estimate(_ list: Int, _ entry: DecodedEntry) -> (value: Double, tolerance: Double) {
    let q = vector, c0 = codebook.list(list)
    var value = 0.0, tolerance = 0.0
    if codebook.isL2 {
      let toCodeword = sum(q, -1, c0)
      value = dot(toCodeword, toCodeword) + entry.constant
      tolerance = 1e-5 * (dot(q, q) + dot(c0, c0) + abs(entry.constant))
    } else {
      value = -dot(c0, q)
      tolerance = 1e-5 * length(c0) * length(q)
    }
    let factor = codebook.isL2 ? 2.0 : 1.0
    for (i, level) in entry.levels.enumerated() {
      value -= factor * level.factor * dot(level.codeword, q)
      tolerance += factor * abs(level.factor) * 1e-5 * length(level.codeword) * length(q)
      if case .product(let pieces, _, _) = codebook.sample.levels[i + 1] {
        // Rounding to bytes errs by half a step a piece; a piece's minimum may be large.
        let step = Double(query.pointee.table_scale)
        tolerance += factor * abs(level.factor) * 0.501 * step * Double(pieces)
      }
    }
    return (value, tolerance + 1e-6)
  }
}
