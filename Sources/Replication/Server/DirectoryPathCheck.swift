internal import Catalog
internal import Model

/// The path of directories from the root to the directory that a push has reached.
///
/// Each directory is named by its parent's record, which may have arrived in an earlier connection. The server thus
/// stores no more records than the client has sent digests: 32 bytes each, which do not compress.
struct DirectoryPathCheck {
  private struct Level {
    let digest: Digest
    /// The digests of its sub-directories; `nil` if they must be read again.
    var below: Set<Digest>?
  }

  private let root: Digest
  /// Digest prefixes of the sub-directories in records of earlier connections.
  private var namedBefore: Set<UInt64>
  private var levels: [Level] = []
  private var heldCount = 0
  /// The most digests held in memory, without those of the last level.
  private let mostHeld: Int

  init(root: Digest, namedBefore: Set<UInt64> = [], mostHeld: Int = 1 << 20) {
    (self.root, self.namedBefore, self.mostHeld) = (root, namedBefore, mostHeld)
  }

  /// Enters the next directory; `record` reads a directory that arrived before. Throws if no directory on the path
  /// names it.
  mutating func enter(_ digest: Digest, below: [DirectoryRow], record: (Digest) throws -> DirectoryRecord?) throws {
    while levels.last?.below?.isEmpty == true { levels.removeLast() }
    // Its parent does not arrive in this connection, so the path stays as it is.
    let isNamedBefore = namedBefore.remove(digest.prefix) != nil
    while !isNamedBefore, let last = levels.indices.last {
      if levels[last].below == nil {
        try hold(below: Set(record(levels[last].digest)?.directories().map(\.digest) ?? []), at: last)
      }
      if levels[last].below!.contains(digest) { break }
      heldCount -= levels[last].below!.count
      levels.removeLast()
    }
    guard isNamedBefore || !levels.isEmpty || digest == root
    else { throw ProtocolViolation("a directory came that none above it names") }
    levels.append(Level(digest: digest))
    hold(below: Set(below.map(\.digest)), at: levels.count - 1)
  }

  private mutating func hold(below: Set<Digest>, at index: Int) {
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
