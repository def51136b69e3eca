import Foundation

/// Where a result goes: a file that appears whole or not at all, or a stream that takes it as it comes.
///
/// What is written to a regular file, or where there is no file yet, goes to a file beside it, which
/// takes the name when it is complete.  Until then a file of that name stays as it was; its
/// permissions, and its owner where we may set it, pass on to the new one.  Symbolic links are
/// followed: the link stays, and what it points to is replaced.  Devices, FIFOs and open
/// descriptors (`-` is standard output) can only be written to.
public final class OutputFile {
  private let descriptor: Int32
  /// The name to take in the end, and the one that the file has meanwhile; nil for a stream.
  private let names: (final: String, temporary: String)?
  private var isOpen = true

  public init(path: String) throws(FileError) {
    switch try OutputDestination(path: path) {
    case .descriptor(let number):
      // A copy, because the descriptor itself stays open for whatever else is written to it.
      descriptor = try Self.checked(dup(number))
      names = nil
    case .stream(let path):
      descriptor = try Self.checked(open(path, O_WRONLY | O_NOCTTY | O_CLOEXEC))
      names = nil
    case .file(let path, let old):
      let folder = OutputDestination.folder(of: path)
      // Not made from the name, which may be as long as names can be.
      let temporary = "\(folder)/.wrvq-\(UUID().uuidString)"
      // A file that is replaced may be readable by few: nobody else may read what replaces it.
      let mode: mode_t = old == nil ? 0o666 : 0o600
      descriptor = try Self.checked(
        open(temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, mode))
      names = (path, temporary)
      if let old { takeOver(old) }
    }
  }

  deinit {
    if isOpen { close(descriptor) }
    if isOpen, let names { unlink(names.temporary) }
  }

  /// Gives the new file the owner, group and permissions of the one that it replaces.
  private func takeOver(_ old: stat) {
    var new = stat()
    fstat(descriptor, &new)
    // Only root may give files away; others keep what they create.
    if new.st_uid != old.st_uid || new.st_gid != old.st_gid {
      if fchown(descriptor, old.st_uid, old.st_gid) != 0 {
        _ = fchown(descriptor, uid_t.max, old.st_gid)
      }
    }
    // Last, because a change of the owner clears some bits.
    fchmod(descriptor, old.st_mode & 0o7777)
  }

  public func append(_ data: Data) throws(FileError) {
    if let error = writeAll(data, to: descriptor) {
      throw .unwritable(reason: String(cString: strerror(error)))
    }
  }

  /// Ends the file and gives it its name.
  public func finish() throws(FileError) {
    precondition(isOpen)
    isOpen = false
    var failure: Int32 = close(descriptor) == 0 ? 0 : errno
    guard let names else {
      if failure != 0 { throw .unwritable(reason: String(cString: strerror(failure))) }
      return
    }
    if failure == 0, rename(names.temporary, names.final) != 0 { failure = errno }
    if failure != 0 {
      unlink(names.temporary)
      throw .unwritable(reason: String(cString: strerror(failure)))
    }
  }

  private static func checked(_ descriptor: Int32) throws(FileError) -> Int32 {
    guard descriptor >= 0 else { throw .unwritable(reason: String(cString: strerror(errno))) }
    return descriptor
  }

  /// Writes a file of these parts.
  static func write(_ parts: some Sequence<Data>, path: String) throws(FileError) {
    let file = try OutputFile(path: path)
    for part in parts { try file.append(part) }
    try file.finish()
  }

  /// Throws if a file of this name certainly cannot be written: to find out before the work.
  public static func checkWritable(path: String) throws(FileError) {
    try OutputDestination(path: path).checkWritable()
  }

  /// Throws if a file of this name cannot be written, or not be read again afterwards.
  static func checkReplaceable(path: String) throws(FileError) {
    let destination = try OutputDestination(path: path)
    guard case .file = destination else {
      throw .unwritable(reason: "it is not a regular file, and has to be read again")
    }
    try destination.checkWritable()
  }

  /// Whether what is written to this file goes to standard output.
  public static func isStandardOutput(path: String) -> Bool {
    guard case .descriptor(STDOUT_FILENO)? = try? OutputDestination(path: path) else {
      return false
    }
    return true
  }
}

/// Writes all bytes, however many calls that takes.
///
/// - Returns: 0 becomes nil; else the `errno` of the call that failed.
public func writeAll(_ data: Data, to descriptor: Int32) -> Int32? {
  data.withUnsafeBytes { bytes in
    var rest = bytes[...]
    while !rest.isEmpty {
      let written = write(
        descriptor, UnsafeRawBufferPointer(rebasing: rest).baseAddress!, rest.count)
      if written >= 0 {
        rest = rest.dropFirst(written)
      } else if errno == EAGAIN {
        // A pipe that another program has made non-blocking: wait for its reader.
        var waiting = pollfd(fd: descriptor, events: Int16(POLLOUT), revents: 0)
        poll(&waiting, 1, -1)
      } else if errno != EINTR {
        return errno
      }
    }
    return nil
  }
}
