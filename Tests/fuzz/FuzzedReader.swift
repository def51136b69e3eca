import Foundation
import WRVQ

/// A reader of files, files that it can read, and what it promises of a file that it accepts.
struct FuzzedReader: Sendable {
  var number: Int
  var name: String
  var samples: [Data]
  var read: @Sendable (Data) throws -> Void

  /// A promise that a reader broke.
  struct BrokenPromise: Error {
    var text: String

    init(_ text: String) { self.text = text }
  }

  static func all() throws -> [FuzzedReader] {
    let codebook = FuzzSamples.codebook
    let decoder = try Codebook.Decoder(codebook, threads: 1)
    let encoded = try FuzzSamples.encoded()
    return [
      FuzzedReader(number: 0, name: "npy", samples: FuzzSamples.npy) { data in
        try readVectors(NpyFile(data))
      },
      FuzzedReader(number: 1, name: "fvecs", samples: FuzzSamples.fvecs) { data in
        try readVectors(FvecsFile(data))
      },
      FuzzedReader(number: 2, name: "safetensors", samples: try FuzzSamples.safetensors()) { data in
        try readTensors(Safetensors(data))
      },
      FuzzedReader(number: 3, name: "codebook", samples: [try CodebookFile.encode(codebook)]) {
        // A codebook that is accepted is a valid one, and can be used.
        let codebook = try CodebookFile.decode($0)
        try codebook.validate()
        let rows = [Float](repeating: 1, count: codebook.dimensions)
        _ = try Codebook.Encoder(codebook, threads: 1).encode(rows)
      },
      FuzzedReader(number: 4, name: "encoded", samples: [encoded]) { data in
        let vectors = try EncodedFile.decode(data, codebook: codebook)
        let decoded = try decoder.decode(vectors)
        guard decoded.count == vectors.rowCount * codebook.dimensions else {
          throw BrokenPromise("\(decoded.count) values of \(vectors.rowCount) rows")
        }
      },
    ]
  }

  /// What is wrong with an error that a user is to read; nil if nothing is.
  static func complaint(about error: any Error) -> String? {
    if let broken = error as? BrokenPromise { return broken.text }
    guard error is FileError || error is CodebookError || error is EncodingError else {
      return "an error of another kind: \(type(of: error))"
    }
    let text = "\(error)"
    if text.isEmpty || text.count > 400 { return "an error of \(text.count) characters" }
    let isControl = { (scalar: Unicode.Scalar) in scalar.properties.generalCategory == .control }
    return text.unicodeScalars.contains(where: isControl)
      ? "an error with a control character: \(text.debugDescription)" : nil
  }

  private static func readVectors(_ file: some VectorFile) throws {
    guard file.rowCount >= 0, (1...16_000).contains(file.dimensions) else {
      throw BrokenPromise("\(file.rowCount) × \(file.dimensions)")
    }
    let all = try file.vectors(0..<file.rowCount)
    guard all.count == file.rowCount * file.dimensions, all.allSatisfy(\.isFinite) else {
      throw BrokenPromise("\(all.count) values of \(file.rowCount) × \(file.dimensions)")
    }
    guard file.rowCount > 0 else { return }
    let last = try file.vectors(file.rowCount - 1..<file.rowCount)
    if last != Array(all.suffix(file.dimensions)) {
      throw BrokenPromise("the last row differs when it is read alone")
    }
  }

  private static func readTensors(_ file: Safetensors) throws {
    for (name, tensor) in file.tensors {
      let count = tensor.shape.reduce(1, *)
      let isInteger = tensor.elementType.hasPrefix("U")
      let found =
        isInteger ? try file.integers(of: name).count : try file.floats(of: name).count
      if found != count { throw BrokenPromise("\(found) elements of shape \(tensor.shape)") }
    }
  }
}
