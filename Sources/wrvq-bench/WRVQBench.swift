import Foundation
import WRVQ

/// `wrvq-bench kernels [options]`: how fast the kernels are on this machine.
///
/// Every benchmark checks its result before it is timed; times are medians of calls on one thread.
@main struct WRVQBench {
  private static let usage = """
    usage: wrvq-bench [kernels] [--json] [--fastest] [--level baseline|x86-64-v3] [--only TEXT]
      --json     one JSON array of objects instead of the table
      --fastest  the fastest samples, not the median ones: for a busy machine
      --level    one instruction-set level (default: all that this machine runs)
      --only     benchmarks whose name contains TEXT
    """

  static func main() {
    var json = false, only = ""
    var levels = Kernels.supported
    var arguments = CommandLine.arguments.dropFirst()
    if arguments.first == "kernels" { arguments.removeFirst() }
    while let argument = arguments.popFirst() {
      switch argument {
      case "--json": json = true
      case "--fastest": Measurement.takesFastest = true
      case "--only": only = arguments.popFirst() ?? ""
      case "--level":
        let name = arguments.popFirst() ?? ""
        levels = levels.filter { $0.level.rawValue == name }
        if levels.isEmpty { fail("this machine does not run level '\(name)'", status: 2) }
      case "--help":
        print(usage)
        return
      default: fail("unknown argument '\(argument)'\n\(usage)", status: 2)
      }
    }
    let rows = levels.map { kernels in
      KernelBenchmarks(kernels.table).run(named: only) { line in
        if !json {
          FileHandle.standardError.write(Data("\(kernels.level.rawValue): \(line)\n".utf8))
        }
      }
    }
    if json { printJSON(levels, rows) } else { printTable(levels, rows) }
  }

  private static func printTable(_ levels: [Kernels], _ rows: [[Measurement]]) {
    let names = rows[0].map(\.name), width = names.map(\.count).max() ?? 0
    func column(_ text: String) -> String {
      String(repeating: " ", count: max(0, 32 - text.count)) + text
    }
    print(
      String(repeating: " ", count: width) + levels.map { column($0.level.rawValue) }.joined())
    for (i, name) in names.enumerated() {
      let padding = String(repeating: " ", count: width - name.count)
      print(name + padding + rows.map { column($0[i].text) }.joined())
    }
  }

  private static func printJSON(_ levels: [Kernels], _ rows: [[Measurement]]) {
    let objects = zip(levels, rows).flatMap { level, measurements in
      measurements.map {
        "{\"level\": \"\(level.level.rawValue)\", \"name\": \"\($0.name)\", "
          + "\"ns\": \($0.nanoseconds), \"rate\": \($0.rate), \"unit\": \"\($0.unit)\"}"
      }
    }
    print("[\n  " + objects.joined(separator: ",\n  ") + "\n]")
  }
}

/// Ends the program with a message on standard error.
func fail(_ message: String, status: Int32 = 1) -> Never {
  FileHandle.standardError.write(Data("wrvq-bench: \(message)\n".utf8))
  exit(status)
}
