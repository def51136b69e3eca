import Testing

@testable import PostgresClient

@Suite struct TableReaderTests {
  /// Read the same with `standard_conforming_strings` on and off.
  @Test(
    arguments: [
      ("", "E''"), ("a $1 b", "E'a $1 b'"), ("it's", "E'it''s'"), ("\\", "E'\\\\'"),
      ("\\'; DROP", "E'\\\\''; DROP'"), ("ü\n\"x\"", "E'ü\n\"x\"'"),
    ])
  func aTextBecomesALiteral(text: String, expected: String) {
    #expect(literal(text) == expected)
  }
}
