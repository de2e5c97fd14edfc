internal import Catalog
internal import Model
internal import Posix
internal import Repository

/// A regular file of the source, open, with the values to store of it.
struct SourceFile: ~Copyable {
  let descriptor: Descriptor
  let name: [UInt8]
  var status: FileStatus
  var attributes: AttributeBlock
  var flags: StorageFlags
  /// The dump that holds the file; `nil` in every other source.
  let dump: DumpedTree?

  var metadata: Metadata { dump?.metadata(of: status) ?? status.metadata }

  func entry(_ pass: PassResult, storedInode: UInt64, flags more: StorageFlags) -> NewEntry {
    let flags = flags.union(more)
    let hints =
      dump == nil
      ? Hints(sourceInode: status.inode, changed: status.changed, storedInode: storedInode, flags: flags)
      : DumpedTree.hints(storedInode: storedInode, flags: flags)
    var entry = NewEntry(kind: .regular, metadata: metadata, hints: hints)
    entry.size = pass.byteCount
    entry.digest = pass.digest
    entry.attributes = attributes
    return entry
  }
}

// The entries of a source's directory, opened and described.
extension DirectoryContext {
  /// The pauses before each new attempt to read a file that changed while it was read.
  private static let pausesMilliseconds = [0, 5, 20, 80, 250]

  /// Opens a regular file; `nil` if it is left out.
  func openFile(named name: [UInt8]) throws -> SourceFile? {
    let descriptor: Descriptor
    do throws(Errno) { descriptor = try node.source!.descriptor.openToRead(name.span) } catch {
      switch error {
      case .noSuchEntry: context.progress.vanished.count()
      case .symbolicLoop, .noDevice, .notADirectory: warnReplaced(named: name)
      case .wouldBlock:
        context.warn(
          at: node.sourcePath(of: name), "cannot be read: another process holds a lease on it, and keeps it")
      default: try work.readingFailed(at: node.sourcePath(of: name), because: error)
      }
      return nil
    }
    let status: FileStatus
    do throws(Errno) { status = try descriptor.status() } catch {
      try work.readingFailed(at: node.sourcePath(of: name), because: error)
      return nil
    }
    guard status.kind == .regular else {
      warnReplaced(named: name)
      return nil
    }
    var flags: StorageFlags = status.isRacy(since: moment, on: node.identity) ? .racy : []
    let attributes = try work.attributes(of: descriptor, by: .descriptor, flags: &flags) { node.sourcePath(of: name) }
    return SourceFile(
      descriptor: descriptor, name: name, status: status, attributes: attributes, flags: flags, dump: node.dump)
  }

  private func warnReplaced(named name: [UInt8]) {
    context.warn(at: node.sourcePath(of: name), "was replaced by something else while it was opened")
  }

  /// Reads a file, again and again while it changes, a few times. A file that changed each time is named and marked.
  ///
  /// `read` makes one pass over the file from its start.
  func readUntilStill(
    _ file: inout SourceFile, read: (_ file: borrowing SourceFile, _ attempt: Int) throws(CopyError) -> PassResult
  ) throws(CopyError) -> PassResult {
    var pass = PassResult(digest: .ofNothing, byteCount: 0)
    var isStill = false
    for (attempt, pause) in Self.pausesMilliseconds.enumerated() where !isStill {
      if attempt > 0 {
        CurrentProcess.sleep(milliseconds: pause)
        try renew(&file)
      }
      pass = try read(file, attempt)
      let after: FileStatus
      do throws(Errno) { after = try file.descriptor.status() } catch { throw .reading(error) }
      isStill = after.isSameState(as: file.status) && pass.byteCount == file.status.size
    }
    if file.status.isRacy(since: moment, on: node.identity) { file.flags.insert(.racy) }
    if !isStill {
      file.flags.formUnion([.changedWhileRead, .racy])
      context.warn(
        at: node.sourcePath(of: file.name), "changed each time it was read; the copy may mix several moments")
    }
    return pass
  }

  /// Takes the present status and attributes of a file that has changed.
  private func renew(_ file: inout SourceFile) throws(CopyError) {
    do throws(Errno) { file.status = try file.descriptor.status() } catch { throw .reading(error) }
    do throws(Failure) {
      var flags = file.flags
      file.attributes = try work.attributes(of: file.descriptor, by: .descriptor, flags: &flags) {
        [node, name = file.name] in node.sourcePath(of: name)
      }
      file.flags = flags
    } catch { throw .reading(.outOfMemory) }
    do throws(Errno) { try file.descriptor.seek(to: 0) } catch { throw .reading(error) }
  }

  /// Describes an entry that is no regular file; `nil` if it cannot be read.
  func readSpecial(_ source: SourceEntry) throws -> NewEntry? {
    let (name, status) = (source.name, source.status)
    var entry = NewEntry(
      kind: status.kind!, metadata: status.metadata,
      hints: Hints(
        sourceInode: status.inode, changed: status.changed, storedInode: 0,
        flags: status.isRacy(since: moment, on: node.identity) ? .racy : []))
    entry.device = status.deviceNumber
    let handle: Descriptor
    do throws(Errno) {
      if entry.kind == .symbolicLink { entry.target = try node.source!.descriptor.readSymbolicLink(name.span) }
      handle = try open(named: name, seen: status)
    } catch {
      switch error {
      case .noSuchEntry: context.progress.vanished.count()
      case .staleHandle: context.warn(at: node.sourcePath(of: name), "was replaced while the snapshot was taken")
      default: try work.readingFailed(at: node.sourcePath(of: name), because: error)
      }
      return nil
    }
    entry.attributes = try work.attributes(of: handle, by: .handle, flags: &entry.hints.flags) {
      node.sourcePath(of: name)
    }
    return entry
  }

  /// Opens the inode that was seen, by path only; throws `staleHandle` if another inode has its name.
  private func open(named name: [UInt8], seen: FileStatus) throws(Errno) -> Descriptor {
    let handle = try node.source!.descriptor.open(name.span, .pathOnly)
    guard try handle.status().isSameState(as: seen) else { throw .staleHandle }
    return handle
  }

  /// Counts a regular file as changed or unchanged.
  func count(_ entry: NewEntry, comparedWith before: FileRow?) {
    guard let before, before.kind == .regular, entry.kind == .regular else { return }
    let isSame =
      entry.size == before.size
      && entry.digest.isConsistent(
        with: before.digest, sameTime: entry.metadata.modified == before.metadata.modified)
    if isSame { node.tally?.unchanged.count() } else { node.tally?.changed.count() }
  }
}
