import ArgumentParser
import PostgresClient

/// Where the server is, with psql's names; what is not given comes from `PG…` variables.
struct ConnectionOptions: ParsableArguments {
  @Option(
    name: [.customShort("h"), .long],
    help: "Host name, or the directory of the server's socket.")
  var host: String?

  @Option(name: [.customShort("p"), .long], help: "Port.")
  var port: String?

  @Option(name: [.customShort("U"), .customLong("username")], help: "User to connect as.")
  var user: String?

  @Option(
    name: [.customShort("d"), .customLong("dbname")],
    help: "Database: a name, a URI (postgresql://…) or a conninfo string.")
  var database: String?

  func validate() throws {
    // libpq takes a list, one port a host.
    let ports = port?.split(separator: ",", omittingEmptySubsequences: false) ?? []
    for port in ports where UInt16(port) ?? 0 == 0 {
      throw ValidationError("port \"\(port)\" is not a number from 1 to 65535")
    }
  }

  var parameters: ConnectionParameters {
    ConnectionParameters(
      host: host, port: port, user: user, database: database, applicationName: "wrvq")
  }

  func connect() throws -> Connection {
    try Connection(parameters)
  }
}
