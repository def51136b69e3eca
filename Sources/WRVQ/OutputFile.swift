import Foundation

/// A file that appears whole or not at all; one of the same name is replaced.
///
/// What is appended goes to a file beside it, which takes the name when it is complete.
public final class OutputFile {
  private let path: String
  private let temporaryPath: String
  private let handle: FileHandle
  private var isFinished = false

  public init(path: String) throws(FileError) {
    try Self.checkWritable(path: path)
    self.path = path
    temporaryPath = "\(path).\(UUID().uuidString)"
    let descriptor = open(temporaryPath, O_WRONLY | O_CREAT | O_EXCL, 0o666)
    guard descriptor >= 0 else { throw .unwritable(reason: String(cString: strerror(errno))) }
    handle = FileHandle(fileDescriptor: descriptor, closeOnDealloc: true)
  }

  deinit {
    if !isFinished { unlink(temporaryPath) }
  }

  public func append(_ data: Data) throws(FileError) {
    do {
      try handle.write(contentsOf: data)
    } catch {
      let cause = (error as NSError).userInfo[NSUnderlyingErrorKey] as? any Error ?? error
      throw .unwritable(reason: cause.localizedDescription)
    }
  }

  /// Ends the file and gives it its name.
  public func finish() throws(FileError) {
    precondition(!isFinished)
    guard (try? handle.close()) != nil, rename(temporaryPath, path) == 0 else {
      throw .unwritable(reason: String(cString: strerror(errno)))
    }
    isFinished = true
  }

  /// Writes a file of these parts.
  static func write(_ parts: some Sequence<Data>, path: String) throws(FileError) {
    let file = try OutputFile(path: path)
    for part in parts { try file.append(part) }
    try file.finish()
  }

  /// Throws if a file of this name certainly cannot be written: to find out before the work.
  public static func checkWritable(path: String) throws(FileError) {
    let manager = FileManager.default
    let folder = URL(fileURLWithPath: path).deletingLastPathComponent().path
    var isDirectory: ObjCBool = false
    if manager.fileExists(atPath: path, isDirectory: &isDirectory), isDirectory.boolValue {
      throw .unwritable(reason: "it is a directory")
    }
    guard manager.fileExists(atPath: folder, isDirectory: &isDirectory), isDirectory.boolValue
    else { throw .unwritable(reason: "there is no directory \(folder)") }
    guard manager.isWritableFile(atPath: folder) else {
      throw .unwritable(reason: "permission denied in \(folder)")
    }
  }
}
