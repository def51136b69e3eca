import Foundation

/// What the name of an output file leads to.
enum OutputDestination {
  /// A descriptor of this process: `-`, `/dev/stdout`, `/dev/fd/3`.
  case descriptor(Int32)
  /// A device, a FIFO or the like.
  case stream(path: String)
  /// A regular file or nothing yet, and what the file was; no link, so that it can be replaced.
  case file(path: String, old: stat?)

  /// Links that a name may lead through; Linux follows as many.
  private static let mostLinks = 40

  init(path name: String) throws(FileError) {
    if name == "-" {
      self = .descriptor(STDOUT_FILENO)
      return
    }
    guard !name.isEmpty else { throw .unwritable(reason: "the name is empty") }
    var path = name
    for _ in 0...Self.mostLinks {
      let folder = try Self.realFolder(of: path)
      if let descriptor = Self.descriptor(path, in: folder) {
        self = .descriptor(descriptor)
        return
      }
      var status = stat()
      if lstat(path, &status) != 0 {
        guard errno == ENOENT, !path.hasSuffix("/") else {
          throw .unwritable(reason: String(cString: strerror(errno)))
        }
        self = .file(path: path, old: nil)
        return
      }
      switch status.st_mode & S_IFMT {
      case S_IFLNK:
        let target = try Self.target(of: path)
        path = target.hasPrefix("/") ? target : "\(folder)/\(target)"
      case S_IFDIR: throw .unwritable(reason: "it is a directory")
      case S_IFREG:
        self = .file(path: path, old: status)
        return
      default:
        self = .stream(path: path)
        return
      }
    }
    throw .unwritable(reason: String(cString: strerror(ELOOP)))
  }

  /// Throws if nothing can be written there.
  func checkWritable() throws(FileError) {
    switch self {
    case .descriptor(let number):
      let flags = fcntl(number, F_GETFL)
      guard flags >= 0, flags & O_ACCMODE != O_RDONLY else {
        throw .unwritable(reason: String(cString: strerror(EBADF)))
      }
    case .stream(let path):
      // Not opened: a FIFO's reader would take that for the beginning and the end of the data.
      guard access(path, W_OK) == 0 else {
        throw .unwritable(reason: String(cString: strerror(errno)))
      }
    case .file(let path, let old):
      let folder = Self.folder(of: path)
      guard access(folder, W_OK | X_OK) == 0 else {
        let reason = errno == EACCES ? "permission denied" : String(cString: strerror(errno))
        throw .unwritable(reason: "\(reason) in \(folder)")
      }
      // Whoever protects a file from writing does not want it replaced either.
      if old != nil, access(path, W_OK) != 0 {
        throw .unwritable(reason: String(cString: strerror(errno)))
      }
    }
  }

  /// The folder as the name says it.
  static func folder(of path: String) -> String {
    URL(fileURLWithPath: path).deletingLastPathComponent().path
  }

  /// The folder without any link.
  private static func realFolder(of path: String) throws(FileError) -> String {
    let folder = folder(of: path)
    guard let real = realpath(folder, nil) else {
      guard errno == ENOENT || errno == ENOTDIR else {
        throw .unwritable(reason: "\(String(cString: strerror(errno))): \(folder)")
      }
      throw .unwritable(reason: "there is no directory \(folder)")
    }
    defer { free(real) }
    return String(cString: real)
  }

  /// The number of a descriptor of this process that Linux shows as a file; opening that file
  /// would forget the position of the one it stands for.
  private static func descriptor(_ path: String, in folder: String) -> Int32? {
    let process = getpid()
    guard folder == "/proc/\(process)/fd" || folder.hasPrefix("/proc/\(process)/task/") else {
      return nil
    }
    return path.split(separator: "/").last.flatMap { Int32($0) }
  }

  private static func target(of link: String) throws(FileError) -> String {
    var buffer = [UInt8](repeating: 0, count: Int(PATH_MAX))
    let length = buffer.withUnsafeMutableBytes {
      readlink(link, $0.baseAddress!.assumingMemoryBound(to: CChar.self), $0.count)
    }
    guard length >= 0 else { throw .unwritable(reason: String(cString: strerror(errno))) }
    return String(decoding: buffer[..<length], as: UTF8.self)
  }
}
