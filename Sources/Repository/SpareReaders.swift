internal import Model
internal import Posix
internal import Synchronization

// A reader in an expired tree would see the files of the snapshot that the tree is recycled into.
extension Retirement {
  /// True if no process can be reading in the spare, and none can begin to.
  ///
  /// No process may have a directory of the spare open or as its working directory. No mount may show the spare, and no
  /// NFS server may export it. The old name of an expired tree is gone, so there is no other way into it.
  ///
  /// Without the right to examine all processes, the repository must be closed to other users. If the answer cannot be
  /// determined, the spare counts as read.
  public func isSpareUnread() -> Bool {
    guard let spare = try? repository.spare,
      let (tree, name) = Self.onlyDirectory(of: spare),
      let status = try? tree.descriptor.status()
    else { return false }
    if repository.unreadSpare.withLock({ $0 }) == status.inode { return true }
    guard !isExported, let mounts = MountLine.all(), let inside = repository.location.pathInFileSystem(by: mounts)
    else { return false }
    let place = inside.below([Repository.controlName, Repository.spareName])
    var isComplete = true
    let isUsed = try? CurrentProcess.findDirectoryInUse(
      on: status.device, isComplete: &isComplete, isShown: { $0.shows(place) || mayHaveLayer($0, root: $1, of: name) },
      isMeant: { isBelow($0, top: status) })
    guard isUsed == false, isComplete || isClosedToOthers else { return false }
    repository.unreadSpare.withLock { $0 = status.inode }
    return true
  }

  /// True if a directory is another or lies below it. Also true if this cannot be determined.
  private func isBelow(_ directory: borrowing Descriptor, top above: FileStatus) -> Bool {
    (try? directory.isAtOrBelow { $0.isSameInode(as: above) }) ?? true
  }

  /// True if an overlay may have layers in a snapshot. The overlay's options have the snapshot's name at mount time.
  ///
  /// False if the parent of that name is not the repository.
  private func mayHaveLayer(_ mount: MountLine, root: String, of snapshot: [UInt8]) -> Bool {
    mount.layers.contains { layer in
      let names = layer.split(separator: slash, omittingEmptySubsequences: false)
      return names.indices.contains { place in
        guard names[place] == snapshot[...] || names[place] == Repository.latestName[...] else { return false }
        let path = Array(root.utf8) + names[..<place].joined(separator: [slash])
        guard layer.first == slash, let above = try? Descriptor.open(path: path, [.pathOnly, .directory]),
          let status = try? above.status()
        else { return true }
        return status.isSameInode(as: repository.identity)
      }
    }
  }

  /// True if only this user and root have access to the repository.
  private var isClosedToOthers: Bool {
    (try? repository.root.descriptor.status()).map {
      $0.permissions & 0o077 == 0 && $0.user == CurrentProcess.effectiveUser
    } ?? false
  }

  /// True if this machine's NFS server exports the repository, a parent of it or a directory in it.
  ///
  /// NFS clients keep handles of directories that no process has open; see exports(5) and nfsd(7).
  private var isExported: Bool {
    guard let own = (try? CurrentProcess.realPath(repository.path)).map({ TreePath(parsing: $0) }) else { return true }
    for list in ["/proc/fs/nfsd/exports", "/var/lib/nfs/etab"] {
      let text: [UInt8]
      do { text = try Descriptor.open(path: Array(list.utf8), .read).readWhole(limit: 16 << 20) } catch {
        if error.meansAbsence { continue }
        return true
      }
      for line in text.split(separator: 10) where line.first == slash {
        let path = MountLine.unescaped(line.prefix { $0 != UInt8(ascii: " ") && $0 != UInt8(ascii: "\t") })
        let exported = TreePath(parsing: path)
        if own.starts(with: exported) || exported.starts(with: own) { return true }
      }
    }
    return false
  }

  private static func onlyDirectory(of spare: Directory) -> (Directory, name: [UInt8])? {
    guard let name = try? spare.names().last else { return nil }
    return (try? spare.directory(name.span)).map { ($0, name) }
  }
}
