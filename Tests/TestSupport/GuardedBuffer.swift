import Foundation

/// Memory that ends where an inaccessible page begins: reading or writing beyond it crashes the test.
public final class GuardedBuffer<Element: BitwiseCopyable> {
  /// The first element; `count` of them end at the guard, up to the padding that alignment asks for.
  public let pointer: UnsafeMutablePointer<Element>
  public let count: Int
  private let mapping: UnsafeMutableRawPointer
  private let mappedBytes: Int

  /// Maps zeroed memory.
  ///
  /// - Parameters:
  ///   - count: Elements.
  ///   - alignment: Of the first element, in bytes; the size is rounded up to a multiple of it.
  public init(count: Int, alignment: Int = MemoryLayout<Element>.alignment) {
    let page = Int(sysconf(Int32(_SC_PAGESIZE)))
    let stride = MemoryLayout<Element>.stride
    let bytes = (count * stride + alignment - 1) / alignment * alignment
    let usable = (bytes + page - 1) / page * page
    mappedBytes = usable + page
    let address = mmap(
      nil, mappedBytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0)
    precondition(address != MAP_FAILED, "mmap of \(mappedBytes) bytes failed")
    mapping = address!
    precondition(mprotect(mapping + usable, page, PROT_NONE) == 0, "mprotect failed")
    pointer = (mapping + (usable - bytes)).assumingMemoryBound(to: Element.self)
    self.count = count
  }

  /// Maps a copy of some elements.
  public convenience init(
    _ elements: [Element], alignment: Int = MemoryLayout<Element>.alignment
  ) {
    self.init(count: elements.count, alignment: alignment)
    pointer.update(from: elements, count: elements.count)
  }

  deinit { munmap(mapping, mappedBytes) }

  public var raw: UnsafeMutableRawPointer { UnsafeMutableRawPointer(pointer) }

  /// Fills it with 0x7f, enormous as floats and no number as halves: for memory that a kernel must
  /// not expect anything of.
  public func spoil() -> Self {
    memset(pointer, 0x7f, count * MemoryLayout<Element>.stride)
    return self
  }

  /// The contents, copied.
  public var elements: [Element] { Array(UnsafeBufferPointer(start: pointer, count: count)) }

  /// The last `n` elements, which end at the guard.
  public func suffix(_ n: Int) -> UnsafeMutablePointer<Element> { pointer + (count - n) }

  public subscript(i: Int) -> Element {
    get { pointer[i] }
    set { pointer[i] = newValue }
  }
}
