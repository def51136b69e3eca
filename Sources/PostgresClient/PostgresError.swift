/// What can go wrong between this process and a PostgreSQL server.
public enum PostgresError: Error, Equatable {
  /// The server cannot be reached, or refuses us.
  case connectionFailed(message: String)
  /// The connection broke while in use.  If it broke during `COMMIT`, nobody
  /// knows on this side whether the transaction took place.
  case connectionLost(message: String, duringCommit: Bool)
  /// The server sent something that this client does not understand.
  case malformedResponse(message: String)
  /// The server reported an error.
  case server(ServerError)
}

/// An error as the server reports it.
public struct ServerError: Error, Equatable, Sendable {
  /// Five characters, for example `42P01`: the only part to make decisions by.
  public var sqlState: String
  public var message: String
  public var detail: String?
  public var hint: String?

  public init(sqlState: String, message: String, detail: String? = nil, hint: String? = nil) {
    self.sqlState = sqlState
    self.message = message
    self.detail = detail
    self.hint = hint
  }
}

extension PostgresError: CustomStringConvertible {
  public var description: String {
    switch self {
    case .connectionFailed(let message):
      return message
    case .connectionLost(let message, let duringCommit):
      let moment = duringCommit ? " during COMMIT" : ""
      return "the connection to the server was lost\(moment): \(message)"
    case .malformedResponse(let message):
      return "unexpected response from the server: \(message)"
    case .server(let error):
      return error.description
    }
  }

  /// Advice, if there is any.
  public var hint: String? {
    switch self {
    case .connectionFailed(let message):
      return message.contains("no password supplied")
        ? "Set PGPASSWORD, or write a password file (~/.pgpass)." : nil
    case .connectionLost(_, let duringCommit):
      return duringCommit
        ? "Whether the change was made is unknown: look before you repeat it."
        : "Nothing was changed: the server undoes a transaction that was not committed."
    case .malformedResponse:
      return nil
    case .server(let error):
      return error.hint
    }
  }

  /// The SQLSTATE, if the server reported one.
  public var sqlState: String? {
    if case .server(let error) = self { error.sqlState } else { nil }
  }
}

extension ServerError: CustomStringConvertible {
  public var description: String {
    detail.map { "\(message): \($0)" } ?? message
  }
}
