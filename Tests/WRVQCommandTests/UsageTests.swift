import Foundation
import PostgresClient
import Testing
import WRVQ

@testable import WRVQCommand

/// How the process would end if it failed to understand these arguments; nil if it understood.
func diagnose(_ arguments: [String]) -> Diagnostic? {
  do {
    _ = try WRVQCommand.parseAsRoot(arguments)
    return nil
  } catch {
    return Diagnostic(error)
  }
}

@Suite struct UsageTests {
  @Test(arguments: [
    "bogus", "--bogus", "list extra", "list -h", "list -p", "list -p 0", "list -p x",
    "list -p 65536", "list -p 5432,", "load", "load f", "load --name n", "load f --name=",
    "export n", "export --output f", "drop", "drop n --forced", "show",
    "train", "train --table t", "train --column c", "train --table t --column c",
    "train --input f.npy", "train --input f.npy --name n --output f",
    "train --input f.npy --table t --column c --name n", "train --input f.npy --column c --name n",
    "train --input f.npy --name n --metric hamming", "train --input f.npy --name n --levels flat",
    "train --input f.npy --name n --levels flat:0",
    "train --input f.npy --name n --levels product:4",
    "train --input f.npy --name n --weight one", "train --input f.npy --name n --sample 0",
    "train --input f.npy --name n --seed -1", "train --input f.npy --name n --threads 0",
    "train --input f.npy --name n --method sgd", "train --input f.npy --name n --weight-bits 5",
    "train --input f.npy --name n --iterations 5", "train --input f.npy --name n --beam 2",
    "train --input f.npy --name n --learning-rate 0.1", "train --input f.npy --name n --batch 9",
    "train --input f.npy --name n --checkpoint c", "train --input f.npy --output - --json",
    "encode --codebook c --input f.npy --output - --json",
    "encode --codebook c --input f.npy --output /dev/stdout --json",
    "train --input f.npy --name n --method adam --iterations 0",
    "train --input f.npy --name n --method adam --learning-rate 0",
    "train --input f.npy --name n --method adam --learning-rate nan",
    "train --input f.npy --name n --method adam --batch 0",
    "train --input f.npy --name n --method adam --beam 257",
    "encode", "encode --codebook c --input f.npy", "encode --codebook= --input f.npy --output f",
    "encode --codebook c --input f.npy --output f --threads 0",
    "encode --codebook c --input f.npy --output f --beam 0",
    "encode --codebook c --input f.npy --output f --beam 257",
    "encode --codebook c --input f.npy --output f --refit 1",
    "encode --codebook c --input f.npy --output f --levels 1",
    "decode --codebook c --input f", "decode --codebook c --input f --output f.npy --levels 0",
    "evaluate", "evaluate --table t", "evaluate --input f.npy --table t --column c",
    "evaluate --input f.npy --levels flat:0", "evaluate --input f.npy --weight-bits 5",
    "evaluate --input f.npy --codebook c --levels flat:4",
    "evaluate --input f.npy --codebook c --metric l2", "evaluate --input f.npy --codebook=",
    "evaluate --input f.npy --test f.npy --test-rows 5", "evaluate --input f.npy --test-rows 0",
    "evaluate --input f.npy --sample 0", "evaluate --input f.npy --baseline lsq",
    "evaluate --input f.npy --baseline none --baseline rvq", "evaluate --input f.npy --beam 0",
    "evaluate --input f.npy --iterations 5", "evaluate --input f.npy --method adam --iterations 0",
    "evaluate --input f.npy --method adam --method adam",
    "evaluate --input f.npy --codebook c --method linear", "evaluate --input f.npy --threads 0",
    "evaluate --input f.npy --metric hamming",
  ]) func aUsageErrorEndsWithStatusTwo(line: String) throws {
    let diagnostic = try #require(diagnose(line.split(separator: " ").map(String.init)))
    #expect(diagnostic.exitStatus == 2 && !diagnostic.isAnswer)
    #expect(diagnostic.text.hasPrefix("wrvq: ") && !diagnostic.text.contains("Error:"))
    #expect(diagnostic.text.contains("Usage: wrvq"))
  }

  @Test(arguments: [
    "list", "list -h /tmp -p 5432,5433 -U me -d postgresql:///db --json", "load f --name n",
    "export n --output f", "export n --output -", "show n", "drop n --force",
    "train --table s.t --column c --name n --levels flat:8,flat:4,product:2 --weight norm",
    "train --input f.fvecs --output f --metric cosine --sample 10 --seed 7 --threads 2 --json",
    "train --input f.fvecs --output f --weight-bits 4",
    "train --input f.npy --output f --method adam",
    "train --input f.npy --output f --method adam --iterations 9 --learning-rate 0.1 --batch 9 --beam 2 --checkpoint c",
    "encode --codebook c --input f.npy --output f -h /tmp --threads 2 --json",
    "encode --codebook c --input f.npy --output f --beam 256 --refit",
    "decode --codebook ./c --input f --output f.npy --levels 2",
    "evaluate --input f.npy --levels flat:4 --levels flat:4,flat:4 --weight-bits 16 --weight-bits 4",
    "evaluate --table t --column c --codebook c --queries q.npy --test t.fvecs --beam 8 --refit",
    "evaluate --input f.npy --baseline rvq --baseline pq --metric cosine --weight norm --json",
    "evaluate --input f.npy --method linear --method adam --iterations 50",
    "evaluate --input f.npy --baseline none --test-rows 5 --sample 9 --seed 3 --threads 2",
  ]) func goodUsageIsUnderstood(line: String) {
    #expect(diagnose(line.split(separator: " ").map(String.init)) == nil)
  }

  @Test func theHostIsH() throws {
    let command = try WRVQCommand.parseAsRoot([
      "list", "-h", "/run", "-p", "1", "-U", "u", "-d", "d",
    ])
    let list = try #require(command as? ListCommand)
    let expected = ConnectionParameters(
      host: "/run", port: "1", user: "u", database: "d", applicationName: "wrvq")
    #expect(list.connection.parameters == expected)
  }

  @Test func aFailureIsOneLineAndAHint() {
    let error = PostgresError.server(
      ServerError(sqlState: "42P01", message: "no such\ntable", hint: "Create it."))
    let diagnostic = Diagnostic(error)
    #expect(diagnostic.text == "wrvq: no such table\nhint: Create it.")
    #expect(diagnostic.exitStatus == 1 && !diagnostic.isAnswer)
    #expect(Diagnostic(CommandFailure("no")).text == "wrvq: no")
  }

  @Test func aFailureWithAFileNamesIt() {
    let error = #expect(throws: CommandFailure.self) {
      try namingFile("a.npy") { throw FileError.unreadable(reason: "no such file") }
    }
    #expect(error?.description == "a.npy: cannot be read: no such file")
  }

  @Test func aSlashOrASuffixMakesItAFile() throws {
    for (text, isFile) in [("a", false), ("./a", true), ("a.safetensors", true)] {
      let show = try #require(try WRVQCommand.parseAsRoot(["show", text]) as? ShowCommand)
      #expect(show.codebook.isFile == isFile)
    }
  }
}
