import Catalog
import Model

/// A directory's record as bytes, in which everything may be wrong.
struct RawRecord {
  struct File {
    var name: [UInt8]
    var kind: UInt8 = 1
    var size: UInt64 = 0
    /// A link's target or a file's digest.
    var tail: [UInt8] = []
  }
  var files: [File] = []
  var fileCount: UInt32?
  var children: [(name: [UInt8], digest: Digest)] = []
  var childCount: UInt32?
  var kind: UInt8 = 7
  var flags: UInt8 = 0
  var permissions: UInt16 = 0o755
  var nanoseconds: UInt32 = 0
  var spare: [UInt8] = []

  private static func bytes(_ value: some FixedWidthInteger) -> [UInt8] {
    withUnsafeBytes(of: value.littleEndian) { Array($0) }
  }

  private func fixed(_ kind: UInt8, _ size: UInt64) -> [UInt8] {
    [kind, flags] + Self.bytes(permissions) + Self.bytes(UInt64(0)) + Self.bytes(Int64(0)) + Self.bytes(nanoseconds)
      + Self.bytes(size)
  }

  var content: [UInt8] {
    var bytes = fixed(kind, 0) + Self.bytes(fileCount ?? UInt32(files.count))
    for file in files {
      bytes += fixed(file.kind, file.size) + [UInt8(truncatingIfNeeded: file.name.count)] + file.name + file.tail
    }
    bytes += Self.bytes(childCount ?? UInt32(children.count))
    for child in children {
      bytes += [UInt8(truncatingIfNeeded: child.name.count)] + child.name + child.digest.bytes
    }
    return bytes + spare
  }

  var digest: Digest { sha256(content) }

  static func file(_ name: String, _ content: [UInt8], size: UInt64? = nil) -> File {
    File(name: Array(name.utf8), size: size ?? UInt64(content.count), tail: sha256(content).bytes)
  }
}

func sha256(_ bytes: [UInt8]) -> Digest {
  let hasher = SHA256()
  hasher.update(bytes)
  return hasher.finish()
}
