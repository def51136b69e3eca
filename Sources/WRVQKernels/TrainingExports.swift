import CWRVQKernels

// The only entries of wrvq_training.h.  A closure that becomes a C function
// pointer holds exactly one call: inside it nothing would be inlined.

@inline(__always)
private func fill(_ kernels: UnsafeMutablePointer<wrvq_training_kernels>) {
  kernels.pointee = wrvq_training_kernels(
    default_transform_block: { defaultTransformBlock($0) },
    plan_product: { planProduct($0) },
    length_keys: { lengthKeys($0, $1, $2, $3) },
    median_scale: { medianScale($0, $1) },
    prepare_sample: { prepareSample($0, $1, $2, $3, $4) },
    trainer_bytes: { trainerBytes($0, $1) },
    trainer_begin: { trainerBegin($0, $1, $2, $3, $4, $5) },
    trainer_units: { trainerUnits($0) },
    trainer_work: { trainerWork($0, $1) },
    trainer_advance: { trainerAdvance($0) },
    trainer_level: { trainerLevel($0) },
    trainer_progress: { trainerProgress($0) },
    trainer_codewords: { trainerCodewords($0, $1) },
    trainer_transform: { trainerTransform($0) },
    trainer_weights: { trainerWeights($0, $1) },
    trainer_loss: { trainerLoss($0, $1) },
    fit_weights: { fitWeights($0, $1, $2, $3, $4) })
}

#if WRVQ_V3
  @c @implementation
  public func wrvq_training_v3(_ kernels: UnsafeMutablePointer<wrvq_training_kernels>) {
    fill(kernels)
  }
#else
  @c @implementation
  public func wrvq_training_base(_ kernels: UnsafeMutablePointer<wrvq_training_kernels>) {
    fill(kernels)
  }
#endif

@inline(__always)
private func trainer(_ opaque: OpaquePointer) -> UnsafeMutablePointer<Trainer> {
  UnsafeMutablePointer<Trainer>(opaque)
}

/// One block up to 768 dimensions; equal blocks of at most 512 up to 4,096, of at most 128 beyond.
///
/// The eigen-decomposition costs the cube of a block's size, and a query its square.
@inline(never) func defaultTransformBlock(_ dimensions: Int32) -> Int32 {
  let d = Int(dimensions)
  if d <= 768 { return dimensions }
  let most = d <= 4096 ? 512 : 128
  let blocks = (d &+ most &- 1) / most
  return Int32(truncatingIfNeeded: (d &+ blocks &- 1) / blocks)
}

@inline(never)
func trainerBytes(_ shape: UnsafePointer<wrvq_shape>, _ n: Int64) -> Int64 {
  if n < 1 || n > Int64(UInt32.max) || shapeCheck(shape) != WRVQ_OK { return 0 }
  // Laying out at a made-up address yields the size without touching memory.
  var arena = Arena(UnsafeMutableRawPointer(bitPattern: 64)!)
  _ = arena.take(1, of: Trainer.self)
  _ = arena.take(1, of: wrvq_shape.self)
  _ = TrainerMemory(shape, rows: Int(n), &arena)
  return Int64(arena.bytes)
}

@inline(never)
func trainerBegin(
  _ shape: UnsafePointer<wrvq_shape>, _ sample: MutableFloatPointer, _ n: Int64, _ seed: UInt64,
  _ iterations: Int32, _ memory: UnsafeMutableRawPointer
) -> OpaquePointer {
  let trainer = memory.assumingMemoryBound(to: Trainer.self)
  trainer.initialize(
    to: Trainer(
      shape, sample, rows: Int(n), seed: seed, iterations: lesser(100, greater(1, Int(iterations))),
      at: memory))
  return OpaquePointer(trainer)
}

@inline(never) func trainerUnits(_ opaque: OpaquePointer) -> Int32 {
  Int32(truncatingIfNeeded: trainer(opaque).pointee.units)
}

@inline(never) func trainerWork(_ opaque: OpaquePointer, _ unit: Int32) {
  let trainer = trainer(opaque)
  trainer.pointee.moved(to: UnsafeMutableRawPointer(trainer)).work(Int(unit))
}

@inline(never) func trainerAdvance(_ opaque: OpaquePointer) -> wrvq_status {
  trainer(opaque).pointee.advance()
}

@inline(never) func trainerLevel(_ opaque: OpaquePointer) -> Int32 {
  Int32(truncatingIfNeeded: trainer(opaque).pointee.level)
}

@inline(never) func trainerProgress(_ opaque: OpaquePointer) -> Float {
  trainer(opaque).pointee.progress
}

@inline(never)
func trainerCodewords(_ opaque: OpaquePointer, _ level: Int32) -> FloatPointer {
  let t = trainer(opaque).pointee
  return FloatPointer(t.memory.codewords + codewordOffset(t.shape, level: Int(level)))
}

@inline(never) func trainerTransform(_ opaque: OpaquePointer) -> FloatPointer {
  FloatPointer(trainer(opaque).pointee.memory.transform)
}

@inline(never)
func trainerWeights(_ opaque: OpaquePointer, _ level: Int32) -> FloatPointer {
  FloatPointer(trainer(opaque).pointee.memory.grids + Int(level) &* weightGridValues)
}

@inline(never) func trainerLoss(_ opaque: OpaquePointer, _ level: Int32) -> Double {
  trainer(opaque).pointee.memory.losses[Int(level)]
}

@inline(never)
func fitWeights(
  _ weights: FloatPointer, _ n: Int, _ count: Int32, _ bins: UnsafeMutablePointer<UInt32>,
  _ grid: MutableFloatPointer
) {
  WeightGrid(values: grid, count: Int(count)).fit(weights, n, bins)
}
