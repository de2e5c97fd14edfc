/// A name that an entry can have: 1 to 255 bytes without a slash and NUL, and neither `.` nor `..`.
public struct Name: Hashable, Sendable {
  public let bytes: [UInt8]

  /// The label of a machine that has no other one.
  public static let localhost = Name("localhost".utf8)!

  /// `nil` if no entry can have the name.
  public init?(_ bytes: some Sequence<UInt8>) {
    self.bytes = Array(bytes)
    guard Self.isPossible(self.bytes.span) else { return nil }
  }

  /// True if an entry can have the name; for loops over entries, whose names are part of larger buffers.
  @inlinable
  public static func isPossible(_ name: Span<UInt8>) -> Bool {
    guard name.count > 0, name.count <= 255 else { return false }
    // Without an early end, several bytes are compared at once.
    var hasOther = false
    for index in name.indices {
      let byte = name[unchecked: index]
      hasOther = hasOther || byte == 0 || byte == slash
    }
    let dot = UInt8(ascii: ".")
    return !hasOther && !(name[0] == dot && (name.count == 1 || name.count == 2 && name[1] == dot))
  }
}
