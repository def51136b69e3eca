/// Why a file of vectors or a codebook cannot be read or written.
public enum FileError: Error, Equatable {
  /// It is not the kind of file that was expected; `reason` says what gave it away.
  case foreign(expected: String, reason: String)
  /// It is of the right kind, but says something impossible or unsupported.
  case malformed(reason: String)
  /// A vector holds a NaN or an infinity; rows and elements are numbered from 0.
  case notFinite(row: Int, element: Int)
  case truncated(expectedBytes: Int, actualBytes: Int)
  case unreadable(reason: String)
  case unwritable(reason: String)
}

extension FileError: CustomStringConvertible {
  public var description: String {
    switch self {
    case .foreign(let expected, let reason):
      "not \(expected): \(reason)"
    case .malformed(let reason):
      reason
    case .notFinite(let row, let element):
      "row \(row) has NaN or infinity as element \(element); expected a finite number"
    case .truncated(let expected, let actual):
      "truncated: \(actual) bytes; expected at least \(expected)"
    case .unreadable(let reason):
      "cannot be read: \(reason)"
    case .unwritable(let reason):
      "cannot be written: \(reason)"
    }
  }
}
