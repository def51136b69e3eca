import Foundation
import TestSupport
import Testing

@testable import WRVQ

@Suite struct NpyFileTests {
  /// A file as numpy.save writes it, of version 1.
  private func file(
    _ header: String = "{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), }",
    _ values: [Float] = [1, 2, 3, 4, 5, 6]
  ) -> Data {
    var data = Data([0x93] + Array("NUMPY".utf8) + [1, 0])
    let padded = header + String(repeating: " ", count: 117 - header.utf8.count) + "\n"
    data += [118, 0] + Array(padded.utf8)
    for value in values { withUnsafeBytes(of: value.bitPattern.littleEndian) { data += $0 } }
    return data
  }

  @Test func singlePrecisionIsRead() throws {
    let npy = try NpyFile(file())
    #expect(npy.rowCount == 2 && npy.dimensions == 3)
    #expect(try npy.vectors(0..<2) == [1, 2, 3, 4, 5, 6])
    #expect(try npy.vectors(1..<2) == [4, 5, 6])
    #expect(try npy.vectors(2..<2) == [])
  }

  @Test func halvesAreRead() throws {
    let header = "{'descr': '<f2', 'fortran_order': False, 'shape': (1, 2), }"
    let npy = try NpyFile(file(header, []) + Halves.littleEndian([0.5, -2]))
    #expect(try npy.vectors(0..<1) == [0.5, -2])
  }

  @Test func laterVersionsHaveALongerLength() throws {
    var data = file()
    data[6] = 2
    data.insert(contentsOf: [0, 0], at: 10)
    #expect(try NpyFile(data).vectors(1..<2) == [4, 5, 6])
  }

  @Test(arguments: [
    "{'descr': '<f8', 'fortran_order': False, 'shape': (2, 3), }",
    "{'descr': '>f4', 'fortran_order': False, 'shape': (2, 3), }",
    "{'descr': '<f4', 'fortran_order': True, 'shape': (2, 3), }",
    "{'descr': '<f4', 'fortran_order': False, 'shape': (6,), }",
    "{'descr': '<f4', 'fortran_order': False, 'shape': (1, 2, 3), }",
    "{'descr': '<f4', 'fortran_order': False, 'shape': (3, 3), }",
    "{'descr': '<f4', 'fortran_order': False, 'shape': (1, 3), }",
    "{'descr': '<f4', 'fortran_order': False, 'shape': (6, 0), }",
    "{'descr': '<f4', 'fortran_order': False, 'shape': (9223372036854775807, 3), }",
    "{'descr': '<f4', 'fortran_order': False, 'shape': (99999999999999999999, 3), }",
    "{'descr': '<f4', 'fortran_order': False, 'shape': (1, 20000), }",
    "{'descr': [('a', '<f4')], 'fortran_order': False, 'shape': (2, 3), }",
    "",
  ]) func whatCannotBeReadIsAnError(header: String) {
    #expect(throws: FileError.self) { try NpyFile(file(header)) }
  }

  @Test func aTruncatedFileIsAnError() {
    for bytes in 0..<file().count {
      #expect(throws: FileError.self) { try NpyFile(file().prefix(bytes)) }
    }
  }

  @Test func valuesThatAreNotFiniteAreNamed() throws {
    let npy = try NpyFile(
      file(
        "{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), }",
        [1, 2, 3, 4, .infinity, 6]))
    #expect(throws: FileError.notFinite(row: 1, element: 1)) { try npy.vectors(0..<2) }
    #expect(throws: FileError.notFinite(row: 1, element: 1)) { try npy.vectors(1..<2) }
    #expect(try npy.vectors(0..<1) == [1, 2, 3])
  }

  @Test func anErrorQuotesNothingThatATerminalObeys() {
    let header = "{'descr': '<f4\u{1b}[2J', 'fortran_order': False, 'shape': (2, 3), }"
    let error = #expect(throws: FileError.self) { try NpyFile(file(header)) }
    #expect(
      error?.description == "elements of type \"<f4\u{fffd}[2J\"; expected \"<f2\" or \"<f4\"")
    let long = FileError.malformed(reason: String(repeating: "x", count: 1000))
    #expect(long.description == String(repeating: "x", count: 300) + "…")
  }

  @Test func theEndOfTheNameDecides() throws {
    let npy = try TemporaryFile(file(), extension: "npy")
    #expect(try openVectorFile(path: npy.path).vectors(1..<2) == [4, 5, 6])
    let other = try TemporaryFile(file(), extension: "txt")
    #expect(throws: FileError.self) { try openVectorFile(path: other.path) }
    #expect(throws: FileError.unreadable(reason: "no such file")) {
      try openVectorFile(path: "/nowhere/file.npy")
    }
    #expect(throws: FileError.unreadable(reason: "it is a directory")) {
      try NpyFile(path: "/tmp")
    }
  }

  @Test func damageNeverCrashes() {
    var mutator = Mutator(seed: 3)
    for _ in 0..<20_000 {
      if let npy = try? NpyFile(mutator.mutate(file())) {
        _ = try? npy.vectors(0..<npy.rowCount)
      }
    }
  }
}
