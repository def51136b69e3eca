import Testing

@testable import PostgresClient

@Suite struct ConnectionTests {
  @Test func keywordsComeInPsqlsOrder() {
    let parameters = ConnectionParameters(
      host: "h", port: "1", user: "u", database: "postgresql://x/y", applicationName: "test")
    #expect(
      parameters.keywordsAndValues.map { "\($0.keyword)=\($0.value)" } == [
        "host=h", "port=1", "user=u", "dbname=postgresql://x/y", "fallback_application_name=test",
        "client_encoding=UTF8",
      ])
  }

  @Test func whatIsNotGivenIsLeftToLibpq() {
    let parameters = ConnectionParameters(applicationName: "test")
    #expect(
      parameters.keywordsAndValues.map(\.keyword) == [
        "fallback_application_name", "client_encoding",
      ])
  }

  @Test func anAbsentServerIsAClearError() {
    let error = #expect(throws: PostgresError.self) {
      try Connection(ConnectionParameters(host: "/nowhere", applicationName: "test"))
    }
    #expect(error?.description.contains("/nowhere") == true)
    #expect(error?.description.contains("\n") == false)
  }

  @Test func aDatabaseCanBeAConninfoString() {
    for database in ["host=/elsewhere", "postgresql://%2Felsewhere/db"] {
      let error = #expect(throws: PostgresError.self) {
        try Connection(
          ConnectionParameters(host: "/nowhere", database: database, applicationName: "test"))
      }
      #expect(error?.description.contains("/elsewhere") == true)
    }
  }

  @Test func messagesAreOneLine() {
    #expect(oneLine("FATAL:  no such role\nDETAIL: x\n") == "no such role")
    #expect(
      oneLine("\nserver closed the connection\n\tThis probably") == "server closed the connection")
    #expect(oneLine("") == "unknown error")
  }
}
