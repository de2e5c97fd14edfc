public import Model
internal import Posix
public import Repository
internal import Synchronization

/// Deletes the content of `trash` on several threads; no lock is needed.
///
/// An interrupted deletion continues in the next run. An entry that cannot be deleted stays, and the others go. A
/// `Failure` then names the first such entry. A mount point is never entered. Directories of other users, as in a
/// snapshot that root took, stay for root to delete.
public func emptyTrash(of repository: Repository, threads: ThreadCount) throws(Failure) {
  do {
    let path = repository.path + Array("/.treering/trash".utf8)
    if let failure = try deleteContent(of: repository.trash, at: path, threads: threads) { throw failure }
  } catch { throw .writing("delete what lies in .treering/trash of", at: repository.path, because: error) }
}

/// Deletes the content of a directory. Returns the failure to delete some of it.
func deleteContent(of directory: Directory, at path: [UInt8], threads: ThreadCount) throws -> Failure? {
  var work: Deletion
  repeat {
    let top = Directory(try directory.descriptor.reopenDirectory())
    work = Deletion(in: top)
    try walkTree(
      work, from: WalkNode(TrashDirectory(directory: top, mount: try top.descriptor.status().mount)), threads: threads)
    // A tree deeper than the number of descriptors is now in parts.
  } while work.parts.value > 0
  guard let first = work.first.withLock({ $0 }) else { return nil }
  let more = work.failures.value - 1
  let shown = displayName(first.path.bytes(below: path))
  return Failure(.failed, "cannot delete \(shown): \(first.reason)" + (more == 0 ? "" : ", and \(more) more"))
}

/// Empties the trash for a run that continues in any case: trouble is only noted.
func emptyTrashNotingErrors(of repository: Repository, threads: ThreadCount) {
  do { try emptyTrash(of: repository, threads: threads) } catch {
    if case .interrupted = error.kind { return }
    repository.problems.note(error)
  }
}

private struct TrashDirectory {
  /// Open from `enter` to `leave`.
  var directory: Directory?
  /// The mount that holds the whole trash.
  let mount: UInt64
}

/// Unlinks files on the way down and removes directories on the way up. Another process may do the same at the same
/// time.
private final class Deletion: TreeWork {
  typealias State = TrashDirectory
  private let trash: Directory
  /// Directories that were moved to the top of the trash for lack of descriptors.
  let parts = Atomic<UInt64>(0)
  let failures = Atomic<UInt64>(0)
  let first = Mutex<(path: TreePath, reason: String)?>(nil)

  init(in trash: Directory) { self.trash = trash }

  func makeWorker() -> Void {}
  func finish(with worker: Void) {}

  /// Notes an error, with two exceptions: another process deleted the entry, or only root can delete it.
  private func failed(at node: Node, name: [UInt8]?, because error: Errno, in directory: Directory?) {
    if error == .noSuchEntry || error.meansNoPermission && isOthers(try? directory?.descriptor.status()) { return }
    note(at: node, name: name, reason: "\(error)")
  }

  private func isOthers(_ status: FileStatus?) -> Bool {
    let user = CurrentProcess.effectiveUser
    return user != 0 && status.map { $0.user != user } ?? false
  }

  private func note(at node: Node, name: [UInt8]?, reason: String) {
    failures.count()
    let path = node.path + name
    first.withLock { $0 = $0 ?? (path, reason) }
  }

  func enter(_ node: Node, with worker: Void) throws -> [Node] {
    guard let listing = open(node) else { return [] }
    var children: [Node] = []
    for entry in listing.entries {
      let name = Array(listing.bytes[entry.range])
      if !entry.isSurelyDirectory {
        do throws(Errno) {
          try node.directory!.descriptor.unlink(name.span)
          continue
        } catch {
          guard error == .isADirectory else {
            failed(at: node, name: name, because: error, in: node.directory)
            continue
          }
        }
      }
      children.append(Node(parent: node, name: name, TrashDirectory(mount: node.mount)))
    }
    return children
  }

  /// Opens and lists a directory; `nil` if nothing in it can be deleted here.
  private func open(_ node: Node) -> DirectoryListing? {
    let name = node.name
    var listing = DirectoryListing()
    do throws(Errno) {
      if let above = node.parent?.directory {
        guard try above.descriptor.status(of: name.span).mount == node.mount else {
          note(at: node, name: nil, reason: "it is a mount point; unmount it")
          return nil
        }
        node.directory = Directory(try above.descriptor.openUnlocked(name.span))
      }
      guard let directory = node.directory, try directory.descriptor.status().mount == node.mount else { return nil }
      try listing.read(directory.descriptor)
    } catch {
      // At the top of the trash, a directory needs no descriptors for its ancestors. A directory that is already
      // there gains nothing.
      if error.isShortage, let above = node.parent, above.parent != nil, let directory = above.directory,
        (try? Retirement.move(named: name, of: directory, to: trash)) != nil
      {
        node.directory = nil
        parts.count()
        return nil
      }
      if let above = node.parent?.directory, error.meansNoPermission,
        isOthers(try? above.descriptor.status(of: name.span))
      {
        // An empty directory can be removed unread.
        try? above.descriptor.removeDirectory(name.span)
        return nil
      }
      failed(at: node, name: nil, because: error, in: node.directory)
      return nil
    }
    return listing
  }

  func leave(_ node: Node, with worker: Void) throws {
    guard node.directory != nil else { return }
    node.directory = nil
    guard let above = node.parent?.directory else { return }
    let name = node.name
    do throws(Errno) { try above.descriptor.removeDirectory(name.span) } catch {
      // If it is not empty, the remaining entry is already named, or another process moved an entry in.
      if error != .notEmpty { failed(at: node, name: nil, because: error, in: above) }
    }
  }
}
