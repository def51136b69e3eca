import Foundation

/// A file of named tensors and a map of strings, in Hugging Face's safetensors format.
///
/// Eight bytes of header length (little-endian), a JSON header, then the tensors' bytes
/// without gaps.  Nothing that a file says is believed before it is checked
/// against the number of bytes that are there.
/// - seealso: <https://github.com/huggingface/safetensors#format>
public struct Safetensors {
  /// The element types known here; others may be present but cannot be asked for.
  public enum ElementType: String, Sendable {
    case float16 = "F16"
    case float32 = "F32"
    case uint8 = "U8"
    case uint16 = "U16"

    var bytes: Int {
      switch self {
      case .uint8: 1
      case .float16, .uint16: 2
      case .float32: 4
      }
    }
  }

  /// A tensor as the header describes it.
  public struct Tensor: Sendable, Equatable {
    /// `F16`, `F32`, `U8`, …
    public var elementType: String
    public var shape: [Int]
    /// Where its bytes begin and end, in the file.
    var bytes: Range<Int>
  }

  public let metadata: [String: String]
  public let tensors: [String: Tensor]
  private let source: ByteSource

  public init(path: String) throws(FileError) {
    try self.init(ByteSource(path: path))
  }

  public init(_ data: Data) throws(FileError) {
    try self.init(ByteSource(data))
  }

  private init(_ source: ByteSource) throws(FileError) {
    let header = try Self.header(of: source)
    self.source = source
    metadata = header.metadata
    tensors = try Self.place(header.tensors, after: header.end, before: source.byteCount)
  }

  /// The elements of a tensor, row-major; halves are widened.
  public func floats(of name: String) throws(FileError) -> [Float] {
    switch try elementType(of: name, among: [.float16, .float32]) {
    case .float16: Halves.floats(littleEndianHalves: try bytes(of: name))
    default: Halves.floats(littleEndianFloats: try bytes(of: name))
    }
  }

  /// The elements of a tensor of integers, row-major; bytes are widened.
  public func integers(of name: String) throws(FileError) -> [UInt16] {
    switch try elementType(of: name, among: [.uint8, .uint16]) {
    case .uint8: try bytes(of: name).map { UInt16($0) }
    default: Halves.bits(littleEndian: try bytes(of: name))
    }
  }

  /// A tensor's bytes.
  func bytes(of name: String) throws(FileError) -> Data {
    let bytes = try tensor(name).bytes
    return try source.read(at: bytes.lowerBound, count: bytes.count)
  }

  func tensor(_ name: String) throws(FileError) -> Tensor {
    guard let tensor = tensors[name] else { throw .malformed(reason: "no tensor \"\(name)\"") }
    return tensor
  }

  /// The type of a tensor's elements, if it is one of these.
  func elementType(
    of name: String, among expected: [ElementType]
  ) throws(FileError) -> ElementType {
    let found = try tensor(name).elementType
    guard let elementType = ElementType(rawValue: found), expected.contains(elementType) else {
      throw .malformed(
        reason: "tensor \"\(name)\" has elements of type \(found); expected "
          + expected.map(\.rawValue).joined(separator: " or "))
    }
    return elementType
  }
}

// MARK: - The header

extension Safetensors {
  /// The limit that the reference implementation sets.
  private static let maximumHeaderBytes = 100_000_000

  /// One value of the header: a tensor, or the map of strings.
  private enum Entry: Decodable {
    case metadata([String: String])
    case tensor(elementType: String, shape: [Int], offsets: [Int])

    private enum Key: String, CodingKey {
      case dtype
      case shape
      case offsets = "data_offsets"
    }

    init(from decoder: any Decoder) throws {
      if decoder.codingPath.last?.stringValue == "__metadata__" {
        self = .metadata(try [String: String](from: decoder))
        return
      }
      let container = try decoder.container(keyedBy: Key.self)
      self = .tensor(
        elementType: try container.decode(String.self, forKey: .dtype),
        shape: try container.decode([Int].self, forKey: .shape),
        offsets: try container.decode([Int].self, forKey: .offsets))
    }
  }

  /// A tensor whose offsets are not checked yet.
  private struct Claim {
    var name: String
    var elementType: String
    var shape: [Int]
    var offsets: [Int]
  }

  private static func header(
    of source: ByteSource
  ) throws(FileError) -> (metadata: [String: String], tensors: [Claim], end: Int) {
    let foreign = { (reason: String) -> FileError in
      .foreign(expected: "a safetensors file", reason: reason)
    }
    guard source.byteCount >= 8 else { throw foreign("only \(source.byteCount) bytes") }
    let lengthBytes = try source.read(at: 0, count: 8)
    let length = lengthBytes.reversed().reduce(UInt64(0)) { $0 << 8 | UInt64($1) }
    guard length >= 2, length <= UInt64(min(maximumHeaderBytes, source.byteCount - 8)) else {
      throw foreign("a header of \(length) bytes in a file of \(source.byteCount)")
    }
    let json = try source.read(at: 8, count: Int(length))
    guard json.first == UInt8(ascii: "{") else { throw foreign("the header is not a JSON object") }
    let entries: [String: Entry]
    do {
      entries = try JSONDecoder().decode([String: Entry].self, from: json)
    } catch {
      throw foreign("the header is not the JSON expected")
    }
    var metadata: [String: String] = [:]
    var claims: [Claim] = []
    for (name, entry) in entries {
      switch entry {
      case .metadata(let strings):
        metadata = strings
      case .tensor(let elementType, let shape, let offsets):
        claims.append(
          Claim(name: name, elementType: elementType, shape: shape, offsets: offsets))
      }
    }
    return (metadata, claims, 8 + Int(length))
  }

  /// The tensors, if they follow upon each other from `start` to `end` and each
  /// is as long as its shape says.
  private static func place(
    _ claims: [Claim], after start: Int, before end: Int
  ) throws(FileError) -> [String: Tensor] {
    var tensors: [String: Tensor] = [:]
    for claim in claims {
      let bad = { (what: String) -> FileError in
        .malformed(reason: "tensor \"\(claim.name)\" \(what)")
      }
      guard claim.offsets.count == 2 else { throw bad("lacks its two offsets") }
      let (first, last) = (claim.offsets[0], claim.offsets[1])
      guard first >= 0, last >= first else { throw bad("lies at \(first)..<\(last)") }
      guard last <= end - start else {
        throw .truncated(
          expectedBytes: start.addingReportingOverflow(last).overflow ? .max : start + last,
          actualBytes: end)
      }
      guard claim.shape.allSatisfy({ $0 >= 0 }) else { throw bad("has a negative extent") }
      if let elementType = ElementType(rawValue: claim.elementType) {
        guard byteCount(elementType, claim.shape) == last - first else {
          throw bad("of shape \(claim.shape) takes \(last - first) bytes")
        }
      }
      tensors[claim.name] = Tensor(
        elementType: claim.elementType, shape: claim.shape, bytes: start + first..<start + last)
    }
    var position = start
    let inOrder = tensors.sorted {
      ($0.value.bytes.lowerBound, $0.value.bytes.upperBound)
        < ($1.value.bytes.lowerBound, $1.value.bytes.upperBound)
    }
    for (name, tensor) in inOrder {
      guard tensor.bytes.lowerBound == position else {
        let what = tensor.bytes.lowerBound < position ? "overlaps another" : "follows a gap"
        throw .malformed(reason: "tensor \"\(name)\" \(what)")
      }
      position = tensor.bytes.upperBound
    }
    guard position == end else {
      throw .malformed(reason: "\(end - position) bytes belong to no tensor")
    }
    return tensors
  }

  /// The bytes of a shape, nil if there are more than an integer can count.
  private static func byteCount(_ elementType: ElementType, _ shape: [Int]) -> Int? {
    var bytes = elementType.bytes
    for extent in shape {
      let (product, overflow) = bytes.multipliedReportingOverflow(by: extent)
      if overflow { return nil }
      bytes = product
    }
    return bytes
  }
}

// MARK: - Writing

extension Safetensors {
  /// A file's bytes: tensors of halves in the order given, values rounded.
  ///
  /// The same arguments give the same bytes.
  public static func encode(
    metadata: [String: String], halves: [(name: String, shape: [Int], values: [Float])]
  ) -> Data {
    var data = header(metadata: metadata, tensors: halves.map { ($0.name, .float16, $0.shape) })
    data.reserveCapacity(data.count + halves.reduce(0) { $0 + 2 * $1.values.count })
    for tensor in halves {
      precondition(tensor.values.count == tensor.shape.reduce(1, *))
      data.append(Halves.littleEndian(tensor.values))
    }
    return data
  }

  /// What a file begins with; the tensors' elements follow, in this order and little-endian.
  static func header(
    metadata: [String: String],
    tensors: [(name: String, elementType: ElementType, shape: [Int])]
  ) -> Data {
    var offset = 0
    var entries = ["\"__metadata__\":\(jsonObject(metadata))"]
    for tensor in tensors {
      let end = offset + tensor.shape.reduce(tensor.elementType.bytes, *)
      let type = jsonString(tensor.elementType.rawValue)
      entries.append(
        """
        \(jsonString(tensor.name)):{"dtype":\(type),"shape":\(jsonArray(tensor.shape)),\
        "data_offsets":[\(offset),\(end)]}
        """)
      offset = end
    }
    var header = Data("{\(entries.joined(separator: ","))}".utf8)
    // Tensors begin at a multiple of eight, as the reference implementation writes them.
    header.append(Data(repeating: UInt8(ascii: " "), count: (8 - header.count % 8) % 8))
    var data = withUnsafeBytes(of: UInt64(header.count).littleEndian) { Data($0) }
    data.append(header)
    return data
  }

  private static func jsonObject(_ strings: [String: String]) -> String {
    let pairs = strings.sorted { $0.key < $1.key }.map {
      "\(jsonString($0.key)):\(jsonString($0.value))"
    }
    return "{\(pairs.joined(separator: ","))}"
  }

  private static func jsonArray(_ integers: [Int]) -> String {
    "[\(integers.map(String.init).joined(separator: ","))]"
  }

  private static func jsonString(_ string: String) -> String {
    var json = "\""
    for scalar in string.unicodeScalars {
      switch scalar {
      case "\"": json += "\\\""
      case "\\": json += "\\\\"
      case "\0"..."\u{1f}":
        let digits = String(scalar.value, radix: 16)
        json += "\\u" + String(repeating: "0", count: 4 - digits.count) + digits
      default: json.unicodeScalars.append(scalar)
      }
    }
    return json + "\""
  }
}
