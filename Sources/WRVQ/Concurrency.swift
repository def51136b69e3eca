import Dispatch
import Synchronization

/// Does all `count` items of some work, each once and in any order, on at most so many threads.
func concurrently(_ count: Int, threads: Int, _ body: @Sendable (Int) -> Void) {
  let workers = min(threads, count)
  if workers <= 1 {
    for item in 0..<count { body(item) }
    return
  }
  let next = Atomic<Int>(0)
  DispatchQueue.concurrentPerform(iterations: workers) { _ in
    while true {
      let item = next.wrappingAdd(1, ordering: .relaxed).oldValue
      if item >= count { return }
      body(item)
    }
  }
}
