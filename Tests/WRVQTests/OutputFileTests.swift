import Foundation
import Testing

@testable import WRVQ

@Suite struct OutputFileTests {
  /// A folder that goes away with the test.
  private struct Folder: ~Copyable {
    let path = NSTemporaryDirectory() + "wrvq-\(UUID().uuidString)"

    init() throws {
      try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: false)
    }

    deinit { try? FileManager.default.removeItem(atPath: path) }

    var names: [String] { (try? FileManager.default.contentsOfDirectory(atPath: path)) ?? [] }
  }

  @Test func aFileAppearsWhenItIsComplete() throws {
    let folder = try Folder()
    let file = try OutputFile(path: "\(folder.path)/a")
    try file.append(Data([1, 2]))
    try file.append(Data([3]))
    #expect(!folder.names.contains("a"))
    try file.finish()
    #expect(folder.names == ["a"])
    #expect(try Data(contentsOf: URL(fileURLWithPath: "\(folder.path)/a")) == Data([1, 2, 3]))
  }

  @Test func anUnfinishedFileLeavesNothing() throws {
    let folder = try Folder()
    do {
      let file = try OutputFile(path: "\(folder.path)/a")
      try file.append(Data([1, 2]))
    }
    #expect(folder.names.isEmpty)
  }

  @Test func whereNothingCanBeWrittenIsNamed() throws {
    let folder = try Folder()
    #expect(throws: FileError.unwritable(reason: "it is a directory")) {
      try OutputFile(path: folder.path)
    }
    #expect(throws: FileError.unwritable(reason: "there is no directory \(folder.path)/b")) {
      try OutputFile(path: "\(folder.path)/b/a")
    }
  }

  @Test(arguments: [0, 1, 3, 123_456]) func vectorsAreReadAgain(rows: Int) throws {
    let folder = try Folder()
    let path = "\(folder.path)/a.npy"
    let values = (0..<2 * rows).map { Float($0) / 3 }
    let writer = try NpyWriter(path: path, rowCount: rows, dimensions: 2)
    try writer.append(Array(values.prefix(2)))
    try writer.append(Array(values.dropFirst(2)))
    try writer.finish()
    let file = try NpyFile(path: path)
    #expect(file.rowCount == rows && file.dimensions == 2)
    #expect(try file.vectors(0..<rows) == values)
  }

  @Test func theHeaderIsNumpys() {
    let header = NpyWriter.header(rowCount: 12_345, dimensions: 384)
    #expect(header.count == 128 && header.last == UInt8(ascii: "\n"))
    #expect(header.prefix(10) == Data([0x93, 0x4e, 0x55, 0x4d, 0x50, 0x59, 1, 0, 118, 0]))
    for rows in 0...30 {
      let header = NpyWriter.header(rowCount: Int(pow(10, Double(rows % 18))), dimensions: 1)
      #expect(header.count.isMultiple(of: 64))
    }
  }
}
