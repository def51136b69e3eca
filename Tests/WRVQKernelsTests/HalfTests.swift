import CWRVQKernels
import TestSupport
import Testing

@Suite struct HalfTests {
  private func floats(_ kernels: wrvq_kernels, _ halves: [UInt16]) -> [Float] {
    let input = GuardedBuffer(halves), output = GuardedBuffer<Float>(count: halves.count)
    kernels.half_to_float(input.pointer, output.pointer, halves.count)
    return output.elements
  }

  private func halves(_ kernels: wrvq_kernels, _ floats: [Float]) -> [UInt16] {
    let input = GuardedBuffer(floats), output = GuardedBuffer<UInt16>(count: floats.count)
    kernels.float_to_half(input.pointer, output.pointer, floats.count)
    return output.elements
  }

  @Test(arguments: KernelLevel.available)
  func everyHalfIsWidenedExactly(_ level: KernelLevel) {
    let all = (0...UInt16.max).map { $0 }
    for (half, float) in zip(all, floats(level.kernels, all)) {
      let expected = Float(Float16(bitPattern: half))
      if expected.isNaN {
        if !float.isNaN { Issue.record("\(half) is a NaN, not \(float)") }
      } else if float.bitPattern != expected.bitPattern {
        Issue.record("\(half) is \(expected), not \(float)")
      }
    }
  }

  @Test(arguments: KernelLevel.available)
  func everyFiniteHalfSurvivesTheRoundTrip(_ level: KernelLevel) {
    let all = (0...UInt16.max).map { $0 }, kernels = level.kernels
    for (half, back) in zip(all, halves(kernels, floats(kernels, all))) {
      let value = Float16(bitPattern: half)
      let expected = value.isNaN ? 0 : value.isInfinite ? half - 1 : half
      if back != expected { Issue.record("\(half) became \(back)") }
    }
  }

  @Test(arguments: KernelLevel.available)
  func floatsAreRoundedToTheNearestHalfAndSaturate(_ level: KernelLevel) {
    // Each half, the middles between it and the next one, and the floats beside those.
    var inputs: [Float] = []
    for half in stride(from: UInt16(0), to: 0x7c00, by: 7) {
      let low = Float(Float16(bitPattern: half)), high = Float(Float16(bitPattern: half + 1))
      let middle = high.isInfinite ? 65520 : (low + high) / 2
      inputs += [low, low.nextUp, low.nextDown, middle, middle.nextUp, middle.nextDown]
    }
    inputs += [65504, 65519.996, 65520, 65535, 65536, 1e10, 3.4e38, .infinity, .nan, .signalingNaN]
    inputs += [0x1p-24, 0x1p-25, Float(0x1p-25).nextUp, 0x1p-26, 0x1p-149, 0x1p-14, 0]
    inputs += inputs.map { -$0 }
    for (float, half) in zip(inputs, halves(level.kernels, inputs)) {
      let expected = KernelReference.half(float)
      if half != expected { Issue.record("\(float) became \(half), not \(expected)") }
    }
  }

  @Test(arguments: KernelLevel.available)
  func randomBitsAreRoundedToTheNearestHalf(_ level: KernelLevel) {
    var numbers = TestNumbers(seed: 1)
    let inputs = (0..<20_000).map { _ in
      // Half of them near the range of halves.
      let bits = UInt32(truncatingIfNeeded: numbers.next())
      return Float(bitPattern: bits & 1 == 0 ? bits : bits & 0x8fff_ffff | 0x3000_0000)
    }
    for (float, half) in zip(inputs, halves(level.kernels, inputs))
    where half != KernelReference.half(float) {
      Issue.record("\(float) became \(half), not \(KernelReference.half(float))")
    }
  }

  @Test(arguments: KernelLevel.available)
  func everyTailIsConverted(_ level: KernelLevel) {
    let kernels = level.kernels
    var numbers = TestNumbers(seed: 2)
    for n in tailLengths {
      let values = numbers.normals(n)
      let rounded = values.map(KernelReference.half)
      #expect(halves(kernels, values) == rounded)
      #expect(floats(kernels, rounded) == rounded.map { Float(KernelReference.value(ofHalf: $0)) })
    }
  }
}
