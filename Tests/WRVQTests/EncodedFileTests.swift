import Foundation
import TestSupport
import Testing

@testable import WRVQ

@Suite struct EncodedFileTests {
  private static let codebook = EncoderSample.codebook(bits: 4)

  private static func vectors(_ rows: Int = 12) throws -> EncodedVectors {
    try Codebook.Encoder(codebook).encode(EncoderSample.rows(rows))
  }

  private static func decode(_ data: Data) throws -> EncodedVectors {
    try EncodedFile.decode(data, codebook: codebook)
  }

  @Test(arguments: [0, 1, 12]) func whatIsWrittenIsReadAgain(rows: Int) throws {
    let vectors = try Self.vectors(rows)
    let data = try EncodedFile.encode(vectors, codebook: Self.codebook)
    #expect(try Self.decode(data) == vectors)
    let file = try TemporaryFile(Data("old".utf8), extension: "safetensors")
    try EncodedFile.write(vectors, codebook: Self.codebook, path: file.path)
    #expect(try Data(contentsOf: URL(fileURLWithPath: file.path)) == data)
    #expect(try EncodedFile.read(path: file.path, codebook: Self.codebook) == vectors)
  }

  @Test func theTensorsAreThoseOfTheFormat() throws {
    let file = try Safetensors(EncodedFile.encode(Self.vectors(), codebook: Self.codebook))
    #expect(
      file.tensors.mapValues(\.shape) == [
        "codes.0": [12], "codes.1": [12], "codes.2": [12, 3], "codes.3": [12], "codes.4": [12],
        "codes.5": [12, 3], "weights": [12, 6],
      ])
    #expect(
      file.tensors.mapValues(\.elementType) == [
        "codes.0": "U8", "codes.1": "U8", "codes.2": "U8", "codes.3": "U16", "codes.4": "U8",
        "codes.5": "U8", "weights": "F16",
      ])
    #expect(file.metadata["format"] == "wrvq-encoded-1")
    #expect(file.metadata["codebook_sha256"] == hexadecimal(Self.codebook.sha256))
    // Elements of two bytes lie at even addresses.
    for name in ["weights", "codes.3"] {
      #expect(file.tensors[name]!.bytes.lowerBound.isMultiple(of: 2))
    }
  }

  @Test func metadataNeedNotBeThere() throws {
    let codebook = Codebook(
      dimensions: 1, metric: .l2,
      levels: [Codebook.Level(kind: .flat(count: 300), weightRule: .one, codewords: ramp)])
    func file(_ metadata: String, _ type: String, _ codes: [UInt8], weights: [UInt8]) -> Data {
      let header = """
        {\(metadata)"codes.0":{"dtype":"\(type)","shape":[2],"data_offsets":[0,\(codes.count)]},\
        "weights":{"dtype":"F16","shape":[2,1],"data_offsets":[\(codes.count),\(codes.count + 4)]}}
        """
      return withUnsafeBytes(of: UInt64(header.utf8.count).littleEndian) { Data($0) }
        + Data(header.utf8) + codes + weights
    }
    let ones: [UInt8] = [0, 0x3c, 0, 0x3c]
    let narrow = try EncodedFile.decode(file("", "U8", [7, 9], weights: ones), codebook: codebook)
    #expect(narrow == EncodedVectors(rowCount: 2, codes: [.flat([7, 9])], weights: [1, 1]))
    let wide = file("", "U16", [1, 1, 2, 0], weights: ones)
    #expect(try EncodedFile.decode(wide, codebook: codebook).codes == [.flat([257, 2])])
    #expect(throws: EncodingError.codeOutOfRange(level: 0, row: 0, code: 511, 300)) {
      try EncodedFile.decode(file("", "U16", [255, 1, 2, 0], weights: ones), codebook: codebook)
    }
    #expect(throws: EncodingError.weightNotFinite(row: 1, level: 0)) {
      try EncodedFile.decode(
        file("", "U8", [1, 1], weights: [0, 0, 0, 0x7c]), codebook: codebook)
    }
    for metadata in [
      #"{"loss":"[1,2]"}"#, #"{"loss":"[-1]"}"#, #"{"loss":"x"}"#, #"{"format":"wrvq-encoded-2"}"#,
      #"{"codebook_sha256":"00"}"#,
    ] {
      let bad = file("\"__metadata__\":\(metadata),", "U8", [7, 9], weights: ones)
      #expect(throws: (any Error).self) { try EncodedFile.decode(bad, codebook: codebook) }
    }
  }

  private var ramp: [Float] { (0..<300).map { EncoderSample.half(Float($0) / 8) } }

  @Test func anotherCodebookIsNoticed() throws {
    let data = try EncodedFile.encode(Self.vectors(), codebook: Self.codebook)
    let other = EncoderSample.codebook(bits: 4, seed: 9)
    #expect(
      throws: EncodingError.otherCodebook(
        sha256: hexadecimal(Self.codebook.sha256), expected: hexadecimal(other.sha256))
    ) { try EncodedFile.decode(data, codebook: other) }
  }

  @Test func otherFilesAreForeign() throws {
    let codebookFile = try CodebookFile.encode(Self.codebook)
    #expect(
      throws: FileError.foreign(
        expected: "encoded vectors",
        reason: "the metadata's format is \"wrvq-codebook-1\"; expected \"wrvq-encoded-1\"")
    ) { try Self.decode(codebookFile) }
    for data in [
      Data(), Data("no safetensors".utf8),
      Safetensors.encode(metadata: [:], halves: [("a", [1], [0])]),
      Safetensors.encode(metadata: [:], halves: [("weights", [6], [0, 0, 0, 0, 0, 0])]),
      Safetensors.encode(metadata: [:], halves: [("weights", [1, 6], [0, 0, 0, 0, 0, 0])]),
    ] {
      #expect(throws: FileError.self) { try Self.decode(data) }
    }
    let five = Safetensors.encode(metadata: [:], halves: [("weights", [1, 5], [0, 0, 0, 0, 0])])
    #expect(throws: EncodingError.levelCount(5, expected: 6)) { try Self.decode(five) }
  }

  @Test func aTruncatedFileIsAnError() throws {
    let data = try EncodedFile.encode(Self.vectors(), codebook: Self.codebook)
    for bytes in 0..<data.count {
      #expect(throws: FileError.self) { try Self.decode(data.prefix(bytes)) }
    }
  }

  @Test func damageNeverCrashes() throws {
    let data = try EncodedFile.encode(Self.vectors(3), codebook: Self.codebook)
    let decoder = try Codebook.Decoder(Self.codebook, threads: 1)
    var mutator = Mutator(seed: 4)
    for _ in 0..<5_000 {
      if let vectors = try? Self.decode(mutator.mutate(data)) {
        _ = try decoder.decode(vectors)
      }
    }
  }

  @Test func whatDoesNotFitIsNotWritten() throws {
    var vectors = try Self.vectors()
    vectors.codes[1] = .flat([UInt16](repeating: 20, count: 12))
    let file = try TemporaryFile(Data("old".utf8), extension: "safetensors")
    #expect(throws: EncodingError.self) {
      try EncodedFile.write(vectors, codebook: Self.codebook, path: file.path)
    }
    #expect(try Data(contentsOf: URL(fileURLWithPath: file.path)) == Data("old".utf8))
  }
}
