import CWRVQKernels
import Dispatch

extension KernelLevel {
  public var training: wrvq_training_kernels {
    withUnsafeTemporaryAllocation(of: wrvq_training_kernels.self, capacity: 1) { table in
      switch self {
      case .baseline: wrvq_training_base(table.baseAddress!)
      case .v3:
        #if arch(x86_64)
          wrvq_training_v3(table.baseAddress!)
        #else
          fatalError("x86-64-v3 kernels on another architecture")
        #endif
      }
      return table[0]
    }
  }
}

/// A run of the trainer over guarded memory, and what came out of it.
public struct TrainedSample {
  /// Who does the units of a step, and when.
  public enum Order: Sendable { case forwards, backwards, concurrent }

  public let dimensions: Int
  public let block: Int
  public let levels: [SampleShape.Level]
  public let sample: [Float]
  public private(set) var codewords: [[Float]] = []
  /// The transform's blocks in sequence.
  public private(set) var transform: [Float] = []
  public private(set) var losses: [Double] = []
  /// The trainer's progress before every step, and in the end.
  public private(set) var progress: [Float] = []

  public init(
    _ kernels: KernelLevel, _ sample: [Float], dimensions: Int, block: Int = 0,
    levels: [SampleShape.Level], iterations: Int = 4, seed: UInt64 = 1, order: Order = .forwards
  ) {
    (self.dimensions, self.block, self.levels, self.sample) = (dimensions, block, levels, sample)
    var shape = Self.shape(dimensions: dimensions, block: block, levels: levels)
    let table = kernels.training, rows = Int64(sample.count / dimensions)
    let memory = GuardedBuffer<UInt8>(
      count: Int(table.trainer_bytes(&shape, rows)), alignment: 64)
    let consumed = GuardedBuffer(sample)
    withExtendedLifetime((memory, consumed)) {
      let trainer = table.trainer_begin(
        &shape, consumed.pointer, rows, seed, Int32(iterations), memory.raw)
      run(table, trainer, order)
      collect(table, trainer)
    }
  }

  private mutating func run(
    _ table: wrvq_training_kernels, _ trainer: OpaquePointer, _ order: Order
  ) {
    repeat {
      progress.append(table.trainer_progress(trainer))
      let units = Int(table.trainer_units(trainer))
      switch order {
      case .forwards: for unit in 0..<units { table.trainer_work(trainer, Int32(unit)) }
      case .backwards:
        for unit in (0..<units).reversed() { table.trainer_work(trainer, Int32(unit)) }
      case .concurrent:
        let shared = SharedTrainer(trainer: trainer, table: table)
        DispatchQueue.concurrentPerform(iterations: units) { shared.work(Int32($0)) }
      }
    } while table.trainer_advance(trainer) == WRVQ_MORE
    progress.append(table.trainer_progress(trainer))
  }

  private mutating func collect(_ table: wrvq_training_kernels, _ trainer: OpaquePointer) {
    for (i, level) in levels.enumerated() {
      let count =
        switch level {
        case .flat(let count, _): count * dimensions
        case .product(let pieces, let p, _): pieces * 16 * p
        }
      let values = table.trainer_codewords(trainer, Int32(i))
      codewords.append(Array(UnsafeBufferPointer(start: values, count: count)))
      losses.append(table.trainer_loss(trainer, Int32(i)))
    }
    let blocks = stride(from: 0, to: block > 0 ? dimensions : 0, by: max(block, 1))
    let values = blocks.reduce(0) { $0 + Self.square(min(block, dimensions - $1)) }
    transform = Array(
      UnsafeBufferPointer(start: table.trainer_transform(trainer), count: values))
  }

  private static func square(_ n: Int) -> Int { n * n }

  public static func shape(
    dimensions: Int, block: Int = 0, levels: [SampleShape.Level]
  ) -> wrvq_shape {
    var shape = wrvq_shape()
    shape.dimensions = Int32(dimensions)
    shape.level_count = Int32(levels.count)
    shape.transform_block_dimensions = Int32(block)
    shape.scale = 1
    for (i, level) in levels.enumerated() {
      shape.setLevel(i) {
        $0.weight_bits = 16
        switch level {
        case .flat(let count, let rule):
          $0.weight_rule = Int32(rule.rawValue)
          $0.codeword_count = Int32(count)
        case .product(let pieces, let p, let rule):
          $0.kind = Int32(WRVQ_PRODUCT.rawValue)
          $0.weight_rule = Int32(rule.rawValue)
          $0.codeword_count = 16
          $0.piece_count = Int32(pieces)
          $0.piece_dimensions = Int32(p)
        }
      }
    }
    return shape
  }

  /// The transform as one row-major matrix.
  public var denseTransform: [Double] {
    if block == 0 { return [] }
    var dense = [Double](repeating: 0, count: dimensions * dimensions)
    var values = transform.makeIterator()
    for start in stride(from: 0, to: dimensions, by: block) {
      let end = min(start + block, dimensions)
      for i in start..<end {
        for j in start..<end { dense[i * dimensions + j] = Double(values.next()!) }
      }
    }
    return dense
  }

  public var referenceLevels: [Reference.Level] {
    zip(levels, codewords).map { Reference.Level($0, $1) }
  }

  /// The losses by the obvious encoder.
  public var referenceLosses: [Double] {
    Reference.losses(
      sample, dimensions: dimensions, levels: referenceLevels, transform: denseTransform)
  }

  /// Codeword `code` of flat level `level`.
  public func codeword(_ level: Int, _ code: Int) -> [Double] {
    codewords[level][code * dimensions..<(code + 1) * dimensions].map(Double.init)
  }

  public var values: [Float] { codewords.flatMap { $0 } + transform }

  /// What the first `count` levels leave of every row, at unit length; rows without rest left out.
  public func unitResiduals(after count: Int) -> [[Double]] {
    stride(from: 0, to: sample.count, by: dimensions).compactMap { start in
      var r = sample[start..<start + dimensions].map(Double.init)
      for level in referenceLevels.prefix(count) { r = Reference.rest(of: r, level, []) }
      let norm = length(r)
      return norm > 1e-6 ? r.map { $0 / norm } : nil
    }
  }
}

private struct SharedTrainer: @unchecked Sendable {
  let trainer: OpaquePointer
  let table: wrvq_training_kernels

  func work(_ unit: Int32) { table.trainer_work(trainer, unit) }
}
