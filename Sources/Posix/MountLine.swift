/// The relevant fields of a line of `/proc/PID/mountinfo`, see proc(5).
public struct MountLine: Sendable {
  /// The mount's number, as from `statx(2)`.
  public let id: UInt64
  /// Major and minor number as text.
  public let device: [UInt8]
  /// The directory of the file system that the mount shows.
  public let root: [UInt8]
  /// The path of the mount point.
  public let point: [UInt8]

  /// The type of the file system, such as `ext4`.
  public let type: [UInt8]
  public var isFUSE: Bool { type.starts(with: Array("fuse".utf8)) }
  /// The mounted object, such as a device, an export or a directory.
  public let source: [UInt8]
  /// The paths that an overlay shows, as written at its mounting, and the values of its other options. Empty for any
  /// other file system.
  public let layers: [[UInt8]]

  /// The device number in the form of `FileStatus`.
  public var deviceNumber: UInt64? {
    let numbers = device.split(separator: UInt8(ascii: ":")).compactMap { UInt64(String(decoding: $0, as: UTF8.self)) }
    return numbers.count == 2 ? numbers[0] << 32 | numbers[1] : nil
  }

  /// The mounts that a process sees, by default this process; `nil` if they cannot be read.
  public static func all(of process: Int32? = nil) -> [MountLine]? {
    let path = "/proc/\(process.map { "\($0)" } ?? "self")/mountinfo"
    return (try? Descriptor.open(path: Array(path.utf8), .read).readWhole(limit: 64 << 20)).map(all)
  }

  static func all(in text: [UInt8]) -> [MountLine] { text.split(separator: 10).compactMap { MountLine(line: $0) } }

  init?(line: ArraySlice<UInt8>) {
    let fields = line.split(separator: UInt8(ascii: " "), maxSplits: 5)
    guard fields.count > 4, let id = UInt64(String(decoding: fields[0], as: UTF8.self)) else { return nil }
    self.id = id
    device = Array(fields[2])
    root = Self.unescaped(fields[3])
    point = Self.unescaped(fields[4])
    // Any number of options and a hyphen come before these fields.
    let rest = fields.last!.split(separator: UInt8(ascii: " ")).drop { $0 != [UInt8(ascii: "-")] }
    type = Array(rest.dropFirst().first ?? [])
    source = rest.dropFirst(2).first.map(Self.unescaped) ?? []
    let options =
      type == Array("overlay".utf8) ? rest.dropFirst(3).first.map(Self.unescaped) ?? [] : []
    layers = options.split { [UInt8(ascii: ","), UInt8(ascii: "="), UInt8(ascii: ":")].contains($0) }.map { Array($0) }
  }

  /// Decodes a field: space, tab, newline and backslash are a backslash and three octal digits; also in exports(5).
  public static func unescaped(_ field: ArraySlice<UInt8>) -> [UInt8] {
    var bytes: [UInt8] = []
    var rest = field
    while let byte = rest.popFirst() {
      let digits = rest.prefix(3)
      if byte == UInt8(ascii: "\\"), digits.count == 3,
        let code = UInt8(String(decoding: digits, as: UTF8.self), radix: 8)
      {
        bytes.append(code)
        rest = rest.dropFirst(3)
      } else {
        bytes.append(byte)
      }
    }
    return bytes
  }
}
