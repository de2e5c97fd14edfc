internal import Model

/// An entry that only one of two compared snapshots has at its path.
struct LoneEntry {
  let isBefore: Bool
  let directory: TreePath
  let name: [UInt8]
  let kind: EntryKind
  let key: ContentKey
  /// The inode in the source; 0 if it is unknown.
  let inode: UInt64
  /// The lone directory that holds the entry; `nil` if both snapshots have its directory.
  let parent: Int?
  /// The parent's data about a directory.
  let subtree: Subtree?
  /// The numbers of the known entries below, in the order of a walk.
  var below = 0..<0
  /// True if all entries below are known.
  var isExpanded = false
  /// The number of the other snapshot's entry.
  var match: Int?
  /// True in a directory that has a match.
  var isBelowMatch = false

  var path: TreePath { directory + name }
  var isFree: Bool { match == nil && !isBelowMatch }
  /// The size of a regular file in bytes; `nil` for other kinds.
  var byteCount: UInt64? { kind == .regular ? key.size : nil }

  init(_ entry: Found, in directory: TreePath, named name: [UInt8], isBefore: Bool, parent: Int?, hasher: SHA256) {
    (self.isBefore, self.directory, self.name, self.parent) = (isBefore, directory, name, parent)
    kind = entry.kind
    subtree = entry.subtree
    switch entry {
    case .directory(let record, let subtree):
      inode = record.isSynthetic ? 0 : record.hints.sourceInode
      key = ContentKey(kind: .directory, size: subtree.totals.entries, digest: ContentDigest(subtree.digest))
    case .file(let row, let record):
      inode = row.hints.sourceInode
      let digest = row.kind == .symbolicLink ? ContentDigest(hasher.digest(of: record.target(of: row))) : row.digest
      key = ContentKey(kind: row.kind, size: row.size, digest: digest)
    }
  }

  /// True if the content alone tells little: entries of another origin may have the same.
  var isPlain: Bool { kind == .directory ? key.size <= 1 : kind != .regular || key.size == 0 }

  /// True if one inode that had both names was probably renamed.
  ///
  /// Inode numbers are reused, often at once, so a changed file must keep its name or most of a size that tells
  /// something.
  func isProbably(_ other: LoneEntry) -> Bool {
    guard kind == other.kind, inode == other.inode, inode != 0 else { return false }
    if key == other.key || name == other.name && kind == .regular { return true }
    let (less, more) = (min(key.size, other.key.size), max(key.size, other.key.size))
    return kind == .regular && less >= 64 && less >= more / 4 &* 3
  }
}

/// The content of a file, the target of a link, the numbers of a device, or all that is below a directory.
struct ContentKey: Hashable {
  let kind: EntryKind
  let size: UInt64
  let digest: ContentDigest

  // A catalog may claim any number of digests with the same first bytes.
  func hash(into hasher: inout Hasher) {
    hasher.combine(size)
    for word in [digest.digest.words.0, digest.digest.words.1, digest.digest.words.2, digest.digest.words.3] {
      hasher.combine(word)
    }
  }
}

/// Lists of entries' numbers by a key, in the order of their addition.
struct NumberLists<Key: Hashable> {
  private var ends: [Key: (first: Int32, last: Int32)] = [:]
  private var following: [Int32: Int32] = [:]
  /// The most numbers of one key that are looked at.
  private static var longest: Int { 8 }

  mutating func add(number: Int, for key: Key) {
    let number = Int32(number)
    if let (first, last) = ends[key] {
      following[last] = number
      ends[key] = (first, number)
    } else {
      ends[key] = (number, number)
    }
  }

  /// The first free numbers of a key. Those at the beginning that are not free are forgotten.
  mutating func candidates(for key: Key, where isFree: (Int) -> Bool) -> [Int] {
    guard let (oldest, last) = ends[key] else { return [] }
    var first = oldest
    while !isFree(Int(first)) {
      guard let next = following.removeValue(forKey: first) else {
        ends[key] = nil
        return []
      }
      first = next
    }
    ends[key] = (first, last)
    var found: [Int] = []
    var number: Int32? = first
    for _ in 0..<Self.longest {
      guard let next = number else { break }
      if isFree(Int(next)) { found.append(Int(next)) }
      number = following[next]
    }
    return found
  }
}
