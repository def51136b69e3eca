import Foundation
import TestSupport
import Testing

@testable import WRVQ

@Suite struct CodebookFileTests {
  /// Every kind of level, three dimensions, so that a product level is padded.
  private func sample() -> Codebook {
    let turn: [Float] = [0, 1, 0, -1, 0, 0, 0, 0, 1]
    return Codebook(
      dimensions: 3, metric: .cosine, scale: 0.125,
      levels: [
        Codebook.Level(
          kind: .flat(count: 2), weightRule: .one, codewords: [1, 2, 3, -4, 0.5, 0.25]),
        Codebook.Level(
          kind: .flat(count: 1), weightRule: .norm, weightBits: 2, codewords: [0, 1, 0],
          weights: [0, 0.5, 1, 2]),
        Codebook.Level(
          kind: .product(pieces: 2, pieceDimensions: 2), weightRule: .projection,
          codewords: (0..<64).map { Float($0 % 5) - 2 }, transform: turn),
      ],
      loss: [0.5, 0.25, 0.1])
  }

  private func expect(_ error: CodebookError, after change: (inout Codebook) -> Void) {
    var codebook = sample()
    change(&codebook)
    #expect(throws: error) { try codebook.validate() }
  }

  @Test func whatIsWrittenIsReadAgain() throws {
    let codebook = sample()
    #expect(try CodebookFile.decode(CodebookFile.encode(codebook)) == codebook)
  }

  @Test func theMetadataAreThoseOfTheFormat() throws {
    let file = try Safetensors(CodebookFile.encode(sample()))
    #expect(
      file.metadata == [
        "format": "wrvq-codebook-1", "dimensions": "3", "metric": "cosine", "scale": "0.125",
        "levels": #"[{"kind":"flat","weight":"one","weight_bits":16},"#
          + #"{"kind":"flat","weight":"norm","weight_bits":2},"#
          + #"{"kind":"product","weight":"projection","weight_bits":16}]"#,
        "loss": "[0.5,0.25,0.1]",
      ])
    #expect(
      file.tensors.mapValues(\.shape) == [
        "level.0.codewords": [2, 3], "level.1.codewords": [1, 3], "level.1.weights": [4],
        "level.2.codewords": [2, 16, 2], "level.2.transform": [3, 3],
      ])
    #expect(file.tensors.values.allSatisfy { $0.elementType == "F16" })
  }

  @Test func writingReplacesAFile() throws {
    let file = try TemporaryFile(Data("old".utf8), extension: "safetensors")
    try CodebookFile.write(sample(), path: file.path)
    #expect(try CodebookFile.read(path: file.path) == sample())
    #expect(throws: FileError.unwritable(reason: "there is no directory /nowhere")) {
      try CodebookFile.write(sample(), path: "/nowhere/file")
    }
  }

  @Test func singlePrecisionIsRoundedToHalves() throws {
    let header = #"""
      {"__metadata__":{"format":"wrvq-codebook-1","dimensions":"1","metric":"l2",\#
      "levels":"[{\"kind\":\"flat\",\"weight\":\"one\"}]"},\#
      "level.0.codewords":{"dtype":"F32","shape":[1,1],"data_offsets":[0,4]}}
      """#
    var data = withUnsafeBytes(of: UInt64(header.utf8.count).littleEndian) { Data($0) }
    data += Data(header.utf8)
    withUnsafeBytes(of: Float(0.1).bitPattern.littleEndian) { data += $0 }
    let codebook = try CodebookFile.decode(data)
    #expect(codebook.levels[0].codewords == [Float(Float16(0.1))])
    #expect(codebook.levels[0].weightBits == 16 && codebook.scale == 1 && codebook.loss.isEmpty)
    data.replaceSubrange(data.count - 4..<data.count, with: [0x00, 0x24, 0x74, 0x49])  // 1e6
    #expect(throws: CodebookError.notFinite(level: 0, part: "codewords")) {
      try CodebookFile.decode(data)
    }
  }

  @Test func otherSafetensorsAreForeign() throws {
    #expect(throws: FileError.self) {
      try CodebookFile.decode(Safetensors.encode(metadata: [:], halves: [("a", [1], [0])]))
    }
  }

  @Test func inconsistentCodebooksAreNamed() {
    expect(.badDimensions(0)) { $0.dimensions = 0 }
    expect(.badDimensions(16_001)) { $0.dimensions = 16_001 }
    expect(.badScale(0)) { $0.scale = 0 }
    expect(.badScale(.infinity)) { $0.scale = .infinity }
    expect(.badLevelCount(0, maximum: 16)) { $0.levels = [] }
    expect(.badFirstLevel) { $0.levels[0].weightRule = .norm }
    expect(.badFirstLevel) { $0.levels.swapAt(0, 2) }
    expect(.badCodewordCount(level: 1, count: 0, maximum: 65_536)) {
      $0.levels[1].kind = .flat(count: 0)
    }
    expect(.badPieces(level: 2, pieces: 3, pieceDimensions: 2, dimensions: 3)) {
      $0.levels[2].kind = .product(pieces: 3, pieceDimensions: 2)
    }
    expect(.badWeightBits(level: 2, bits: 5)) { $0.levels[2].weightBits = 5 }
    expect(.wrongCount(level: 0, part: "codewords", expected: 6, actual: 5)) {
      $0.levels[0].codewords.removeLast()
    }
    expect(.wrongCount(level: 1, part: "weights", expected: 4, actual: 0)) {
      $0.levels[1].weights = nil
    }
    expect(.notFinite(level: 2, part: "codewords")) { $0.levels[2].codewords[7] = .nan }
    expect(.notOrthogonal(level: 2, deviation: 3)) { $0.levels[2].transform![1] = 2 }
    expect(.badLoss) { $0.loss = [1] }
  }

  @Test func aCodebookIsIdentifiedByItsContents() throws {
    let codebook = sample()
    var canonical = Data("wrvq-codebook-1\n3\ncosine\n0.125\n".utf8)
    let lines = ["flat 2 0 0 one 16\n", "flat 1 0 0 norm 2\n", "product 16 2 2 projection 16\n"]
    for (level, line) in zip(codebook.levels, lines) {
      canonical += Data(line.utf8)
      canonical += Halves.littleEndian(level.codewords)
      canonical += Halves.littleEndian(level.transform ?? [])
      canonical += Halves.littleEndian(level.weights ?? [])
    }
    var hash = SHA256()
    hash.update(canonical)
    #expect(codebook.sha256 == hash.finish())
    var other = codebook
    other.levels[1].weights![3] = 3  // what codes mean depends on the weights' values, too
    #expect(other.sha256 != codebook.sha256)
  }

  @Test(
    arguments: [
      (1, "1.0"), (0.125, "0.125"), (1e-5, "0.00001"), (1.5e-7, "0.00000015"),
      (3e20, 3e20.description),
      (Float(1 << 24), "16777216.0"), (1.25e17, "125000000000000000.0"),
    ] as [(Float, String)])
  func theScaleIsWrittenWithoutExponent(scale: Float, text: String) {
    var codebook = sample()
    codebook.scale = scale
    let expected = text.contains("e") ? "300000000000000000000.0" : text
    #expect(codebook.scaleText == expected)
    #expect(Float(codebook.scaleText) == scale)
  }

  @Test func theHashIsSHA256() {
    let cases = [
      ("", "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"),
      ("abc", "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"),
      (
        "abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq",
        "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1"
      ),
      (
        String(repeating: "a", count: 1_000_000),
        "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0"
      ),
    ]
    for (text, expected) in cases {
      var hash = SHA256()
      hash.update(text.utf8)
      #expect(hash.finish().map { String(format: "%02x", $0) }.joined() == expected)
    }
  }

  @Test(arguments: [1, 3, 384, 768, 769, 1000, 1536, 4097]) func transformsAreCutIntoBlocks(
    dimensions: Int
  ) throws {
    let size = TransformBlocks.blockDimensions(of: dimensions)
    #expect(size <= (dimensions <= 768 ? 768 : dimensions <= 4096 ? 512 : 128))
    guard dimensions <= 1000 else { return }
    let count = TransformBlocks.valueCount(blockDimensions: size, dimensions: dimensions)
    let values = (0..<count).map { Float($0 % 11) }
    let blocks = try #require(
      TransformBlocks(blocks: values, blockDimensions: size, dimensions: dimensions))
    let dense = blocks.dense
    #expect(TransformBlocks(dense: dense, dimensions: dimensions) == blocks)
    var full = dense
    full[dimensions - 1] = 3
    #expect(
      TransformBlocks(dense: full, dimensions: dimensions).blockDimensions == dimensions
        || size == dimensions)
    #expect(TransformBlocks(dense: full, dimensions: dimensions).dense == full)
  }

  @Test func damageNeverCrashes() throws {
    let file = try CodebookFile.encode(sample())
    var mutator = Mutator(seed: 2)
    for _ in 0..<20_000 {
      if let codebook = try? CodebookFile.decode(mutator.mutate(file)) {
        _ = codebook.sha256
      }
    }
  }
}
