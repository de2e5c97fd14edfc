internal import Catalog
internal import Model

/// One entry of a tree blob, as restic stores it.
struct TreeNode: Sendable {
  var name: [UInt8] = []
  var kind = EntryKind.regular
  var metadata = Metadata(permissions: 0, user: 0, group: 0, modified: Timestamp(seconds: 0, nanoseconds: 0))
  /// Equal for all names of one inode; 0 for a file with a single link.
  var inode: UInt64 = 0
  var deviceID: UInt64 = 0
  var links: UInt64 = 1
  /// Bytes of a regular file.
  var size: UInt64 = 0
  /// The target of a symbolic link.
  var target: [UInt8] = []
  var attributes: [(name: [UInt8], value: [UInt8])] = []
  /// The numbers of a device node: major number in the upper half, minor in the lower.
  var device: UInt64 = 0
  /// The blobs of a regular file's content, in order.
  var content: [Digest] = []
  /// The tree of a directory.
  var subtree: Digest?

  /// The numbers of a device as `st_rdev` has them on Linux, and the inverse; makedev(3).
  static func systemDevice(_ device: UInt64) -> UInt64 {
    let (major, minor) = (device >> 32, device & 0xFFFF_FFFF)
    return (major & 0xFFFF_F000) << 32 | (major & 0xFFF) << 8 | (minor & 0xFFFF_FF00) << 12 | minor & 0xFF
  }

  static func device(ofSystem number: UInt64) -> UInt64 {
    let major = (number >> 32) & 0xFFFF_F000 | (number >> 8) & 0xFFF
    let minor = (number >> 12) & 0xFFFF_FF00 | number & 0xFF
    return major << 32 | minor
  }
}

/// The bits of Go's `os.FileMode`.
enum FileMode {
  private static let special: [(bit: UInt64, permission: UInt16)] = [
    (1 << 23, 0o4000), (1 << 22, 0o2000), (1 << 20, 0o1000),
  ]

  static func encoded(_ kind: EntryKind, permissions: UInt16) -> UInt64 {
    let type: UInt64 =
      switch kind {
      case .regular: 0
      case .directory: 1 << 31
      case .symbolicLink: 1 << 27
      case .blockDevice: 1 << 26
      case .characterDevice: 1 << 26 | 1 << 21
      case .fifo: 1 << 25
      case .socket: 1 << 24
      }
    return special.reduce(type | UInt64(permissions & 0o777)) {
      $0 | (permissions & $1.permission != 0 ? $1.bit : 0)
    }
  }

  static func permissions(of mode: UInt64) -> UInt16 {
    special.reduce(UInt16(mode & 0o777)) { $0 | (mode & $1.bit != 0 ? $1.permission : 0) }
  }
}

extension EntryKind {
  /// restic's words.
  fileprivate static let words: [(EntryKind, StaticString)] = [
    (.regular, "file"), (.directory, "dir"), (.symbolicLink, "symlink"), (.blockDevice, "dev"),
    (.characterDevice, "chardev"), (.fifo, "fifo"), (.socket, "socket"),
  ]

  fileprivate var resticWord: StaticString { Self.words.first { $0.0 == self }!.1 }

  fileprivate init?(resticWord word: [UInt8]) {
    guard
      let found = Self.words.first(where: {
        word.elementsEqual(UnsafeBufferPointer(start: $0.1.utf8Start, count: $0.1.utf8CodeUnitCount))
      })
    else { return nil }
    self = found.0
  }
}

/// The facts that restic's format cannot hold, counted over a push.
struct TreeLosses: Sendable {
  /// Link targets that are not UTF-8: restic before 0.16 restores them wrong.
  var rawTargets = 0
  /// Extended attributes whose name is not UTF-8: they are left out.
  var attributeNames = 0
  /// Times outside the years 0 to 9999: they become the first or last second.
  var times = 0

  static func += (a: inout TreeLosses, b: TreeLosses) {
    a.rawTargets += b.rawTargets
    a.attributeNames += b.attributeNames
    a.times += b.times
  }
}

/// Writes the JSON document of one tree. Nodes must come in the order of their names' bytes.
struct TreeWriter {
  private var writer = JSONWriter(capacity: 4096)
  private var count = 0
  private(set) var losses = TreeLosses()

  init() { writer.raw("{\"nodes\":[") }

  mutating func append(_ node: TreeNode) {
    if count > 0 { writer.raw(",") }
    count += 1
    writer.raw("{\"name\":")
    writer.string(QuotedName.encoded(node.name))
    writer.raw(",\"type\":\"")
    writer.raw(node.kind.resticWord)
    writer.raw("\"")
    let mode = FileMode.encoded(node.kind, permissions: node.metadata.permissions)
    if mode != 0 {
      writer.raw(",\"mode\":")
      writer.number(mode)
    }
    // The catalog has no access time, and ctime is no fact about the content. Both would make equal directories differ.
    let time = node.metadata.modified
    if !CalendarTime.seconds.contains(time.seconds) { losses.times += 1 }
    writer.raw(",\"mtime\":")
    writer.time(time)
    writer.raw(",\"atime\":")
    writer.time(time)
    writer.raw(",\"ctime\":")
    writer.time(time)
    writer.raw(",\"uid\":")
    writer.number(node.metadata.user)
    writer.raw(",\"gid\":")
    writer.number(node.metadata.group)
    field(",\"inode\":", node.inode)
    field(",\"device_id\":", node.deviceID)
    if node.kind == .regular { field(",\"size\":", node.size) }
    if node.kind != .directory && node.kind != .fifo && node.kind != .socket { field(",\"links\":", node.links) }
    if node.kind == .symbolicLink { append(target: node.target) }
    append(node.attributes)
    if node.kind == .characterDevice || node.kind == .blockDevice {
      field(",\"device\":", TreeNode.systemDevice(node.device))
    }
    append(contentOf: node)
    writer.raw("}")
  }

  private mutating func field(_ key: StaticString, _ value: UInt64) {
    if value == 0 { return }
    writer.raw(key)
    writer.number(value)
  }

  private mutating func append(target: [UInt8]) {
    writer.raw(",\"linktarget\":")
    writer.string(target)
    if String(validating: target, as: UTF8.self) == nil {
      losses.rawTargets += 1
      writer.raw(",\"linktarget_raw\":")
      writer.base64(target)
    }
  }

  private mutating func append(_ attributes: [(name: [UInt8], value: [UInt8])]) {
    let written = attributes.filter { String(validating: $0.name, as: UTF8.self) != nil }
    losses.attributeNames += attributes.count - written.count
    for (number, attribute) in written.enumerated() {
      if number == 0 { writer.raw(",\"extended_attributes\":[{\"name\":") } else { writer.raw(",{\"name\":") }
      writer.string(attribute.name)
      writer.raw(",\"value\":")
      writer.base64(attribute.value)
      writer.raw("}")
    }
    if !written.isEmpty { writer.raw("]") }
  }

  private mutating func append(contentOf node: TreeNode) {
    guard node.kind == .regular else {
      writer.raw(",\"content\":null")
      if let subtree = node.subtree {
        writer.raw(",\"subtree\":")
        writer.digest(subtree)
      }
      return
    }
    writer.raw(",\"content\":[")
    for (number, id) in node.content.enumerated() {
      if number > 0 { writer.raw(",") }
      writer.digest(id)
    }
    writer.raw("]")
  }

  /// Ends the document; restic adds a new line.
  consuming func finish() -> [UInt8] {
    writer.raw("]}\n")
    return writer.bytes
  }
}

/// Reads the JSON document of a tree, which is untrusted even after its code was right.
enum TreeReader {
  /// The nodes, sorted by name. Every name is a single component, and none comes twice.
  static func nodes(in json: [UInt8]) throws -> [TreeNode] {
    var nodes: [TreeNode] = []
    try JSONCursor.read(json) { cursor in
      try cursor.members { cursor, key in
        guard case "nodes" = key else { return try cursor.skip() }
        try cursor.elements { nodes.append(try node(&$0)) }
      }
    }
    if !zip(nodes, nodes.dropFirst()).allSatisfy({ $0.name.lexicographicallyPrecedes($1.name) }) {
      nodes.sort { $0.name.lexicographicallyPrecedes($1.name) }
      for (node, next) in zip(nodes, nodes.dropFirst()) where node.name == next.name {
        throw ResticError("a tree has the name \(displayName(node.name)) twice")
      }
    }
    return nodes
  }

  private static func node(_ cursor: inout JSONCursor) throws -> TreeNode {
    var node = TreeNode()
    var kind: EntryKind?
    var (word, rawTarget): ([UInt8], [UInt8]?) = ([], nil)
    try cursor.members { cursor, key in
      switch key {
      case "name":
        guard let name = QuotedName.decoded(try cursor.string()) else { throw ResticError("a tree has a broken name") }
        node.name = name
      case "type":
        word = try cursor.string()
        kind = EntryKind(resticWord: word)
      case "mode":
        node.metadata.permissions = FileMode.permissions(of: try cursor.unsigned(atMost: UInt64(UInt32.max)))
      case "mtime": node.metadata.modified = try cursor.time()
      case "uid": node.metadata.user = UInt32(try cursor.unsigned(atMost: UInt64(UInt32.max)))
      case "gid": node.metadata.group = UInt32(try cursor.unsigned(atMost: UInt64(UInt32.max)))
      case "inode": node.inode = try cursor.unsigned()
      case "device_id": node.deviceID = try cursor.unsigned()
      case "size": node.size = try cursor.unsigned(atMost: UInt64(Int64.max))
      case "links": node.links = try cursor.unsigned()
      case "linktarget": node.target = try cursor.string()
      case "linktarget_raw": rawTarget = try cursor.base64()
      case "extended_attributes": try cursor.elements { node.attributes.append(try attribute(&$0)) }
      case "device": node.device = TreeNode.device(ofSystem: try cursor.unsigned())
      case "content": try cursor.elements { node.content.append(try $0.digest()) }
      case "subtree": node.subtree = try cursor.takeNull() ? nil : try cursor.digest()
      default: try cursor.skip()
      }
    }
    guard let kind else { throw ResticError("\(displayName(node.name)) is of the unknown kind \(displayName(word))") }
    node.kind = kind
    if let rawTarget, !rawTarget.isEmpty { node.target = rawTarget }
    try check(node)
    return node
  }

  private static func attribute(_ cursor: inout JSONCursor) throws -> (name: [UInt8], value: [UInt8]) {
    var attribute: (name: [UInt8], value: [UInt8]) = ([], [])
    try cursor.members { cursor, key in
      switch key {
      case "name": attribute.name = try cursor.string()
      case "value": attribute.value = try cursor.base64()
      default: try cursor.skip()
      }
    }
    guard (1...255).contains(attribute.name.count), !attribute.name.contains(0), attribute.value.count <= 1 << 16 else {
      throw ResticError("an extended attribute is impossible")
    }
    return attribute
  }

  private static func check(_ node: TreeNode) throws(ResticError) {
    let name = node.name
    guard Name.isPossible(name.span) else {
      throw ResticError("a tree has the impossible name \(displayName(name))")
    }
    switch node.kind {
    case .directory where node.subtree == nil: throw ResticError("the directory \(displayName(name)) has no tree")
    case .symbolicLink where !(1...65535).contains(node.target.count) || node.target.contains(0):
      throw ResticError("the link \(displayName(name)) has an impossible target")
    case .regular where node.content.isEmpty != (node.size == 0):
      throw ResticError("the content of the file \(displayName(name)) does not fit its size")
    default: break
    }
  }
}
