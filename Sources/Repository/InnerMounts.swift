internal import Posix

extension Repository {
  /// The mounts (as in `FileStatus`) that show a directory inside the repository under another path: bind
  /// mounts, which no device or inode number gives away, and those of bindfs. From `/proc/self/mountinfo`, see proc(5).
  ///
  /// Empty where `canSeeMounts` is false.
  public func innerMounts() -> Set<UInt64> {
    guard let real = try? Process.realPath(path), let mounts = MountLine.all() else { return [] }
    guard let own = mounts.first(where: { $0.id == identity.mount }) else { return [] }
    // The repository's path from the root of its file system.
    let below = own.point == [slash] ? real : Array(real.dropFirst(own.point.count))
    let inside = own.root == [slash] ? below : own.root + below
    return Set(
      mounts.filter {
        $0.device == own.device && $0.root.starts(with: inside + [slash])
          // bindfs names the directory that it shows.
          || $0.isFUSE && ($0.source == real || $0.source.starts(with: real + [slash]))
      }.map(\.id))
  }
}

extension Repository {
  /// False where something may be mounted on a directory of the repository, or below it: also where that cannot be seen.
  func hasNoMounts(below names: [[UInt8]]) -> Bool {
    guard let real = try? Process.realPath(path), let mounts = MountLine.all() else { return false }
    let place = real + names.flatMap { [slash] + $0 }
    return !mounts.contains { $0.point == place || $0.point.starts(with: place + [slash]) }
  }

  /// False where proc(5) is not mounted.
  public static var canSeeMounts: Bool { MountLine.all() != nil }
}

private let slash = UInt8(ascii: "/")

/// The fields of a line that matter: mount, device, root, mount point, type, source.
private struct MountLine {
  let id: UInt64
  let device: [UInt8]
  let root: [UInt8]
  let point: [UInt8]
  let isFUSE: Bool
  let source: [UInt8]

  /// The mounts that the process sees; `nil` where that cannot be read.
  static func all() -> [MountLine]? {
    let text = try? Descriptor.open(path: Array("/proc/self/mountinfo".utf8), .read).readWhole(limit: 64 << 20)
    return text?.split(separator: 10).compactMap { MountLine($0) }
  }

  init?(_ line: ArraySlice<UInt8>) {
    let fields = line.split(separator: UInt8(ascii: " "), maxSplits: 5)
    guard fields.count > 4, let id = UInt64(String(decoding: fields[0], as: UTF8.self)) else { return nil }
    self.id = id
    device = Array(fields[2])
    root = Self.unescaped(fields[3])
    point = Self.unescaped(fields[4])
    // After options of any number and a hyphen.
    let rest = fields.last!.split(separator: UInt8(ascii: " ")).drop { $0 != [UInt8(ascii: "-")] }
    isFUSE = rest.dropFirst().first?.starts(with: Array("fuse".utf8)) ?? false
    source = rest.dropFirst(2).first.map(Self.unescaped) ?? []
  }

  /// Space, tab, newline and backslash are written as a backslash and three octal digits.
  private static func unescaped(_ field: ArraySlice<UInt8>) -> [UInt8] {
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
