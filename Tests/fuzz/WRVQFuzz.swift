import Foundation
import TestSupport

/// `wrvq-fuzz [--cases N] [--seed S] [--only READER]`: damages small files a million times and
/// reads each of them.
///
/// Every case must end with what its reader promises, or with one of the library's own errors that
/// says on one short line what is wrong.  A case depends on the seed and its number only.
@main struct WRVQFuzz {
  private static let usage = "usage: wrvq-fuzz [--cases N] [--seed S] [--only READER]"

  private var cases = 1_000_000
  private var seed: UInt64 = 1
  private var readers: [FuzzedReader]

  static func main() throws {
    var fuzz = WRVQFuzz(readers: try FuzzedReader.all())
    fuzz.parse(CommandLine.arguments.dropFirst())
    if !fuzz.run() { exit(1) }
  }

  private init(readers: [FuzzedReader]) { self.readers = readers }

  private mutating func parse(_ arguments: ArraySlice<String>) {
    var arguments = arguments
    while let option = arguments.popFirst() {
      let value = arguments.popFirst() ?? ""
      switch option {
      case "--cases": cases = Int(value) ?? 0
      case "--seed": seed = UInt64(value) ?? 0
      case "--only": readers = readers.filter { $0.name == value }
      default: cases = 0
      }
    }
    if cases < 1 || seed < 1 || readers.isEmpty {
      FileHandle.standardError.write(Data("\(Self.usage)\n".utf8))
      exit(2)
    }
  }

  /// Reads all cases on all cores; false if one of them ended badly.
  private func run() -> Bool {
    let workers = ProcessInfo.processInfo.activeProcessorCount
    limitMemory()
    CrashReport.install(workers: workers)
    var isGood = true
    for reader in readers {
      let share = cases / readers.count
      let results = Results(workers: workers)
      DispatchQueue.concurrentPerform(iterations: workers) { worker in
        for number in stride(from: worker, to: share, by: workers) {
          CrashReport.now(worker, reader.number, number)
          results.add(worker, number, outcome(reader, number))
        }
      }
      let failures = results.failures
      print(
        "\(failures.isEmpty ? "ok" : "not ok") \(reader.name): \(share) cases, "
          + "\(results.readable) of them readable")
      for (number, text) in failures.prefix(5) { print("  case \(number): \(text)") }
      isGood = isGood && failures.isEmpty
    }
    return isGood
  }

  private enum Outcome {
    case read
    case refused
    case failed(String)
  }

  private func outcome(_ reader: FuzzedReader, _ number: Int) -> Outcome {
    var mutator = Mutator(seed: seed &* 0x9e37_79b9 &+ UInt64(number))
    let sample = reader.samples[mutator.next(reader.samples.count)]
    do {
      try reader.read(mutator.mutate(sample))
      return .read
    } catch {
      return FuzzedReader.complaint(about: error).map(Outcome.failed) ?? .refused
    }
  }

  /// What a damaged header claims must not be allocated: far more than these files need fails.
  ///
  /// AddressSanitizer maps terabytes for itself and has an option of its own for this.
  private func limitMemory() {
    if dlsym(nil, "__asan_init") != nil { return }
    var limit = rlimit(rlim_cur: 4 << 30, rlim_max: 4 << 30)
    setrlimit(__rlimit_resource_t(UInt32(RLIMIT_AS.rawValue)), &limit)
  }

  /// What the workers found, each on its own.
  private final class Results: @unchecked Sendable {
    private var readableCases: [Int]
    private var failedCases: [[(Int, String)]]

    init(workers: Int) {
      readableCases = [Int](repeating: 0, count: workers)
      failedCases = [[(Int, String)]](repeating: [], count: workers)
    }

    private let lock = NSLock()

    func add(_ worker: Int, _ number: Int, _ outcome: Outcome) {
      switch outcome {
      case .refused: return
      case .read: lock.withLock { readableCases[worker] += 1 }
      case .failed(let text): lock.withLock { failedCases[worker].append((number, text)) }
      }
    }

    var readable: Int { readableCases.reduce(0, +) }
    var failures: [(Int, String)] { failedCases.flatMap { $0 }.sorted { $0.0 < $1.0 } }
  }
}
