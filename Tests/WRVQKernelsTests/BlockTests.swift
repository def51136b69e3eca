import CWRVQKernels
import TestSupport
import Testing

@Suite struct BlockTests {
  /// Random entries, with the unused nibble of an odd number of pieces zero.
  private func entries(
    _ codebook: SampleCodebook, _ n: Int, _ numbers: inout TestNumbers
  ) -> [[UInt8]] {
    (0..<n).map { _ in
      var entry = (0..<codebook.entryBytes).map { _ in UInt8(numbers.below(256)) }
      if case .product(let pieces, _, _) = codebook.sample.levels.last!, pieces % 2 == 1 {
        entry[entry.count - 3] &= 15
      }
      return entry
    }
  }

  private func entry(
    _ codebook: SampleCodebook, _ block: GuardedBuffer<UInt8>, _ position: Int
  ) -> (UInt64, [UInt8]) {
    let entry = GuardedBuffer<UInt8>(count: codebook.entryBytes)
    let row = codebook.withLayout {
      codebook.kernels.block_get($0, block.pointer, Int32(position), entry.pointer)
    }
    return (row, entry.elements)
  }

  @Test(arguments: KernelLevel.available, SampleShape.all)
  func entriesSurviveTheRoundTripAtEveryPosition(_ level: KernelLevel, _ sample: SampleShape) {
    let codebook = SampleCodebook(level, sample)
    var numbers = TestNumbers(seed: 1)
    let block = GuardedBuffer<UInt8>(count: Int(codebook.layout.block_bytes))
    for i in 0..<block.count { block[i] = 0xa5 }
    var rows = (0..<32).map { _ in numbers.next() >> 16 }
    rows[3] = 0
    rows[4] = WRVQ_ROW_DEAD
    var fields = entries(codebook, 32, &numbers)
    func put(_ position: Int) {
      let entry = GuardedBuffer(fields[position])
      codebook.withLayout {
        codebook.kernels.block_put(
          $0, block.pointer, Int32(position), rows[position], entry.pointer)
      }
    }
    for position in (0..<32).shuffled(using: &numbers) { put(position) }
    for position in 0..<32 {
      #expect(entry(codebook, block, position) == (rows[position], fields[position]))
      #expect(codebook.kernels.block_row(block.pointer, Int32(position)) == rows[position])
    }
    // Replacing one entry leaves the others alone.
    for position in [0, 15, 16, 31] {
      rows[position] = numbers.next() >> 16
      fields[position] = entries(codebook, 1, &numbers)[0]
      put(position)
      for other in 0..<32 {
        #expect(entry(codebook, block, other) == (rows[other], fields[other]))
      }
    }
  }

  @Test(arguments: KernelLevel.available, SampleShape.all)
  func aRowIsReplacedWithoutTouchingAnythingElse(_ level: KernelLevel, _ sample: SampleShape) {
    let codebook = SampleCodebook(level, sample)
    var numbers = TestNumbers(seed: 2)
    let rows = (0..<32).map { _ in numbers.next() >> 16 }
    let block = codebook.block(rows, entries(codebook, 32, &numbers))
    for position in 0..<32 {
      let before = block.elements
      codebook.kernels.block_set_row(block.pointer, Int32(position), WRVQ_ROW_DEAD)
      for i in before.indices {
        #expect(block[i] == (i / 6 == position ? 0xff : before[i]))
      }
      codebook.kernels.block_set_row(block.pointer, Int32(position), rows[position])
      #expect(block.elements == before)
    }
  }

  /// The bytes of a block are disk format: written out from the header's description.
  @Test(arguments: KernelLevel.available, SampleShape.all)
  func aBlockIsTransposedAsDescribed(_ level: KernelLevel, _ sample: SampleShape) {
    let codebook = SampleCodebook(level, sample), layout = codebook.layout
    var numbers = TestNumbers(seed: 3)
    let rows = (0..<32).map { _ in numbers.next() >> 16 }
    let fields = entries(codebook, 32, &numbers)
    let block = codebook.block(rows, fields).elements
    var expected = [UInt8](repeating: 0, count: block.count)
    for (e, entry) in fields.enumerated() {
      for i in 0..<6 { expected[6 * e + i] = UInt8(rows[e] >> (8 * UInt64(i)) & 255) }
      var rest = entry[...]
      func put(_ offset: Int, _ bytes: Int) {
        for i in 0..<bytes { expected[offset + bytes * e + i] = rest.removeFirst() }
      }
      if codebook.isL2 { put(Int(layout.constants_offset), 2) }
      for (i, l) in sample.levels.enumerated().dropFirst() {
        switch l {
        case .flat: put(layout.codesOffset(i), layout.codeBytes(i))
        case .product(let pieces, _, _):
          for piece in 0..<pieces {
            let byte = rest[rest.startIndex + piece / 2]
            let code = piece % 2 == 0 ? byte & 15 : byte >> 4
            expected[layout.codesOffset(i) + 16 * piece + e % 16] |= e < 16 ? code : code << 4
          }
          rest.removeFirst((pieces + 1) / 2)
        }
        put(layout.factorsOffset(i), 2)
      }
    }
    #expect(block == expected)
  }

  @Test func bothLevelsWriteTheSameBlocks() {
    for sample in SampleShape.all {
      let blocks = KernelLevel.available.map { level in
        let codebook = SampleCodebook(level, sample)
        var numbers = TestNumbers(seed: 4)
        return codebook.block(
          (0..<32).map { _ in numbers.next() >> 16 }, entries(codebook, 32, &numbers)
        ).elements
      }
      #expect(blocks.allSatisfy { $0 == blocks[0] })
    }
  }
}
