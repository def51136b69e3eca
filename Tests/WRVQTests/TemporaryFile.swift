import Foundation

/// A file that goes away with the test.
struct TemporaryFile: ~Copyable {
  let path: String

  init(_ data: Data, extension: String) throws {
    path = NSTemporaryDirectory() + "wrvq-\(UUID().uuidString).\(`extension`)"
    try data.write(to: URL(fileURLWithPath: path))
  }

  deinit {
    try? FileManager.default.removeItem(atPath: path)
  }
}
