import Testing

@testable import PostgresClient

@Suite struct BinaryCopyDecoderTests {
  private static let header =
    Array("PGCOPY\n".utf8) + [0xff, 0x0d, 0x0a, 0, 0, 0, 0, 0, 0, 0, 0, 0]

  /// Two rows of two fields; the first field of the second row is NULL.
  private let stream: [UInt8] =
    header
    + [0, 2, 0, 0, 0, 1, 7, 0, 0, 0, 2, 8, 9]
    + [0, 2, 0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0]
    + [0xff, 0xff]

  private func decode(_ chunks: [[UInt8]]) throws -> [[[UInt8]?]] {
    var rows: [[[UInt8]?]] = []
    var decoder = BinaryCopyDecoder()
    for chunk in chunks {
      try chunk.withUnsafeBytes { bytes in
        try decoder.decode(bytes) { rows.append($0.map { $0.map(Array.init) }) }
      }
    }
    try decoder.finish()
    return rows
  }

  @Test func rowsAreDecodedHoweverTheyAreCut() throws {
    let expected: [[[UInt8]?]] = [[[7], [8, 9]], [nil, []]]
    #expect(try decode([stream]) == expected)
    #expect(try decode(stream.map { [$0] }) == expected)
    for cut in 0...stream.count {
      #expect(try decode([Array(stream[..<cut]), Array(stream[cut...])]) == expected)
    }
  }

  @Test func headerExtensionsAreSkipped() throws {
    var stream = Self.header
    stream[stream.count - 1] = 3
    #expect(try decode([stream + [1, 2, 3, 0xff, 0xff]]) == [])
  }

  @Test func anUnknownCriticalFlagIsAnError() {
    var stream = stream
    stream[12] = 1
    #expect(throws: PostgresError.self) { try decode([stream]) }
  }

  @Test func aStreamThatStopsShortIsAnError() {
    for cut in 0..<stream.count {
      #expect(throws: PostgresError.self) { try decode([Array(stream[..<cut])]) }
    }
  }

  @Test func impossibleNumbersAreErrors() {
    let bad: [[UInt8]] = [
      Array("not a copy stream at all".utf8),
      Self.header + [0xff, 0xfe],
      Self.header + [0, 1, 0xff, 0xff, 0xff, 0xfe],
      stream + [0],
    ]
    for stream in bad { #expect(throws: PostgresError.self) { try decode([stream]) } }
  }

  @Test func anErrorOfTheReceiverComesThrough() {
    struct Stop: Error {}
    var decoder = BinaryCopyDecoder()
    #expect(throws: Stop.self) {
      try stream.withUnsafeBytes { try decoder.decode($0) { _ in throw Stop() } }
    }
  }
}
