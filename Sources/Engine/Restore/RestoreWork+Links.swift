internal import Catalog
internal import Model
internal import Posix
internal import Repository

// Symbolic links at the destination.
extension RestoreWork {
  /// Opens the directory to which a link leads that stands in the place of a restored directory, or on the way to one.
  /// `nil` if the link is not to be followed.
  ///
  /// Below a restored directory, other users may make links and exchange them at any moment. A link of theirs must lead
  /// to a directory of its owner. A link of root or of this user must lie where nobody else can exchange it.
  func openLink(_ link: FileStatus, at node: RestoreNode, in above: Directory) throws(Errno) -> Directory? {
    guard options.followsLinks else { return nil }
    let name = node.name
    let target = Directory(try above.descriptor.openFollowing(name.span, [.read, .directory]))
    if node.isOnlyOnPath || node.parent?.isOnlyOnPath == true { return target }
    let trusted = [0, CurrentProcess.effectiveUser]
    guard trusted.contains(link.user) else { return try target.descriptor.status().user == link.user ? target : nil }
    let holder = try above.descriptor.status()
    return trusted.contains(holder.user) && holder.permissions & 0o022 == 0 ? target : nil
  }

  /// Refuses a symbolic link that leads to a restored path, or stands in the place of a restored directory.
  func checkLinks(to plan: PathPlan, in directory: Directory, path: TreePath, reader: CatalogReader) throws {
    for (name, plan) in plan.children {
      let path = path + name
      guard let status = try? directory.descriptor.statusIfPresent(of: name.span) else { continue }
      let wanted = try plan.isSource ? reader.find(label + path) : nil
      if status.kind == .symbolicLink {
        if plan.isSource, wanted?.kind != .directory { continue }
        guard options.followsLinks else { throw refusal(ofLink: name, in: directory, at: path) }
        let next = Directory(try directory.descriptor.openFollowing(name.span, [.read, .directory]))
        try checkLinks(to: plan, in: next, path: path, reader: reader)
      } else if status.kind == .directory, let next = try? directory.directory(name.span) {
        if case .directory(_, let subtree)? = wanted {
          try checkLinks(below: subtree, in: next, path: path, reader: reader)
        } else {
          try checkLinks(to: plan, in: next, path: path, reader: reader)
        }
      }
    }
  }

  /// Refuses a symbolic link in the place of a directory below a restored one.
  ///
  /// A directory that cannot be read is left to the restore, which names it.
  func checkLinks(below subtree: Subtree, in directory: Directory, path: TreePath, reader: CatalogReader) throws {
    if options.followsLinks { return }
    var waiting: [(row: Subtree, name: [UInt8], above: Directory, path: TreePath)] = []
    func examine(_ subtree: Subtree, in directory: Directory, path: TreePath) throws {
      try checkForSignal()
      guard let record = try? reader.record(at: subtree.place, for: subtree.digest),
        let rows = try? record.directories()
      else { return }
      for row in rows {
        let name = Array(record.bytes[row.name])
        switch (try? directory.descriptor.statusIfPresent(of: name.span))?.kind {
        case .symbolicLink: throw refusal(ofLink: name, in: directory, at: path + name)
        case .directory: waiting.append((Subtree(row), name, directory, path + name))
        default: break
        }
      }
    }
    try examine(subtree, in: directory, path: path)
    while let next = waiting.popLast() {
      let name = next.name
      guard let directory = try? next.above.directory(name.span) else { continue }
      try examine(next.row, in: directory, path: next.path)
    }
  }

  private func refusal(ofLink name: [UInt8], in directory: Directory, at path: TreePath) -> Failure {
    let target = try? directory.descriptor.readSymbolicLink(name.span)
    return linkRefusal(at: self.path(path), to: target, hint: "move it away")
  }
}
