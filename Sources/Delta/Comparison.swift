/// Measures how far two byte runs agree, eight bytes at a time; both must be readable for `count` bytes.
enum Comparison {
  /// The number of equal bytes from the first one on, at most `count`.
  static func prefix(of a: UnsafeRawPointer, and b: UnsafeRawPointer, count: Int) -> Int {
    var at = 0
    while at &+ 32 <= count {
      let first = difference(of: a, and: b, offset: at) | difference(of: a, and: b, offset: at &+ 8)
      let second = difference(of: a, and: b, offset: at &+ 16) | difference(of: a, and: b, offset: at &+ 24)
      if first | second != 0 { break }
      at &+= 32
    }
    while at &+ 8 <= count {
      let found = difference(of: a, and: b, offset: at)
      if found != 0 { return at &+ UInt64(littleEndian: found).trailingZeroBitCount / 8 }
      at &+= 8
    }
    while at < count, byte(at: a, offset: at) == byte(at: b, offset: at) { at &+= 1 }
    return at
  }

  /// The number of equal bytes from the last one backwards, at most `count`; the pointers are the runs' ends.
  static func suffix(of a: UnsafeRawPointer, and b: UnsafeRawPointer, count: Int) -> Int {
    var at = 0
    while at &+ 8 <= count {
      let found = difference(of: a, and: b, offset: -8 &- at)
      if found != 0 { return at &+ UInt64(littleEndian: found).leadingZeroBitCount / 8 }
      at &+= 8
    }
    while at < count, byte(at: a, offset: -1 &- at) == byte(at: b, offset: -1 &- at) { at &+= 1 }
    return at
  }

  @inline(__always)
  static func difference(of a: UnsafeRawPointer, and b: UnsafeRawPointer, offset: Int) -> UInt64 {
    a.loadUnaligned(fromByteOffset: offset, as: UInt64.self)
      ^ b.loadUnaligned(fromByteOffset: offset, as: UInt64.self)
  }

  @inline(__always)
  private static func byte(at a: UnsafeRawPointer, offset: Int) -> UInt8 {
    a.load(fromByteOffset: offset, as: UInt8.self)
  }
}
