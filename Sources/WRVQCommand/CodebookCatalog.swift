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
      SELECT EXISTS (SELECT FROM pg_catalog.pg_extension WHERE extname = 'wrvq'),
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
    let result = try connection.query(
      """
      SELECT EXISTS (SELECT FROM \(codebooks) WHERE name = $1::text),
        pg_catalog.has_table_privilege($2::regclass, 'INSERT'),
        pg_catalog.current_setting('transaction_read_only')
      """, [.text(name), .text(codebooks)])
    guard result.text(row: 0, column: 0) == "f" else { throw Self.nameTaken(name) }
    guard result.text(row: 0, column: 1) == "t" else {
      throw CommandFailure(
        "permission denied to store a codebook",
        hint: "Codebooks are written by members of the role that owns extension wrvq.")
    }
    guard result.text(row: 0, column: 2) == "off" else {
      throw CommandFailure("the database is read-only", hint: "Connect to the primary server.")
    }
  }

  /// The names of indexes whose options name the codebook.
  func indexes(using name: String) throws -> [String] {
    let result = try connection.query(
      """
      SELECT c.oid::regclass::text
      FROM pg_catalog.pg_class c JOIN pg_catalog.pg_am a ON a.oid = c.relam
      WHERE a.amname = 'wrvq' AND ('codebook=' || $1::text) = ANY (c.reloptions)
      ORDER BY 1
      """, [.text(name)])
    return try (0..<result.rowCount).map { try result.requiredText(row: $0, column: 0) }
  }

  /// Removes a codebook; an error if there is none of this name.
  func drop(_ name: String) throws {
    let result = try connection.query(
      "DELETE FROM \(codebooks) WHERE name = $1::text RETURNING name", [.text(name)])
    guard result.rowCount == 1 else { throw Self.noSuchCodebook(name) }
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
