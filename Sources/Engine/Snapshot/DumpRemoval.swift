public import Model
internal import Posix
public import Repository

/// Removes the dumps of a run, whether it has stored them or not. The caller holds the lock.
///
/// Returns the problems with dumps that stay.
public func removeDumps(of options: SnapshotOptions, in repository: Repository) -> [Warning] {
  repository.dumps.discard()
  var staying = repository.problems.drain()
  for dump in options.dumps.values {
    do { try removeTree(at: dump.directory, threads: options.threads) } catch {
      staying.append(Warning(path: dump.directory, message: "this dump cannot be removed: \(error)"))
    }
  }
  return staying
}

/// Removes a directory with its content, unless it is gone. Changes no file in it: a file may be a stored inode.
public func removeTree(at path: [UInt8], threads: ThreadCount) throws {
  let (parent, name) = splitLast(of: path)
  do {
    let above = Directory(try Descriptor.open(path: parent, [.read, .directory]))
    guard try above.descriptor.statusIfPresent(of: name.span) != nil else { return }
    if let failure = try deleteContent(of: try above.directory(name.span), at: path, threads: threads) {
      throw failure
    }
    try above.descriptor.removeDirectory(name.span)
  } catch let error as Errno where error.meansAbsence { return }
}
