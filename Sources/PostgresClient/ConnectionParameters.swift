/// Where to connect, in libpq's keywords.
///
/// What is left out comes from the `PG…` environment variables and the service
/// file, as in every libpq program.
public struct ConnectionParameters: Sendable, Equatable {
  public var host: String?
  public var port: String?
  public var user: String?
  /// A database name, a URI (`postgresql://…`) or a conninfo string (`host=… dbname=…`).
  public var database: String?
  /// Shown in `pg_stat_activity`, unless the user set one.
  public var applicationName: String

  public init(
    host: String? = nil, port: String? = nil, user: String? = nil, database: String? = nil,
    applicationName: String
  ) {
    self.host = host
    self.port = port
    self.user = user
    self.database = database
    self.applicationName = applicationName
  }

  /// Keywords and values in the order in which libpq shall read them.
  ///
  /// A later keyword wins, and a conninfo string or URI counts where `dbname`
  /// stands.  So, as with psql, it overrides the options; and nothing overrides
  /// the encoding, because Swift strings are UTF-8.
  var keywordsAndValues: [(keyword: String, value: String)] {
    var pairs: [(keyword: String, value: String)] = []
    for (keyword, value) in [("host", host), ("port", port), ("user", user), ("dbname", database)] {
      if let value { pairs.append((keyword, value)) }
    }
    pairs.append(("fallback_application_name", applicationName))
    pairs.append(("client_encoding", "UTF8"))
    return pairs
  }
}
