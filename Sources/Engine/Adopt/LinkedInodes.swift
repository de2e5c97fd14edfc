internal import Model
internal import Posix
internal import Synchronization

/// Finds the inodes that have several names in one tree, and the number of these names.
///
/// Only the inode numbers in the tree's directories are compared. Links from outside the tree, such as from another
/// snapshot, do not count.
func multiplyLinkedInodes(in tree: Directory, threads: ThreadCount) throws -> [UInt64: Int] {
  let numbers = try inodes(in: tree, threads: threads)
  let pairs = zip(numbers, numbers.dropFirst()).lazy.filter { $0 == $1 }
  return Dictionary(pairs.map { ($0.0, 2) }) { first, _ in first + 1 }
}

/// The inode of every name in a tree that is not a directory, in ascending order.
func inodes(in tree: Directory, threads: ThreadCount) throws -> [UInt64] {
  let search = LinkSearch()
  let root = Directory(try tree.descriptor.reopenDirectory())
  try walkTree(search, from: WalkNode(SearchedDirectory(directory: root)), threads: threads)
  var numbers = search.numbers.withLock { $0 }
  numbers.sort()
  return numbers
}

private struct SearchedDirectory {
  /// Open from `enter` to `leave`.
  var directory: Directory?
}

private final class Numbers {
  var listing = DirectoryListing()
  var found: [UInt64] = []
}

private final class LinkSearch: TreeWork {
  typealias State = SearchedDirectory
  /// The inode of every name that is not a directory: eight bytes per entry.
  let numbers = Mutex<[UInt64]>([])

  func makeWorker() -> Numbers { Numbers() }

  func finish(with worker: Numbers) {
    let found = worker.found
    numbers.withLock { $0 += found }
  }

  func enter(_ node: Node, with worker: Numbers) throws -> [Node] {
    let name = node.name
    if let above = node.parent { node.directory = try above.directory!.directory(name.span) }
    let directory = node.directory!
    try worker.listing.read(directory.descriptor)
    var children: [Node] = []
    for entry in worker.listing.entries {
      let name = Array(worker.listing.bytes[entry.range])
      let isDirectory =
        entry.isSurelyNoDirectory
        ? false : try entry.isSurelyDirectory || directory.descriptor.status(of: name.span).kind == .directory
      if isDirectory {
        children.append(Node(parent: node, name: name, SearchedDirectory()))
      } else {
        worker.found.append(entry.inode)
      }
    }
    return children
  }

  func leave(_ node: Node, with worker: Numbers) { node.directory = nil }
}
