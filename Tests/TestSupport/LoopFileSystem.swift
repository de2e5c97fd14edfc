/// A file system of its own in an image file, or a tmpfs, mounted for as long as this lives. Needs root.
public final class LoopFileSystem {
  public let tree: Tree
  public let image: ByteString
  private let mountOptions: [ByteString]
  private var isMounted = false

  /// `type` is `ext4`, `xfs`, `btrfs` or `tmpfs`; `options` go to mkfs. The directory must not exist yet.
  public init(
    _ type: String, mebibytes: Int, at directory: ByteString, options: [ByteString] = []
  ) throws {
    image = directory + ".img"
    tree = try Tree(making: directory)
    let isInMemory = type == "tmpfs"
    mountOptions = isInMemory ? ["-t", "tmpfs", "-o", ByteString("size=\(mebibytes)M")] : ["-o", "loop"]
    if !isInMemory {
      try tool("truncate", ["-s", ByteString("\(mebibytes)M"), image])
      try tool(ByteString("mkfs.\(type)"), ["-q"] + options + [image])
    }
    try mount()
  }

  deinit { try? unmount() }

  public func mount() throws {
    try tool("mount", mountOptions + [image, tree.root])
    isMounted = true
  }

  public func unmount() throws {
    guard isMounted else { return }
    try tool("umount", [tree.root])
    isMounted = false
  }

  /// Bytes that are in use, after everything was written.
  public func bytesUsed() throws -> Int {
    try tool("sync", ["-f", tree.root])
    let text = String(
      decoding: try tool("df", ["--output=used", "-B1", tree.root]), as: UTF8.self)
    guard let used = text.split(separator: "\n").last.flatMap({ Int($0.filter(\.isNumber)) }) else {
      throw TestSupportError("df printed \(text)")
    }
    return used
  }
}
