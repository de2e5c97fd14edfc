internal import Posix
public import Repository

/// Deletes what lies in `trash`, by several threads; no lock is needed, and what is interrupted goes on in the
/// next run. Throws a `Failure` for the first thing that cannot be deleted.
public func emptyTrash(of repository: Repository, threads: Int) throws(Failure) {
  do {
    let trash = Directory(try repository.trash().descriptor.reopenDirectory())
    try walkTree(Deletion(), from: DoomedNode(parent: nil, name: [], directory: trash), threads: threads)
  } catch let failure as Failure {
    throw failure
  } catch let error as Errno {
    throw .writing("delete what lies in .treering/trash of", repository.path, error)
  } catch { throw Failure(.failed, "cannot empty the trash: \(error)") }
}

private final class DoomedNode: WalkNode, @unchecked Sendable {
  /// Open from `enter` to `leave`.
  var directory: Directory?

  var above: DoomedNode? { parent.map { unsafeDowncast($0, to: DoomedNode.self) } }

  init(parent: WalkNode?, name: [UInt8], directory: Directory? = nil) {
    self.directory = directory
    super.init(parent: parent, name: name)
  }
}

/// Unlinks on the way down and removes directories on the way up. Another process may do the same at once.
private struct Deletion: TreeWork {
  func makeWorker() -> Void {}
  func finish(_ worker: Void) {}

  func enter(_ node: DoomedNode, _ worker: Void) throws -> [DoomedNode] {
    let name = node.name
    if let above = node.above {
      do throws(Errno) { node.directory = Directory(try above.directory!.descriptor.openUnlocked(name.span)) } catch {
        if error == .noSuchEntry { return [] }
        throw error
      }
    }
    guard let directory = node.directory else { return [] }
    var listing = DirectoryListing()
    try listing.read(directory.descriptor)
    var children: [DoomedNode] = []
    for entry in listing.entries {
      if !entry.isSurelyDirectory {
        do throws(Errno) {
          try directory.descriptor.unlink(listing.bytes.span.extracting(entry.range))
          continue
        } catch {
          if error == .noSuchEntry { continue }
          guard error == .isADirectory else { throw error }
        }
      }
      children.append(DoomedNode(parent: node, name: Array(listing.bytes[entry.range])))
    }
    return children
  }

  func leave(_ node: DoomedNode, _ worker: Void) throws {
    node.directory = nil
    guard let above = node.above?.directory else { return }
    let name = node.name
    do throws(Errno) { try above.descriptor.removeDirectory(name.span) } catch {
      // Not empty: another process moved something in; the next run deletes it.
      guard error == .noSuchEntry || error == .notEmpty else { throw error }
    }
  }
}
