import CWRVQKernels

/// The benchmarks of one instruction-set level.
struct KernelBenchmarks {
  private let kernels: wrvq_kernels

  init(_ kernels: wrvq_kernels) { self.kernels = kernels }

  /// - Parameters:
  ///   - filter: Part of the name of those to run; empty for all.
  ///   - note: Told of each result.
  func run(named filter: String, note: (String) -> Void) -> [Measurement] {
    var results: [Measurement] = []
    func add(_ name: String, _ benchmark: () -> [Measurement]) {
      if !filter.isEmpty && !name.contains(filter) { return }
      for measurement in benchmark() {
        results.append(measurement)
        note("\(measurement.name): \(measurement.text)")
      }
    }
    add("distances", distances)
    add("halves", halves)
    add("inner_products", innerProducts)
    add("assign", assign)
    add("prepare", prepare)
    add("encode product", encodeProduct)
    add("encode flat", encodeFlat)
    add("query", query)
    add("scan product", scanProduct)
    add("scan flat", scanFlat)
    return results
  }

  // MARK: Vectors

  private func distances() -> [Measurement] {
    [384, 768, 1536].flatMap { d -> [Measurement] in
      var numbers = RandomNumbers(seed: 2)
      let a = aligned(numbers.normals(d)), b = aligned(numbers.normals(d))
      var square = 0.0, product = 0.0, aa = 0.0, bb = 0.0
      for i in 0..<d {
        let x = Double(a[i]), y = Double(b[i])
        square += (x - y) * (x - y)
        product += x * y
        aa += x * x
        bb += y * y
      }
      let cosine = 1 - product / (aa * bb).squareRoot()
      check(kernels.l2_distance(a, b, d), square.squareRoot(), 1e-5 * square.squareRoot())
      check(kernels.inner_product(a, b, d), product, 1e-5 * (aa * bb).squareRoot())
      check(kernels.cosine_distance(a, b, d), cosine, 1e-6)
      return [
        Measurement("l2_distance \(d)") { _ = kernels.l2_distance(a, b, d) },
        Measurement("inner_product \(d)") { _ = kernels.inner_product(a, b, d) },
        Measurement("cosine_distance \(d)") { _ = kernels.cosine_distance(a, b, d) },
      ]
    }
  }

  private func halves() -> [Measurement] {
    let n = 4096
    var numbers = RandomNumbers(seed: 3)
    let floats = aligned(numbers.normals(n)), wide = aligned(n, of: Float.self)
    let halves = aligned(n, of: UInt16.self)
    kernels.float_to_half(floats, halves, n)
    kernels.half_to_float(halves, wide, n)
    for i in 0..<n {
      check(Double(wide[i]), Double(floats[i]), 1e-3 * Double(abs(floats[i])) + 1e-7)
    }
    let perElement = { (ns: Double) in ns / Double(n) }
    return [
      Measurement("half_to_float 4096", unit: "ns/element", rate: perElement) {
        kernels.half_to_float(halves, wide, n)
      },
      Measurement("float_to_half 4096", unit: "ns/element", rate: perElement) {
        kernels.float_to_half(floats, halves, n)
      },
    ]
  }

  // MARK: Batches

  private func innerProducts() -> [Measurement] {
    let d = 384, s = 256
    var numbers = RandomNumbers(seed: 4)
    let codewords = aligned(numbers.normals(s * d)), packed = aligned(s * d, of: Float.self)
    kernels.pack(codewords, s, d, packed)
    return [1020, 8, 1].map { n in
      let x = aligned(numbers.normals(n * d)), products = aligned(n * s, of: Float.self)
      kernels.inner_products(x, n, d, packed, s, products)
      for i in stride(from: 0, to: n * s, by: 97) {
        var sum = 0.0
        for j in 0..<d { sum += Double(x[i / s * d + j]) * Double(codewords[i % s * d + j]) }
        check(Double(products[i]), sum, 1e-3)
      }
      let operations = Double(2 * n * d * s)
      return Measurement("inner_products \(n)×384×256", unit: "GF/s", rate: { operations / $0 }) {
        kernels.inner_products(x, n, d, packed, s, products)
      }
    }
  }

  private func assign() -> [Measurement] {
    let d = 384, s = 1264, n = 256
    var numbers = RandomNumbers(seed: 5)
    let codewords = aligned(numbers.normals(s * d)), packed = aligned(s * d, of: Float.self)
    kernels.pack(codewords, s, d, packed)
    let halfNorms = aligned(
      (0..<s).map { c in
        (0..<d).reduce(Float(0)) { $0 + 0.5 * codewords[c * d + $1] * codewords[c * d + $1] }
      })
    let x = aligned(
      (0..<n * d).map { codewords[$0 / d * 3 % s * d + $0 % d] + 0.3 * numbers.normal() })
    let scratch = aligned(32 * n, of: Float.self), scores = aligned(n, of: Float.self)
    let codes = aligned(n, of: UInt32.self)
    kernels.assign(x, n, d, packed, halfNorms, s, scratch, codes, scores)
    for row in 0..<n where Int(codes[row]) != row * 3 % s { fail("row \(row) is assigned wrongly") }
    return [
      Measurement("assign 256×384×1264", unit: "rows/s", rate: { 1e9 * Double(n) / $0 }) {
        kernels.assign(x, n, d, packed, halfNorms, s, scratch, codes, scores)
      }
    ]
  }

  // MARK: Encoding

  private func prepare() -> [Measurement] {
    let codebook = BenchmarkCodebook(
      kernels, dimensions: 384, lists: 16, flat: [], pieces: 0, transform: true, rows: 256)
    codebook.checkEncoding()
    return [
      Measurement("prepare 256×384, transform", unit: "rows/s", rate: { 256e9 / $0 }) {
        codebook.prepare()
      }
    ]
  }

  /// Batches of a build and of an insert, with what the list assignment alone takes.
  private func encodings(
    _ name: String, lists: Int, flat: [Int], pieces: Int, rows: [Int]
  ) -> [Measurement] {
    let codebook = BenchmarkCodebook(
      kernels, dimensions: 384, lists: lists, flat: flat, pieces: pieces, transform: false,
      rows: rows[0])
    codebook.checkEncoding()
    return rows.map { n in
      Measurement("encode \(n) of 384, \(name)", unit: "rows/s", rate: { 1e9 * Double(n) / $0 }) {
        codebook.encode(n)
      }
    }
  }

  private func encodeProduct() -> [Measurement] {
    encodings("1264 lists only", lists: 1264, flat: [], pieces: 0, rows: [256, 1])
      + encodings("1264, 16, 96×4", lists: 1264, flat: [16], pieces: 96, rows: [256, 64, 1])
  }

  private func encodeFlat() -> [Measurement] {
    encodings("4×256", lists: 256, flat: [256, 256, 256], pieces: 0, rows: [256, 1])
  }

  // MARK: Queries

  private func query() -> [Measurement] {
    let codebook = BenchmarkCodebook(
      kernels, dimensions: 384, lists: 1264, flat: [16], pieces: 96, transform: false, rows: 64)
    let query = codebook.query(), lists = aligned(1264, of: UInt32.self)
    // The query is row 0.
    if kernels.query_lists(query, 0, 1, lists) != 1 || lists[0] != codebook.encoded[0].list {
      fail("the query's own list is not the best")
    }
    let keys = aligned((0..<1264).map { query.pointee.list_keys![$0] })
    let scratch = aligned(64 * 16, of: UInt64.self), chosen = aligned(64 * 2, of: UInt8.self)
    let transformed = BenchmarkCodebook(
      kernels, dimensions: 384, lists: 1264, flat: [16], pieces: 96, transform: true, rows: 1)
    return [
      Measurement("query_begin 384, 1264 lists, 16, 96×4") {
        _ = kernels.query_begin(codebook.codebook, codebook.layout, codebook.vectors, query)
      },
      Measurement("the same with a transform") {
        _ = kernels.query_begin(
          transformed.codebook, transformed.layout, transformed.vectors, query)
      },
      Measurement("query_lists 64 of 1264") {
        query.pointee.list_keys!.update(from: keys, count: 1264)
        _ = kernels.query_lists(query, 0, 64, lists)
      },
      Measurement("query_sublists a tenth of 64×16") {
        kernels.query_sublists(query, lists, 64, 0.1, scratch, chosen)
      },
    ]
  }

  /// A round over some blocks that keeps 50 candidates.
  private func scan(_ name: String, lists: Int, flat: [Int], pieces: Int) -> Measurement {
    let rows = 8192
    let codebook = BenchmarkCodebook(
      kernels, dimensions: 384, lists: lists, flat: flat, pieces: pieces, transform: false,
      rows: rows)
    let query = codebook.query(), blocks = codebook.blocks()
    let blockBytes = Int(codebook.layout.pointee.block_bytes)
    let memory = aligned(Int(kernels.candidates_bytes(50)), of: UInt8.self)
    func round() {
      kernels.query_round(query, 50, memory)
      for i in 0..<rows / 32 {
        kernels.query_scan_block(query, 0, blocks + i * blockBytes, 32)
      }
    }
    round()
    // Row 0 is the query.  Flat levels of random codewords know too little of a row to tell.
    var first: Int64 = 0, next: Float = 0
    let n = kernels.query_take(query, 50, nil, 0, &first, &next)
    if n != 50 || pieces > 0 && query.pointee.candidate_rows![Int(first)] != 0 {
      fail("the scan misses the query's own row")
    }
    return Measurement("scan 384, \(name)", unit: "ns/entry", rate: { $0 / Double(rows) }) {
      round()
    }
  }

  private func scanProduct() -> [Measurement] {
    [
      scan("96×4", lists: 1, flat: [], pieces: 96),
      scan("16, 96×4", lists: 1, flat: [16], pieces: 96),
      scan("64×6", lists: 1, flat: [], pieces: 64),
    ]
  }

  private func scanFlat() -> [Measurement] {
    [scan("3×256", lists: 1, flat: [256, 256, 256], pieces: 0)]
  }

  private func check(_ actual: Double, _ expected: Double, _ tolerance: Double) {
    if !(abs(actual - expected) <= tolerance) { fail("\(actual) should be \(expected)") }
  }
}
