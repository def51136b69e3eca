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
      "not \(expected): \(printable(reason))"
    case .malformed(let reason):
      printable(reason)
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

/// What can be shown of a text that quotes a file: not too long, and nothing that a terminal obeys.
func printable(_ text: String) -> String {
  let most = 300
  let shown = text.unicodeScalars.prefix(most).map { scalar in
    scalar.properties.generalCategory == .control ? "\u{fffd}" : Character(scalar)
  }
  return String(shown) + (text.unicodeScalars.count > most ? "…" : "")
}
