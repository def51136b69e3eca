import CWRVQKernels
import TestSupport
import Testing
import WRVQ

/// A codebook as the kernels of values hold it, in guarded memory.
final class SampleCoder {
  let codebook: Codebook
  let kernels: wrvq_code_kernels
  let coder: GuardedBuffer<wrvq_coder>
  private let memory: GuardedBuffer<UInt8>
  private let scratch: GuardedBuffer<UInt8>

  init(_ codebook: Codebook, _ level: KernelLevel) {
    self.codebook = codebook
    kernels = Kernels(level).codes
    coder = GuardedBuffer([Self.shape(of: codebook)])
    #expect(kernels.coder_check(coder.pointer) == WRVQ_OK)
    memory = GuardedBuffer<UInt8>(count: Int(kernels.coder_bytes(coder.pointer)), alignment: 64)
      .spoil()
    kernels.coder_bind(coder.pointer, memory.raw)
    for (i, level) in codebook.levels.enumerated() {
      let codewords = GuardedBuffer(level.codewords)
      let transform = level.transform.map {
        GuardedBuffer(TransformBlocks(dense: $0, dimensions: codebook.dimensions).values)
      }
      // In any order: the values are a set.
      let weights = level.weights.map { GuardedBuffer(Array($0.reversed())) }
      kernels.coder_set_level(
        coder.pointer, Int32(i), codewords.pointer, transform?.pointer, weights?.pointer)
    }
    scratch = GuardedBuffer<UInt8>(count: Int(kernels.scratch_bytes(coder.pointer)), alignment: 64)
      .spoil()
  }

  /// The counts alone.
  static func shape(of codebook: Codebook) -> wrvq_coder {
    var coder = wrvq_coder()
    coder.dimensions = Int32(codebook.dimensions)
    coder.metric = metric(codebook.metric)
    coder.level_count = Int32(codebook.levels.count)
    coder.scale = codebook.scale
    for (i, level) in codebook.levels.enumerated() {
      let target = withUnsafePointer(to: &coder) { wrvq_coder_level_of($0, i) }
      let rules: [Codebook.WeightRule: wrvq_weight_rule] = [
        .one: WRVQ_WEIGHT_ONE, .norm: WRVQ_WEIGHT_NORM, .projection: WRVQ_WEIGHT_PROJECTION,
      ]
      target.pointee.shape.weight_rule = Int32(rules[level.weightRule]!.rawValue)
      target.pointee.shape.weight_bits = Int32(level.weightBits)
      switch level.kind {
      case .flat(let count):
        target.pointee.shape.kind = Int32(WRVQ_FLAT.rawValue)
        target.pointee.shape.codeword_count = Int32(count)
      case .product(let pieces, let size):
        target.pointee.shape.kind = Int32(WRVQ_PRODUCT.rawValue)
        target.pointee.shape.codeword_count = 16
        target.pointee.shape.piece_count = Int32(pieces)
        target.pointee.shape.piece_dimensions = Int32(size)
      }
      if let transform = level.transform {
        target.pointee.transform_block_dimensions = Int32(
          TransformBlocks(dense: transform, dimensions: codebook.dimensions).blockDimensions)
      }
    }
    return coder
  }

  static func metric(_ metric: Codebook.Metric) -> Int32 {
    switch metric {
    case .l2: Int32(WRVQ_L2.rawValue)
    case .ip: Int32(WRVQ_IP.rawValue)
    case .cosine: Int32(WRVQ_COSINE.rawValue)
    }
  }

  var codeBytes: Int { Int(coder.pointer.pointee.code_bytes) }

  func encode(_ vector: [Float]) -> [UInt8] {
    let input = GuardedBuffer(vector), code = GuardedBuffer<UInt8>(count: codeBytes).spoil()
    #expect(
      kernels.encode(coder.pointer, input.pointer, scratch.raw, code.pointer) == WRVQ_OK)
    return code.elements
  }

  /// The vector, or nil if the codebook has no such code.
  func decode(_ code: [UInt8], levels: Int? = nil) -> [Float]? {
    let input = GuardedBuffer(code)
    let vector = GuardedBuffer<Float>(count: codebook.dimensions).spoil()
    let status = kernels.decode(
      coder.pointer, input.pointer, Int32(levels ?? codebook.levels.count), scratch.raw,
      vector.pointer)
    #expect(status == WRVQ_OK || status == WRVQ_BAD_CODE)
    return status == WRVQ_OK ? vector.elements : nil
  }

  /// Distances of values from a vector; nil where the codebook has no such code.
  func distances(_ codes: [[UInt8]], from query: [Float], _ metric: Codebook.Metric) -> [Double?] {
    let bytes = Int(kernels.code_query_bytes(coder.pointer))
    let arena = GuardedBuffer<UInt8>(count: bytes, alignment: 64).spoil()
    let input = GuardedBuffer(query)
    kernels.code_query_begin(coder.pointer, Self.metric(metric), input.pointer, arena.raw)
    let state = arena.raw.assumingMemoryBound(to: wrvq_code_query.self)
    return codes.map { code in
      let value = GuardedBuffer(code)
      var distance = 0.0
      let status = kernels.code_distance(state, value.pointer, &distance)
      return status == WRVQ_OK ? distance : nil
    }
  }

  /// What a value holds, read by the description in wrvq_codes.h.
  func contents(_ code: [UInt8]) -> (codes: [[Int]], weights: [Float16]) {
    var at = 4, codes: [[Int]] = [], weights: [Float16] = []
    for level in codebook.levels {
      switch level.kind {
      case .flat(let count):
        let size = count > 256 ? 2 : 1
        codes.append([(0..<size).reduce(0) { $0 + Int(code[at + $1]) << (8 * $1) }])
        at += size
      case .product(let pieces, _):
        codes.append((0..<pieces).map { Int(code[at + $0 / 2]) >> (4 * ($0 % 2)) & 15 })
        at += (pieces + 1) / 2
      }
    }
    var bit = 8 * at
    for level in codebook.levels {
      if level.weightRule == .one {
        weights.append(1)
        continue
      }
      let number = (0..<level.weightBits).reduce(0) {
        $0 | Int(code[(bit + $1) / 8] >> ((bit + $1) % 8) & 1) << $1
      }
      bit += level.weightBits
      weights.append(
        level.weights.map { Float16($0.sorted()[number]) } ?? Float16(bitPattern: UInt16(number)))
    }
    #expect((bit + 7) / 8 == codeBytes)
    return (codes, weights)
  }

  /// Values as the library's decoder wants them.
  func encodedVectors(_ values: [[UInt8]]) -> EncodedVectors {
    var encoded = EncodedVectors(for: codebook)
    for value in values {
      let (codes, weights) = contents(value)
      let row = codebook.levels.indices.map { i -> EncodedVectors.Codes in
        switch codebook.levels[i].kind {
        case .flat: .flat(codes[i].map { UInt16($0) })
        case .product(let pieces, _): .product(codes[i].map { UInt8($0) }, pieces: pieces)
        }
      }
      encoded.append(EncodedVectors(rowCount: 1, codes: row, weights: weights))
    }
    return encoded
  }
}
