import Foundation
import TestSupport
import Testing

@testable import WRVQ

@Suite struct FvecsFileTests {
  private func file(_ rows: [[Float]]) -> Data {
    var data = Data()
    for row in rows {
      withUnsafeBytes(of: Int32(row.count).littleEndian) { data += $0 }
      for value in row { withUnsafeBytes(of: value.bitPattern.littleEndian) { data += $0 } }
    }
    return data
  }

  @Test func rowsAreRead() throws {
    let fvecs = try FvecsFile(file([[1, 2], [3, 4], [5, 6]]))
    #expect(fvecs.rowCount == 3 && fvecs.dimensions == 2)
    #expect(try fvecs.vectors(0..<3) == [1, 2, 3, 4, 5, 6])
    #expect(try fvecs.vectors(1..<2) == [3, 4])
    #expect(try fvecs.vectors(3..<3) == [])
  }

  @Test func aFileReadsLikeItsBytes() throws {
    let fvecs = try TemporaryFile(file([[1, 2], [3, 4]]), extension: "fvecs")
    #expect(try openVectorFile(path: fvecs.path).vectors(1..<2) == [3, 4])
  }

  @Test func mixedDimensionsAreNamed() throws {
    // As long as two rows of two, so that only the row itself can tell.
    let fvecs = try FvecsFile(file([[1, 2], [3], []]) + Data(count: 0))
    #expect(fvecs.rowCount == 2)
    #expect(
      throws: FileError.malformed(reason: "row 1 has 1 dimensions; expected 2 as in row 0")
    ) { try fvecs.vectors(0..<2) }
  }

  @Test func valuesThatAreNotFiniteAreNamed() throws {
    let fvecs = try FvecsFile(file([[1, 2], [3, .nan]]))
    #expect(throws: FileError.notFinite(row: 1, element: 1)) { try fvecs.vectors(0..<2) }
  }

  @Test func otherFilesAreForeign() {
    let foreign = [Data(), Data([1, 2]), file([[]]), Data("not vectors at all".utf8)]
    for data in foreign { #expect(throws: FileError.self) { try FvecsFile(data) } }
    #expect(throws: FileError.truncated(expectedBytes: 24, actualBytes: 23)) {
      try FvecsFile(file([[1, 2], [3, 4]]).dropLast())
    }
  }

  @Test func damageNeverCrashes() {
    let original = file([[1, 2, 3], [4, 5, 6]])
    var mutator = Mutator(seed: 4)
    for _ in 0..<20_000 {
      if let fvecs = try? FvecsFile(mutator.mutate(original)) {
        _ = try? fvecs.vectors(0..<fvecs.rowCount)
      }
    }
  }
}
