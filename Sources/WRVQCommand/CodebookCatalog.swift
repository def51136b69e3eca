import Foundation
import PostgresClient
import WRVQ

/// The extension's tables of codebooks, `wrvq.wrvq_codebook` and
/// `wrvq.wrvq_codebook_level`, in one database.
struct CodebookCatalog {
  /// The version of the tables' contents that this program writes and reads.
  static let formatVersion = 1

  let connection: Connection
  /// The tables' names, qualified: their schema is the same wherever the extension's functions are.
  let codebooks = "wrvq.wrvq_codebook"
  let levels = "wrvq.wrvq_codebook_level"

  /// An error if the extension is not there.
  init(on connection: Connection) throws {
    self.connection = connection
    let result = try connection.query(
      """
      SELECT EXISTS (SELECT FROM pg_catalog.pg_extension WHERE extname OPERATOR(pg_catalog.=) 'wrvq'),
        pg_catalog.current_database()
      """)
    guard result.text(row: 0, column: 0) == "t" else {
      let database = try result.requiredText(row: 0, column: 1)
      throw CommandFailure(
        "extension \"wrvq\" is not installed in database \"\(database)\"",
        hint: "CREATE EXTENSION wrvq;")
    }
  }

  /// Throws unless `store` could add a codebook of this name: to find out before the work.
  func checkStorable(_ name: String) throws {
    guard try !isStored(name) else { throw Self.nameTaken(name) }
    try checkPrivilege("INSERT", to: "store")
  }

  /// Throws unless there is a codebook of this name that `drop` could remove, needed or not.
  func checkRemovable(_ name: String) throws {
    guard try isStored(name) else { throw Self.noSuchCodebook(name) }
    try checkPrivilege("DELETE", to: "remove")
  }

  private func isStored(_ name: String) throws -> Bool {
    let result = try connection.query(
      "SELECT EXISTS (SELECT FROM \(codebooks) WHERE name OPERATOR(pg_catalog.=) $1)",
      [.text(name)])
    return result.text(row: 0, column: 0) == "t"
  }

  private func checkPrivilege(_ privilege: String, to purpose: String) throws {
    let result = try connection.query(
      """
      SELECT pg_catalog.has_table_privilege($1, $2),
        pg_catalog.current_setting('transaction_read_only')
      """, [.text(codebooks), .text(privilege)])
    guard result.text(row: 0, column: 0) == "t" else {
      throw CommandFailure(
        "permission denied to \(purpose) a codebook",
        hint: "Codebooks are written by members of the role that owns extension wrvq.")
    }
    guard result.text(row: 0, column: 1) == "off" else {
      throw CommandFailure("the database is read-only", hint: "Connect to the primary server.")
    }
  }

  /// The names of indexes whose options name the codebook.
  func indexes(using name: String) throws -> [String] {
    let result = try connection.query(
      """
      SELECT pg_catalog.format('%I.%I', n.nspname, c.relname)
      FROM pg_catalog.pg_class c
        JOIN pg_catalog.pg_am a ON a.oid OPERATOR(pg_catalog.=) c.relam
        JOIN pg_catalog.pg_namespace n ON n.oid OPERATOR(pg_catalog.=) c.relnamespace
      WHERE a.amname OPERATOR(pg_catalog.=) 'wrvq'
        AND pg_catalog.concat('codebook=', $1) OPERATOR(pg_catalog.=) ANY (c.reloptions)
      ORDER BY 1
      """, [.text(name)])
    return try (0..<result.rowCount).map { try result.requiredText(row: $0, column: 0) }
  }

  /// Removes a codebook, whatever needs it; an error if there is none of this name.
  func drop(_ name: String) throws {
    try connection.transaction {
      // The table's own trigger knows less: it would refuse for any column that may hold codes.
      try connection.query(
        "SELECT pg_catalog.set_config('wrvq.allow_codebook_removal', 'on', true)")
      let result = try connection.query(
        "DELETE FROM \(codebooks) WHERE name OPERATOR(pg_catalog.=) $1 RETURNING name",
        [.text(name)])
      guard result.rowCount == 1 else { throw Self.noSuchCodebook(name) }
    }
  }

  static func noSuchCodebook(_ name: String) -> CommandFailure {
    CommandFailure(
      "codebook \"\(name)\" does not exist", hint: "\"wrvq list\" names those there are.")
  }

  static func nameTaken(_ name: String) -> CommandFailure {
    CommandFailure(
      "codebook \"\(name)\" already exists",
      hint: "Codebooks never change: choose another name, or remove it by \"wrvq drop \(name)\".")
  }
}
