import Foundation
import TestSupport
import Testing

@testable import WRVQ

@Suite struct SafetensorsTests {
  /// A file of a given header, with as many zero bytes of tensors as wanted.
  private func file(_ header: String, tensorBytes: Int = 0) -> Data {
    let length = withUnsafeBytes(of: UInt64(header.utf8.count).littleEndian) { Data($0) }
    return length + Data(header.utf8) + Data(count: tensorBytes)
  }

  private let sample = Safetensors.encode(
    metadata: ["format": "x", "quoted": "a \"b\" \\ \n é"],
    halves: [("one", [2, 3], [1, 2, 3, 4, 5, 6]), ("two", [2], [-0.5, 65504])])

  @Test func whatIsWrittenIsReadAgain() throws {
    let file = try Safetensors(sample)
    #expect(file.metadata == ["format": "x", "quoted": "a \"b\" \\ \n é"])
    #expect(try file.floats(of: "one") == [1, 2, 3, 4, 5, 6])
    #expect(file.tensors["one"]?.shape == [2, 3])
    #expect(try file.floats(of: "two") == [-0.5, 65504])
  }

  @Test func theBytesAreThoseOfTheFormat() throws {
    let data = Safetensors.encode(metadata: ["a": "b"], halves: [("t", [1], [1])])
    let header = #"{"__metadata__":{"a":"b"},"t":{"dtype":"F16","shape":[1],"data_offsets":[0,2]}}"#
    let padded = header + String(repeating: " ", count: (8 - header.utf8.count % 8) % 8)
    #expect(
      data == Data([UInt8(padded.utf8.count), 0, 0, 0, 0, 0, 0, 0]) + Data(padded.utf8) + [0, 0x3c])
  }

  @Test func singlePrecisionIsRead() throws {
    var data = file(#"{"t":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}"#)
    for value: Float in [0.1, -3] {
      withUnsafeBytes(of: value.bitPattern.littleEndian) { data += $0 }
    }
    #expect(try Safetensors(data).floats(of: "t") == [0.1, -3])
  }

  @Test func aFileReadsLikeItsBytes() throws {
    let file = try TemporaryFile(sample, extension: "safetensors")
    #expect(try Safetensors(path: file.path).floats(of: "one") == [1, 2, 3, 4, 5, 6])
  }

  @Test(arguments: [0, 1, 7, 8, 9, 50]) func aTruncatedFileIsAnError(bytes: Int) {
    #expect(throws: FileError.self) { try Safetensors(sample.prefix(bytes)) }
  }

  @Test func aCutTensorIsCalledTruncated() {
    #expect(
      throws: FileError.truncated(expectedBytes: sample.count, actualBytes: sample.count - 1)
    ) { try Safetensors(sample.dropLast()) }
  }

  @Test func aLyingHeaderLengthIsAnErrorAndAllocatesNothing() {
    for byte in 0..<8 {
      var data = sample
      data[byte] = 0xff
      #expect(throws: FileError.self) { try Safetensors(data) }
    }
  }

  @Test(arguments: [
    // gap, overlap, reversed, negative, beyond the end, overflowing shape, wrong length, huge offset
    #"{"a":{"dtype":"F16","shape":[2],"data_offsets":[4,8]}}"#,
    #"{"a":{"dtype":"F16","shape":[2],"data_offsets":[0,4]},"b":{"dtype":"F16","shape":[3],"data_offsets":[2,8]}}"#,
    #"{"a":{"dtype":"F16","shape":[2],"data_offsets":[8,4]}}"#,
    #"{"a":{"dtype":"F16","shape":[-4],"data_offsets":[0,8]}}"#,
    #"{"a":{"dtype":"F16","shape":[8],"data_offsets":[0,16]}}"#,
    #"{"a":{"dtype":"F16","shape":[4611686018427387904,4],"data_offsets":[0,8]}}"#,
    #"{"a":{"dtype":"F16","shape":[3],"data_offsets":[0,8]}}"#,
    #"{"a":{"dtype":"F16","shape":[4],"data_offsets":[0,9223372036854775807]}}"#,
    #"{"a":{"dtype":"F16","shape":[4],"data_offsets":[0,99999999999999999999999]}}"#,
    #"{"a":{"dtype":"F16","shape":[4],"data_offsets":[0]}}"#,
    #"{"a":{"dtype":"F16","shape":"4","data_offsets":[0,8]}}"#,
    #"{"a":{"shape":[4],"data_offsets":[0,8]}}"#,
    #"{"a":7}"#, #"{"__metadata__":{"a":1}}"#, "{}", "[]", "{", "",
  ]) func anImpossibleHeaderIsAnError(header: String) {
    #expect(throws: FileError.self) { try Safetensors(file(header, tensorBytes: 8)) }
  }

  @Test func otherElementTypesMayBePresentButNotRead() throws {
    let file = try Safetensors(
      file(#"{"a":{"dtype":"U8","shape":[8],"data_offsets":[0,8]}}"#, tensorBytes: 8))
    #expect(throws: FileError.self) { try file.floats(of: "a") }
    #expect(throws: FileError.self) { try file.floats(of: "b") }
  }

  @Test func deepJSONIsAnError() {
    let deep = "{\"a\":" + String(repeating: "[", count: 100_000)
    #expect(throws: FileError.self) { try Safetensors(file(deep)) }
  }

  @Test func damageNeverCrashes() {
    var mutator = Mutator(seed: 1)
    for _ in 0..<20_000 {
      let data = mutator.mutate(sample)
      guard let file = try? Safetensors(data) else { continue }
      for name in file.tensors.keys { _ = try? file.floats(of: name) }
    }
  }
}
