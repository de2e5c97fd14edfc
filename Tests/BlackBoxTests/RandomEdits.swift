import TestSupport

/// Edits of a tree as users make them, drawn at random.
struct RandomEditor {
  let tree: Tree
  private var generator: SeededGenerator
  private var serial = 0

  init(_ tree: Tree, seed: UInt64) {
    self.tree = tree
    generator = SeededGenerator(seed: seed)
  }

  /// Paths that are there now, by kind, in an order that the seed decides and not the disk.
  private func paths(_ kinds: String) throws -> [ByteString] {
    let listing = try TreeListing(tree.root)
    return listing.paths.filter {
      !$0.bytes.isEmpty && kinds.contains(listing.entries[$0]!.kind)
    }
  }

  private mutating func pick(_ kinds: String) throws -> ByteString? {
    try paths(kinds).randomElement(using: &generator)
  }

  private mutating func number(_ range: ClosedRange<Int>) -> Int {
    Int.random(in: range, using: &generator)
  }

  /// A free path; half of the time its name begins with another's, or another's begins with it.
  private mutating func newPath() throws -> ByteString {
    serial += 1
    if number(0...1) == 0, let other = try pick("fdlps") {
      let shorter = ByteString(other.bytes.dropLast(number(1...3)))
      let endings: [ByteString] = [".c", "1", "~", "-old", "é"]
      let path = number(0...1) == 0 ? shorter : other + endings[number(0...endings.count - 1)]
      if !path.bytes.isEmpty, path.bytes.last != UInt8(ascii: "/"), !tree.exists(path) { return path }
    }
    let above = number(0...3) == 0 ? nil : try pick("d")
    // An ending may have made this name before.
    while tree.exists((above ?? "") / ByteString("n\(serial)")) { serial += 1000 }
    return (above ?? "") / ByteString("n\(serial)")
  }

  private mutating func content() -> [UInt8] {
    let sizes = [0, 1, 100, 4_096, 70_000, 300_000]
    let seed = UInt8(truncatingIfNeeded: generator.next())
    return [UInt8](repeating: seed, count: sizes[number(0...sizes.count - 1)])
  }

  /// Makes something new at a path that is free.
  private mutating func make(_ path: ByteString) throws {
    switch number(0...9) {
    case 0: try tree.makeSymbolicLink(path, to: "target-\(serial)")
    case 1: try tree.makeFIFO(path)
    case 2: try tree.makeSocket(path)
    case 3: try tree.makeDevice(path, isBlock: number(0...1) == 0, major: 1, minor: 3)
    case 4, 5, 6: try tree.makeDirectory(path, mode: [0o755, 0o700, 0o2775][number(0...2)])
    default: try tree.write(path, bytes: content())
    }
  }

  /// One edit; does nothing where the tree has nothing to do it to.
  mutating func edit() throws {
    switch number(0...17) {
    case 0, 1: try tree.write(newPath(), bytes: content())
    case 2: try make(newPath())
    case 3: if let path = try pick("f") { try tree.append(path, "more") }
    case 4: if let path = try pick("f") { try tree.truncate(path, to: Int64(number(0...5_000))) }
    case 5: try rewriteInPlace()
    case 6:
      guard let path = try pick("fdlps") else { return }
      let to = try newPath()
      if !(to + "/").hasPrefix(path + "/") { try tree.rename(path, to: to) }
    case 7:
      guard let path = try pick("fdps") else { return }
      try tree.setMode(path, [0o644, 0o600, 0o755, 0o4755, 0o2750, 0o1777, 0o000][number(0...6)])
    case 8:
      guard let path = try pick("fdlpscb") else { return }
      try tree.setOwner(path, user: UInt32(number(0...3)), group: UInt32(number(0...3)))
    case 9, 10: if let path = try pick("f") { try tree.link(path, as: newPath()) }
    case 11: try partLinks()
    case 12: if let path = try pick("fdlpscb") { try tree.remove(path) }
    case 13:
      guard let path = try pick("fdlpscb") else { return }
      try tree.remove(path)
      try make(path)
    case 14:
      guard let path = try pick("fdlpscb") else { return }
      try tree.setTime(path, seconds: 1_600_000_000 + number(0...1), nanoseconds: number(0...2))
    case 15:
      guard let path = try pick("fd") else { return }
      try tree.setAttribute(path, "user.note", [UInt8(number(0...9))])
    case 16:
      guard let path = try pick("fdlps") else { return }
      try tree.setAttribute(path, "trusted.note", [UInt8(number(0...9))])
    default:
      if let path = try pick("f") { try tree.setACL(path, "u:\(number(1...3)):rw") }
      if let path = try pick("d") { try tree.setACL(path, "u:7:rx,d:u:\(number(1...3)):rwx") }
    }
  }

  /// Other bytes, the same size, and half of the time the old modification time.
  private mutating func rewriteInPlace() throws {
    guard let path = try pick("f") else { return }
    let size = try tree.size(path)
    guard size < 1 << 20 else { return }
    let reference: ByteString = "../reference"
    try tree.write(reference, "")
    try tree.copyTime(of: path, to: reference)
    try tree.overwrite(
      path, bytes: [UInt8](repeating: UInt8(number(0...255)), count: Int(size)))
    if number(0...1) == 0 { try tree.copyTime(of: reference, to: path) }
    try tree.remove(reference)
  }

  /// A copy that is the same in everything takes a file's place, and its other names keep the inode.
  private mutating func partLinks() throws {
    guard var path = try pick("f") else { return }
    // One with several names, if it is found soon.
    for _ in 0..<5 where try tree.linkCount(path) == 1 { path = try pick("f") ?? path }
    serial += 1
    let copy = "../copy-\(serial)" as ByteString
    try tool("cp", ["-a", tree.root / path, tree.root / copy])
    try tree.rename(copy, to: path)
  }
}
