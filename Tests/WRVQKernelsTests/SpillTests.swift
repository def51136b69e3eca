import CWRVQKernels
import TestSupport
import Testing

@Suite struct SpillTests {
  /// The cost of a second list in double precision: squared distance, less ‖x‖², plus the squared
  /// part of the residual along the first list's.
  private func costs(_ codebook: SampleCodebook, _ x: [Double], first: Int) -> [Double] {
    let c0 = codebook.list(first)
    let residual = zip(x, c0).map { $0 - $1 }
    let length = residual.reduce(0) { $0 + $1 * $1 }.squareRoot()
    let direction = residual.map { length > 0 ? $0 / length : 0 }
    return (0..<codebook.lists).map { list in
      let c = codebook.list(list)
      let missed = zip(x, c).map { $0 - $1 }
      let along = zip(missed, direction).reduce(0) { $0 + $1.0 * $1.1 }
      return missed.reduce(0) { $0 + $1 * $1 } + along * along
    }
  }

  @Test(arguments: KernelLevel.available, SampleShape.all)
  func secondListIsTheBestOneBesideTheFirst(_ level: KernelLevel, _ sample: SampleShape) {
    let codebook = SampleCodebook(level, sample), n = 37, d = codebook.d
    let prepared = codebook.prepare(codebook.vectors(n, seed: 71))
    let (encoded, _) = codebook.encode(prepared)
    let guardedPrepared = GuardedBuffer(prepared), guardedEncoded = GuardedBuffer(encoded)
    let lists = GuardedBuffer<UInt32>(count: n).spoil(), scratch = codebook.scratch(n)
    codebook.kernels.spill_lists(
      codebook.codebook, guardedPrepared.pointer, n, guardedEncoded.pointer, scratch.raw,
      lists.pointer)
    for row in 0..<n {
      let first = Int(encoded[row].list), second = Int(lists.elements[row])
      if codebook.lists == 1 {
        #expect(second == first)
        continue
      }
      #expect(second != first && second < codebook.lists)
      let x = prepared[row * d..<(row + 1) * d].map(Double.init)
      let all = costs(codebook, x, first: first)
      let best = all.indices.filter { $0 != first }.map { all[$0] }.min()!
      let norm = x.reduce(0) { $0 + $1 * $1 }
      #expect(all[second] <= best + 1e-4 * (norm + best))
    }
    withExtendedLifetime((guardedPrepared, guardedEncoded, scratch)) {}
  }

  @Test(arguments: KernelLevel.available, SampleShape.all)
  func encodingInTheNearestListsIsEncoding(_ level: KernelLevel, _ sample: SampleShape) {
    let codebook = SampleCodebook(level, sample), n = 21
    let prepared = codebook.prepare(codebook.vectors(n, seed: 72))
    let (encoded, entries) = codebook.encode(prepared)
    let guardedPrepared = GuardedBuffer(prepared)
    let lists = GuardedBuffer(encoded.map(\.list)), scratch = codebook.scratch(n)
    let again = GuardedBuffer<wrvq_encoded>(count: n)
    codebook.withLayout { layout in
      let bytes = GuardedBuffer<UInt8>(count: n * Int(layout.pointee.entry_bytes))
      codebook.kernels.encode_in_lists(
        codebook.codebook, layout, guardedPrepared.pointer, n, lists.pointer, scratch.raw,
        again.pointer, bytes.pointer)
      #expect(bytes.elements == Array(entries.joined()))
    }
    #expect(again.elements.map(\.loss) == encoded.map(\.loss))
    #expect(again.elements.map(\.sublist) == encoded.map(\.sublist))
    withExtendedLifetime((guardedPrepared, lists, scratch)) {}
  }
}
