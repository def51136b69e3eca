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

  private static func write(_ text: String, to path: String) throws {
    let file = try OutputFile(path: path)
    try file.append(Data(text.utf8))
    try file.finish()
  }

  private static func text(of path: String) throws -> String {
    String(decoding: try Data(contentsOf: URL(fileURLWithPath: path)), as: UTF8.self)
  }

  @Test func linksStayAndWhatTheyPointToIsReplaced() throws {
    let folder = try Folder(), other = try Folder()
    try Self.write("old", to: "\(other.path)/target")
    // A chain: an absolute link to a relative one, and one to what is not there yet.
    #expect(symlink("target", "\(other.path)/relative") == 0)
    #expect(symlink("\(other.path)/relative", "\(folder.path)/link") == 0)
    #expect(symlink("\(other.path)/new", "\(folder.path)/dangling") == 0)
    #expect(symlink("loop", "\(folder.path)/loop") == 0)
    try Self.write("one", to: "\(folder.path)/link")
    try Self.write("two", to: "\(folder.path)/dangling")
    #expect(try Self.text(of: "\(other.path)/target") == "one")
    #expect(try Self.text(of: "\(other.path)/new") == "two")
    #expect(throws: FileError.unwritable(reason: "Too many levels of symbolic links")) {
      try OutputFile(path: "\(folder.path)/loop")
    }
    #expect(Set(folder.names) == ["link", "dangling", "loop"])
    #expect(Set(other.names) == ["target", "relative", "new"])
    for name in ["link", "dangling"] {
      var status = stat()
      #expect(lstat("\(folder.path)/\(name)", &status) == 0)
      #expect(status.st_mode & S_IFMT == S_IFLNK)
    }
  }

  @Test func devicesStayDevices() throws {
    var before = stat(), after = stat()
    #expect(stat("/dev/full", &before) == 0)
    let file = try OutputFile(path: "/dev/full")
    #expect(throws: FileError.unwritable(reason: "No space left on device")) {
      try file.append(Data([1]))
    }
    try Self.write("gone", to: "/dev/null")
    #expect(stat("/dev/full", &after) == 0)
    #expect(before.st_mode == after.st_mode && before.st_ino == after.st_ino)
  }

  @Test func aPipeTakesWhatIsWritten() throws {
    let folder = try Folder()
    let path = "\(folder.path)/pipe"
    #expect(mkfifo(path, 0o600) == 0)
    // Neither waits for a reader, nor looks like a writer to one.
    try OutputFile.checkWritable(path: path)
    // Opened for both, the FIFO has a reader, and what little is written stays in it.
    let reader = open(path, O_RDWR)
    defer { close(reader) }
    try Self.write("through", to: path)
    var buffer = [UInt8](repeating: 0, count: 100)
    #expect(String(decoding: buffer[..<read(reader, &buffer, 100)], as: UTF8.self) == "through")
    #expect(folder.names == ["pipe"])
  }

  @Test func permissionsPassOn() throws {
    let folder = try Folder()
    let path = "\(folder.path)/a"
    try Self.write("old", to: path)
    for mode in [mode_t(0o640), 0o600, 0o755] {
      #expect(chmod(path, mode) == 0)
      try Self.write("new", to: path)
      var status = stat()
      #expect(stat(path, &status) == 0 && status.st_mode & 0o7777 == mode)
    }
  }

  @Test func aFailureLeavesTheOldFile() throws {
    let folder = try Folder()
    let path = "\(folder.path)/a"
    try Self.write("old", to: path)
    do {
      let file = try OutputFile(path: path)
      try file.append(Data("new".utf8))
    }
    #expect(try Self.text(of: path) == "old" && folder.names == ["a"])
  }

  @Test func namesMayBeAsLongAsTheyCan() throws {
    let folder = try Folder()
    let path = "\(folder.path)/" + String(repeating: "n", count: 255)
    try Self.write("long", to: path)
    #expect(try Self.text(of: path) == "long")
    #expect(throws: FileError.unwritable(reason: "File name too long")) {
      try OutputFile.checkWritable(path: path + "n")
    }
  }

  @Test func standardOutputHasSeveralNames() {
    for name in ["-", "/dev/stdout", "/dev/fd/1", "/proc/self/fd/1"] {
      #expect(OutputFile.isStandardOutput(path: name))
    }
    for name in ["./-", "/dev/stderr", "/dev/fd/2", "/dev/null", "-o"] {
      #expect(!OutputFile.isStandardOutput(path: name))
    }
  }

  @Test func aCheckpointIsAFileThatCanBeReadAgain() {
    for name in ["-", "/dev/null", "/dev/stdout"] {
      #expect(throws: FileError.self) { try OutputFile.checkReplaceable(path: name) }
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
