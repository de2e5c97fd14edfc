internal import Foundation

/// One entry as `find -printf` and its kind see it, without what differs between two equal trees.
public struct ListedEntry: Hashable, Sendable {
  /// `f`, `d`, `l`, `p`, `s`, `c` or `b`, as find has it.
  public let kind: String
  public let mode: String
  public let user: String
  public let group: String
  /// Seconds and nanoseconds of the modification time.
  public var modified: String
  /// Bytes of a file or a link's target; a directory's size depends on its history.
  public let size: String
  public let target: ByteString
  /// Numbers of a device node.
  public var device = ""
  /// The first path, by bytes, that is the same inode within the tree.
  public var firstLink: ByteString = ""
}

/// Everything about a tree that other people's tools can see: the oracle that is not us.
public struct TreeListing: Sendable {
  public let root: ByteString
  public private(set) var entries: [ByteString: ListedEntry] = [:]
  /// Number of each inode, by path; the same path in two snapshots shares it if it was linked.
  public private(set) var inodes: [ByteString: UInt64] = [:]
  /// Change time of each inode, by path.
  public private(set) var changed: [ByteString: String] = [:]
  public private(set) var blocks: [ByteString: Int] = [:]

  /// Lists `root` and everything below it; the root itself has the empty path.
  public init(_ root: ByteString) throws {
    self.root = root
    let format: ByteString =
      "%P\\0%y\\0%m\\0%U\\0%G\\0%T@\\0%s\\0%l\\0%i\\0%C@\\0%b\\0"
    let fields = ByteString.split(try tool("find", [root, "-printf", format]), by: 0)
    guard fields.count % 11 == 0 else { throw TestSupportError("find printed something odd") }
    var firstByInode: [UInt64: ByteString] = [:]
    for start in stride(from: 0, to: fields.count, by: 11) {
      let path = fields[start]
      let kind = fields[start + 1].text
      let inode = UInt64(fields[start + 8].text)!
      entries[path] = ListedEntry(
        kind: kind, mode: fields[start + 2].text, user: fields[start + 3].text,
        group: fields[start + 4].text, modified: fields[start + 5].text,
        size: kind == "d" ? "" : fields[start + 6].text, target: fields[start + 7])
      inodes[path] = inode
      changed[path] = fields[start + 9].text
      blocks[path] = Int(fields[start + 10].text)!
      if kind != "d" { firstByInode[inode] = min(firstByInode[inode] ?? path, path) }
    }
    for (path, inode) in inodes {
      entries[path]!.firstLink = firstByInode[inode] ?? path
    }
    try addDevices()
  }

  /// The listing without the paths that begin so.
  public func without(_ prefix: ByteString) -> TreeListing {
    var listing = self
    listing.entries = entries.filter { !$0.key.hasPrefix(prefix) }
    return listing
  }

  private mutating func addDevices() throws {
    guard entries.values.contains(where: { $0.kind == "b" || $0.kind == "c" }) else { return }
    let output = try tool(
      "find",
      [
        root, "(", "-type", "b", "-o", "-type", "c", ")", "-exec", "stat", "--printf",
        "%n\\0%t:%T\\0", "{}", "+",
      ])
    let fields = ByteString.split(output, by: 0)
    for start in stride(from: 0, to: fields.count, by: 2) {
      let path = ByteString(fields[start].bytes.dropFirst(root.bytes.count + 1))
      entries[path]!.device = fields[start + 1].text
    }
  }

  public var paths: [ByteString] { entries.keys.sorted() }
}

/// SHA-256 of every regular file, by path below `root`.
public func contentHashes(_ root: ByteString) throws -> [ByteString: String] {
  let output = try tool("find", [root, "-type", "f", "-exec", "sha256sum", "-z", "--", "{}", "+"])
  var hashes: [ByteString: String] = [:]
  for line in ByteString.split(output, by: 0) {
    // 64 digits, two spaces, the path.
    let path = ByteString(line.bytes.dropFirst(66 + root.bytes.count + 1))
    hashes[path] = ByteString(line.bytes.prefix(64)).text
  }
  return hashes
}

/// All extended attributes, ACLs and capabilities among them, as blocks of `getfattr`, sorted.
public func attributeDump(_ root: ByteString) throws -> [ByteString] {
  try blocks(of: tool("getfattr", ["-R", "-P", "-d", "-m", "-", "-h", "-e", "hex", "."], in: root))
}

/// All ACLs, mode bits among them, as blocks of `getfacl`, sorted.
public func aclDump(_ root: ByteString) throws -> [ByteString] {
  try blocks(of: tool("getfacl", ["-R", "-P", "-n", "-p", "."], in: root))
}

/// What stands between empty lines, sorted, because the tools list in the order of the directory.
private func blocks(of output: [UInt8]) -> [ByteString] {
  let lines = output.split(separator: UInt8(ascii: "\n"), omittingEmptySubsequences: false)
  return lines.split(whereSeparator: { $0.isEmpty })
    .map { ByteString($0.joined(separator: [UInt8(ascii: "\n")])) }.sorted()
}
