import Foundation

/// Bytes that can be read anywhere: a file, or memory.
struct ByteSource {
  private enum Storage {
    case file(FileHandle)
    case memory(Data)
  }

  private let storage: Storage
  let byteCount: Int

  init(_ data: Data) {
    storage = .memory(data)
    byteCount = data.count
  }

  init(path: String) throws(FileError) {
    var isDirectory: ObjCBool = false
    guard FileManager.default.fileExists(atPath: path, isDirectory: &isDirectory) else {
      throw .unreadable(reason: "no such file")
    }
    guard !isDirectory.boolValue else { throw .unreadable(reason: "it is a directory") }
    guard let handle = FileHandle(forReadingAtPath: path) else {
      throw .unreadable(reason: "permission denied")
    }
    guard let end = try? handle.seekToEnd(), let byteCount = Int(exactly: end) else {
      throw .unreadable(reason: "it is not a regular file")
    }
    storage = .file(handle)
    self.byteCount = byteCount
  }

  /// `count` bytes from `offset`.
  ///
  /// Nothing is allocated for bytes that are not there.
  func read(at offset: Int, count: Int) throws(FileError) -> Data {
    let (end, overflow) = offset.addingReportingOverflow(count)
    guard offset >= 0, count >= 0, !overflow, end <= byteCount else {
      throw .truncated(expectedBytes: overflow ? .max : end, actualBytes: byteCount)
    }
    switch storage {
    case .memory(let data):
      let start = data.startIndex + offset
      return data[start..<start + count]
    case .file(let handle):
      do {
        try handle.seek(toOffset: UInt64(offset))
        let data = try handle.read(upToCount: count) ?? Data()
        guard data.count == count else {
          throw FileError.truncated(expectedBytes: end, actualBytes: offset + data.count)
        }
        return data
      } catch let error as FileError {
        throw error
      } catch {
        throw .unreadable(reason: error.localizedDescription)
      }
    }
  }
}
