internal import Model
internal import Posix
internal import Synchronization

// Directories that their owner closed.
extension RestoreWork {
  /// True if the user owns a directory that even its owner may not write to.
  func mayMakeWritable(_ status: FileStatus) -> Bool {
    !isRoot && status.user == CurrentProcess.effectiveUser && status.permissions & 0o700 != 0o700
  }

  /// Makes an existing directory of the user's writable until it is left.
  func makeWritable(in node: RestoreNode, directory: Directory) throws(Errno) {
    guard let status = node.status, mayMakeWritable(status), !options.isDryRun else { return }
    remember(in: node, permissions: status.permissions)
    try directory.descriptor.setPermissions(status.permissions | 0o700)
  }

  func forget(_ node: RestoreNode) {
    node.modeBeforeUnlock = nil
    _ = opened.withLock { $0.removeValue(forKey: ObjectIdentifier(node)) }
  }

  func remember(in node: RestoreNode, permissions: UInt32) {
    node.modeBeforeUnlock = permissions
    opened.withLock { $0[ObjectIdentifier(node)] = node }
  }

  /// Gives a directory that was made writable its old mode back.
  func close(_ node: RestoreNode) {
    guard let mode = node.modeBeforeUnlock else { return }
    forget(node)
    guard let target = node.target else { return }
    do { try target.descriptor.setPermissions(mode) } catch {
      warn(at: path(of: node), "was made writable, and its mode could not be put back: \(error)")
    }
  }
}
