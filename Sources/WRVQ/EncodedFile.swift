import Foundation

/// Encoded vectors in a safetensors file.
///
/// Tensors: for each level `codes.{i}`, flat `[n]` of `uint8`, or of `uint16` above 256 codewords,
/// product `[n, m]` of `uint8`, one 4-bit code a byte; and `weights` `[n, levels]` of `float16`:
/// the factors of the codewords, of the scaled vector.  Metadata, none of which need be there:
/// `format` (`wrvq-encoded-1`), `codebook_sha256` in hexadecimal, and `loss` (a JSON list
/// of numbers, one a level).
public enum EncodedFile {
  private static let format = "wrvq-encoded-1"
}

// MARK: - Reading

extension EncodedFile {
  /// Reads vectors that were encoded with a codebook, and checks that they fit it.
  ///
  /// - Throws: `FileError` or `EncodingError`.
  public static func read(path: String, codebook: Codebook) throws -> EncodedVectors {
    try vectors(in: Safetensors(path: path), codebook)
  }

  /// Decodes and checks the bytes of a file.
  ///
  /// - Throws: `FileError` or `EncodingError`.
  public static func decode(_ data: Data, codebook: Codebook) throws -> EncodedVectors {
    try vectors(in: Safetensors(data), codebook)
  }

  private static func vectors(
    in file: Safetensors, _ codebook: Codebook
  ) throws -> EncodedVectors {
    if let found = file.metadata["format"], found != format {
      throw FileError.foreign(
        expected: "encoded vectors",
        reason: "the metadata's format is \"\(found.prefix(100))\"; expected \"\(format)\"")
    }
    let expected = hexadecimal(codebook.sha256)
    if let found = file.metadata["codebook_sha256"], found != expected {
      throw EncodingError.otherCodebook(sha256: String(found.prefix(100)), expected: expected)
    }
    let levels = codebook.levels.count
    let rows = try rowCount(of: file, levels: levels)
    let codes = try codebook.levels.enumerated().map { index, level in
      try self.codes(ofLevel: index, level.kind, rows: rows, in: file)
    }
    _ = try file.elementType(of: "weights", among: [.float16])
    let bits = Halves.bits(littleEndian: try file.bytes(of: "weights"))
    let vectors = EncodedVectors(
      rowCount: rows, codes: codes, weights: bits.map { Float16(bitPattern: $0) },
      loss: try loss(in: file, levels: levels))
    try vectors.validate(for: codebook, rows: 0..<rows)
    return vectors
  }

  /// The rows, by the tensor of weights, after checking that there are no other levels' codes.
  private static func rowCount(of file: Safetensors, levels: Int) throws -> Int {
    let shape = try file.tensor("weights").shape
    guard shape.count == 2 else {
      throw FileError.malformed(
        reason: "tensor \"weights\" has shape \(shape); expected [n, \(levels)]")
    }
    guard shape[1] == levels, file.tensors["codes.\(levels)"] == nil else {
      throw EncodingError.levelCount(shape[1], expected: levels)
    }
    return shape[0]
  }

  private static func codes(
    ofLevel level: Int, _ kind: Codebook.Kind, rows: Int, in file: Safetensors
  ) throws -> EncodedVectors.Codes {
    let name = "codes.\(level)"
    let shape = try file.tensor(name).shape
    let expected =
      switch kind {
      case .flat: [rows]
      case .product(let pieces, _): [rows, pieces]
      }
    guard shape == expected else {
      throw FileError.malformed(
        reason: "tensor \"\(name)\" has shape \(shape); expected \(expected)")
    }
    switch kind {
    case .flat: return .flat(try file.integers(of: name))
    case .product(let pieces, _):
      _ = try file.elementType(of: name, among: [.uint8])
      return .product([UInt8](try file.bytes(of: name)), pieces: pieces)
    }
  }

  private static func loss(in file: Safetensors, levels: Int) throws -> [Double] {
    guard let text = file.metadata["loss"] else { return [] }
    guard let loss = try? JSONDecoder().decode([Double].self, from: Data(text.utf8)),
      loss.count == levels, loss.allSatisfy({ $0.isFinite && $0 >= 0 })
    else { throw FileError.malformed(reason: "the metadata's loss is \"\(text.prefix(100))\"") }
    return loss
  }
}

// MARK: - Writing

extension EncodedFile {
  /// A tensor, and its bytes once they are wanted.
  private struct Part {
    var name: String
    var elementType: Safetensors.ElementType
    var shape: [Int]
    var bytes: () -> Data
  }

  /// The bytes of a file; the same vectors give the same bytes.
  ///
  /// - Parameter codebook: The one they were encoded with.
  public static func encode(_ vectors: EncodedVectors, codebook: Codebook) throws -> Data {
    try contents(vectors, codebook).reduce(into: Data()) { $0.append($1) }
  }

  /// Writes a file, whole or not at all; one of the same name is replaced.
  ///
  /// - Parameter codebook: The one they were encoded with.
  public static func write(
    _ vectors: EncodedVectors, codebook: Codebook, path: String
  ) throws {
    try OutputFile.write(contents(vectors, codebook), path: path)
  }

  /// The header and the tensors, each made when its turn comes.
  private static func contents(
    _ vectors: EncodedVectors, _ codebook: Codebook
  ) throws -> some Sequence<Data> {
    try vectors.validate(for: codebook, rows: 0..<vectors.rowCount)
    var metadata = ["format": format, "codebook_sha256": hexadecimal(codebook.sha256)]
    if !vectors.loss.isEmpty, vectors.loss.allSatisfy(\.isFinite) {
      metadata["loss"] = String(decoding: try JSONEncoder().encode(vectors.loss), as: UTF8.self)
    }
    let parts = parts(vectors, codebook)
    let header = Safetensors.header(
      metadata: metadata, tensors: parts.map { ($0.name, $0.elementType, $0.shape) })
    return ([{ header }] + parts.map(\.bytes)).lazy.map { $0() }
  }

  /// The tensors, the wider elements first, so that all are aligned.
  private static func parts(_ vectors: EncodedVectors, _ codebook: Codebook) -> [Part] {
    let n = vectors.rowCount
    let weights = Part(
      name: "weights", elementType: .float16, shape: [n, codebook.levels.count],
      bytes: { Halves.littleEndian(bits: vectors.weights.lazy.map(\.bitPattern)) })
    let codes = codebook.levels.enumerated().map { index, level in
      part("codes.\(index)", vectors.codes[index], level.kind, rows: n)
    }
    return [weights] + codes.filter { $0.elementType == .uint16 }
      + codes.filter { $0.elementType == .uint8 }
  }

  private static func part(
    _ name: String, _ codes: EncodedVectors.Codes, _ kind: Codebook.Kind, rows: Int
  ) -> Part {
    switch (codes, kind) {
    case (.product(let codes, let pieces), _):
      Part(name: name, elementType: .uint8, shape: [rows, pieces], bytes: { Data(codes) })
    case (.flat(let codes), .flat(let count)) where count > 256:
      Part(
        name: name, elementType: .uint16, shape: [rows],
        bytes: { Halves.littleEndian(bits: codes) })
    case (.flat(let codes), _):
      Part(
        name: name, elementType: .uint8, shape: [rows],
        bytes: { Data(codes.lazy.map { UInt8($0) }) })
    }
  }
}
