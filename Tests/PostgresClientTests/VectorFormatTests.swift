import Testing

@testable import PostgresClient

@Suite struct VectorFormatTests {
  private func decode(
    _ format: VectorFormat, _ bytes: [UInt8]
  ) throws(VectorFormat.Defect) -> [Float] {
    var vector: [Float] = [9]
    let result = bytes.withUnsafeBytes { value in
      Result { () throws(VectorFormat.Defect) in try format.decode(value, into: &vector) }
    }
    try result.get()
    return vector
  }

  private func int32(_ value: Int32) -> [UInt8] {
    withUnsafeBytes(of: value.bigEndian, Array.init)
  }

  private func array(_ elements: [Float?], axes: Int32 = 1, type: Int32 = 700) -> [UInt8] {
    var bytes = int32(axes) + int32(elements.contains(nil) ? 1 : 0) + int32(type)
    if axes > 0 { bytes += int32(Int32(elements.count)) + int32(1) }
    for element in elements {
      bytes +=
        element.map { int32(4) + int32(Int32(bitPattern: $0.bitPattern)) } ?? int32(-1)
    }
    return bytes
  }

  @Test func arraysAreDecoded() throws {
    #expect(try decode(.realArray, array([1, -0.5, 3])) == [1, -0.5, 3])
  }

  @Test func pgvectorsTypesAreDecoded() throws {
    #expect(try decode(.vector, [0, 2, 0, 0, 0x3f, 0x80, 0, 0, 0xbf, 0, 0, 0]) == [1, -0.5])
    #expect(try decode(.halfvec, [0, 2, 0, 0, 0x3c, 0, 0xb8, 0]) == [1, -0.5])
  }

  @Test func defectsAreNamed() {
    let cases: [([UInt8], VectorFormat.Defect)] = [
      (array([], axes: 0), .empty),
      (array([1], axes: 2), .multidimensional(2)),
      (array([1, nil, 3]), .nullElement(2)),
      (array([1, 2, .nan]), .notFinite(element: 3)),
      (array([.infinity]), .notFinite(element: 1)),
      (array([1], type: 701), .malformed),
      (array([1, 2]) + [0], .malformed),
      (array([1, 2]).dropLast(), .malformed),
      (array([Float?](repeating: 0, count: 16_001)), .tooManyDimensions(16_001)),
      ([], .malformed),
    ]
    for (bytes, defect) in cases {
      #expect(throws: defect) { try decode(.realArray, bytes) }
    }
    #expect(throws: VectorFormat.Defect.empty) { try decode(.vector, [0, 0, 0, 0]) }
    #expect(throws: VectorFormat.Defect.malformed) { try decode(.vector, [0, 9, 0, 0, 1, 2]) }
    #expect(throws: VectorFormat.Defect.malformed) { try decode(.halfvec, [0xff, 0xff, 0, 0]) }
  }

  @Test func everyPrefixOfAValueIsAnError() {
    let bytes = array([1, 2, 3])
    for count in 0..<bytes.count {
      #expect(throws: VectorFormat.Defect.self) {
        try decode(.realArray, Array(bytes.prefix(count)))
      }
    }
  }
}
