import Foundation
import WRVQ

/// Small files of every kind that is read.
enum FuzzSamples {
  static var npy: [Data] {
    let shape = "'fortran_order': False, 'shape': (3, 2), }"
    return [
      npy(version: 1, "{'descr': '<f4', \(shape)", floats([1, -2, 0.5, 4, 1e-30, 3e38])),
      npy(version: 2, "{'descr': '<f2', \(shape)", halves([1, -2, 0.5, 4, 6e-8, 65504])),
    ]
  }

  private static func npy(version: UInt8, _ header: String, _ values: Data) -> Data {
    let lengthBytes = version == 1 ? 2 : 4
    let used = 8 + lengthBytes + header.utf8.count + 1
    let text = header + String(repeating: " ", count: (64 - used % 64) % 64) + "\n"
    let length = (0..<lengthBytes).map { UInt8(text.utf8.count >> (8 * $0) & 0xff) }
    return Data([0x93] + Array("NUMPY".utf8) + [version, 0] + length) + Data(text.utf8) + values
  }

  static var fvecs: [Data] {
    [
      (0..<4).reduce(into: Data()) { $0 += Data([3, 0, 0, 0]) + floats([Float($1), 0.5, -7]) },
      Data([1, 0, 0, 0]) + floats([2]),
    ]
  }

  static func safetensors() throws -> [Data] {
    [
      Safetensors.encode(
        metadata: ["format": "none", "a \"quoted\" key": "Ä\n"],
        halves: [("a", [2, 3], [1, 2, 3, 4, 5, 6]), ("b", [], [1]), ("empty", [0, 4], [])]),
      try encoded(),
    ]
  }

  /// Every kind of level, seven dimensions, so that the product level is padded.
  static let codebook: Codebook = {
    let d = 7
    let numbers = { (count: Int) in
      (0..<count).map { (i: Int) -> Float in Float(i * 37 % 19) / 8 - 1 }
    }
    var turn = [Float](repeating: 0, count: d * d)
    for i in 0..<d { turn[i * d + (i + 3) % d] = i.isMultiple(of: 2) ? 1 : -1 }
    return Codebook(
      dimensions: d, metric: .l2, scale: 0.25,
      levels: [
        Codebook.Level(kind: .flat(count: 5), weightRule: .one, codewords: numbers(5 * d)),
        Codebook.Level(
          kind: .flat(count: 300), weightRule: .projection, weightBits: 2,
          codewords: numbers(300 * d), weights: [-0.5, 0.25, 0.5, 1]),
        Codebook.Level(
          kind: .product(pieces: 2, pieceDimensions: 4), weightRule: .norm,
          codewords: numbers(2 * 16 * 4), transform: turn),
      ],
      loss: [3, 2.5, 0.125])
  }()

  static func encoded() throws -> Data {
    let rows = (0..<9 * 7).map { (i: Int) -> Float in Float(i * 29 % 31) / 4 - 3 }
    let vectors = try Codebook.Encoder(codebook, threads: 1).encode(rows)
    return try EncodedFile.encode(vectors, codebook: codebook)
  }

  private static func floats(_ values: [Float]) -> Data {
    values.reduce(into: Data()) { data, value in
      withUnsafeBytes(of: value.bitPattern.littleEndian) { data += $0 }
    }
  }

  private static func halves(_ values: [Float]) -> Data {
    values.reduce(into: Data()) { data, value in
      withUnsafeBytes(of: Float16(value).bitPattern.littleEndian) { data += $0 }
    }
  }
}
