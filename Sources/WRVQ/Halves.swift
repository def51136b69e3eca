import Foundation

/// Numbers as bytes, little-endian; mostly halves, which is how codebooks are stored.
public enum Halves {
  /// Bytes of the values, rounded to nearest even.
  public static func littleEndian(_ values: [Float]) -> Data {
    var data = Data(count: 2 * values.count)
    data.withUnsafeMutableBytes { bytes in
      for (index, value) in values.enumerated() {
        bytes.storeBytes(
          of: Float16(value).bitPattern.littleEndian, toByteOffset: 2 * index, as: UInt16.self)
      }
    }
    return data
  }

  /// The values of halves; an odd last byte is ignored.
  public static func floats(littleEndianHalves data: Data) -> [Float] {
    let halves = bits(littleEndian: data)
    return [Float](unsafeUninitializedCapacity: halves.count) { floats, count in
      count = halves.count
      if count > 0 { Kernels.best.table.half_to_float(halves, floats.baseAddress!, count) }
    }
  }

  /// The values of single-precision numbers; odd last bytes are ignored.
  static func floats(littleEndianFloats data: Data) -> [Float] {
    data.withUnsafeBytes { bytes in
      [Float](unsafeUninitializedCapacity: bytes.count / 4) { floats, count in
        count = bytes.count / 4
        for index in 0..<count {
          let bits = bytes.loadUnaligned(fromByteOffset: 4 * index, as: UInt32.self)
          floats.initializeElement(at: index, to: Float(bitPattern: .init(littleEndian: bits)))
        }
      }
    }
  }

  /// Bytes of numbers of 16 bits.
  static func littleEndian(bits: some Collection<UInt16>) -> Data {
    var data = Data(count: 2 * bits.count)
    data.withUnsafeMutableBytes { bytes in
      for (index, value) in bits.enumerated() {
        bytes.storeBytes(of: value.littleEndian, toByteOffset: 2 * index, as: UInt16.self)
      }
    }
    return data
  }

  /// Numbers of 16 bits; an odd last byte is ignored.
  static func bits(littleEndian data: Data) -> [UInt16] {
    data.withUnsafeBytes { bytes in
      [UInt16](unsafeUninitializedCapacity: bytes.count / 2) { halves, count in
        count = bytes.count / 2
        for index in 0..<count {
          let bits = bytes.loadUnaligned(fromByteOffset: 2 * index, as: UInt16.self)
          halves.initializeElement(at: index, to: UInt16(littleEndian: bits))
        }
      }
    }
  }

  /// Bytes of single-precision numbers.
  static func littleEndian(floats: [Float]) -> Data {
    var data = Data(count: 4 * floats.count)
    data.withUnsafeMutableBytes { bytes in
      for (index, value) in floats.enumerated() {
        bytes.storeBytes(
          of: value.bitPattern.littleEndian, toByteOffset: 4 * index, as: UInt32.self)
      }
    }
    return data
  }

  /// The nearest half to each value.
  static func rounded(_ values: [Float]) -> [Float] {
    values.map { Float(Float16($0)) }
  }
}
