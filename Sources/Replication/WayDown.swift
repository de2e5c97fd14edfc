internal import Catalog

/// The directories on the way from the root to the one that a push is about: each is one that the one above it names,
/// or one that came in an earlier connection and does not come again.
///
/// So a client can have no more records stored, and remembered, than it has sent digests of: 32 bytes each, which
/// nothing compresses.
struct WayDown {
  private struct Level {
    let digest: Digest
    /// Its sub-directories; `nil` where they are to be read again.
    var below: Set<Digest>?
  }

  private let root: Digest
  /// The beginnings of digests that records of earlier connections name.
  private var namedBefore: Set<UInt64>
  private var levels: [Level] = []
  private var heldCount = 0
  /// How many digests are held in memory, but for those of the last level.
  private let mostHeld: Int

  init(root: Digest, namedBefore: Set<UInt64> = [], mostHeld: Int = 1 << 20) {
    self.root = root
    self.namedBefore = namedBefore
    self.mostHeld = mostHeld
  }

  /// Takes the directory that comes next; `record` reads one that came before. Throws where none on the way names it.
  mutating func enter(
    _ digest: Digest, _ below: [DirectoryRow], record: (Digest) throws -> DirectoryRecord?
  ) throws {
    while levels.last?.below?.isEmpty == true { levels.removeLast() }
    // What is above it does not come, so the way stays as it is.
    let isNamedBefore = namedBefore.remove(digest.prefix) != nil
    while !isNamedBefore, let last = levels.indices.last {
      if levels[last].below == nil {
        try hold(Set(record(levels[last].digest)?.directories().map(\.digest) ?? []), at: last)
      }
      if levels[last].below!.contains(digest) { break }
      heldCount -= levels[last].below!.count
      levels.removeLast()
    }
    guard isNamedBefore || !levels.isEmpty || digest == root else {
      throw WireError("a directory came that none above it names")
    }
    levels.append(Level(digest: digest))
    hold(Set(below.map(\.digest)), at: levels.count - 1)
  }

  private mutating func hold(_ below: Set<Digest>, at index: Int) {
    levels[index].below = below
    heldCount += below.count
    var outer = 0
    while heldCount > mostHeld, outer < index {
      heldCount -= levels[outer].below?.count ?? 0
      levels[outer].below = nil
      outer += 1
    }
  }
}
