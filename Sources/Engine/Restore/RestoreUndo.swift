internal import Catalog
internal import Model
internal import Posix
internal import Repository

public struct UndoResult: Sendable {
  /// Changes that were not undone. Each is named in a warning.
  public var left: UInt64 = 0
  /// True if the dated directory is gone, because it held nothing more.
  public var isDirectoryRemoved = false
}

/// Undoes a restore in place: puts back the entries of its dated directory, and removes those that it added.
///
/// An entry that has changed since the restore is left, and named. `approves` decides about each change.
public func undoRestore(
  keptIn path: [UInt8], isDryRun: Bool, approves: @escaping (RestoreChange) -> Bool, monitor: any Monitor
) throws -> UndoResult {
  let root, kept: Directory
  do {
    root = Directory(try Descriptor.open(path: [slash], [.read, .directory]))
    kept = Directory(try Descriptor.open(path: splitLast(of: path).parent, [.read, .directory]))
  } catch { throw Failure(.usage, "cannot open \(displayName(path)): \(error)", path: path) }
  var undo = try Undo(
    of: kept, named: splitLast(of: path).name, at: path, in: root, isDryRun: isDryRun, approves: approves,
    monitor: monitor)
  try undo.run()
  return undo.result
}

/// The undoing of the changes of one dated directory, the deepest paths first.
private struct Undo {
  private let root, above: Directory
  private let name: [UInt8]
  private let kept: Directory
  private let path: [UInt8]
  private let isDryRun: Bool
  private let approves: (RestoreChange) -> Bool
  private let monitor: any Monitor
  private var changes: [RecordedChange]
  /// False if the restore was killed.
  private var isEnded = true
  /// False if the dated directory is empty: an undoing was ended just before it was removed.
  private let hasRecord: Bool
  private var remaining: [RecordedChange] = []
  /// Entries that are removed, or would be.
  private var removed: Set<TreePath> = []
  /// Inodes whose ctime this undoing has changed, by the loss of a name.
  private var touched: Set<UInt64> = []
  /// The former mtimes of directories whose entries change.
  private var times: [TreePath: Timestamp] = [:]
  var result = UndoResult()

  init(
    of above: Directory, named name: [UInt8], at path: [UInt8], in root: Directory, isDryRun: Bool,
    approves: @escaping (RestoreChange) -> Bool, monitor: any Monitor
  ) throws {
    (self.above, self.name, self.path, self.root) = (above, name, path, root)
    (self.isDryRun, self.approves, self.monitor) = (isDryRun, approves, monitor)
    let shown = displayName(path)
    do {
      kept = try above.directory(name.span)
      let status = try kept.descriptor.status()
      // Another user could have written any path into the record.
      guard KeptEntries.contains(name), status.user == CurrentProcess.effectiveUser, status.permissions & 0o022 == 0
      else {
        throw Failure(
          .refused, "\(shown) is no directory that a restore in place by this user has made", path: path,
          hint: "name one such as /.treering-kept-2026-11-29T20-34-49Z")
      }
      let record = RecordedChange.fileName
      hasRecord = try !above.directory(name.span).names().isEmpty
      guard hasRecord else {
        changes = []
        return
      }
      guard let file = try? kept.descriptor.openToRead(record.span) else {
        throw Failure(
          .usage, "\(shown) has no record of the restore's changes", path: path,
          hint: "put its entries back with cp, as treering-restore(1) says")
      }
      guard let found = RecordedChanges(journal: try file.readAll(limit: 1 << 31))
      else { throw Failure(.damaged, "the record of the restore's changes in \(shown) is damaged", path: path) }
      times = found.times
      isEnded = found.isEnded
      changes = found.changes.values.sorted { $1.path < $0.path }
    } catch let failure as Failure {
      throw failure
    } catch { throw Failure(.usage, "cannot read \(shown): \(error)", path: path) }
  }

  mutating func run() throws {
    try settle()
    for change in changes {
      try checkForSignal()
      do { try undo(change) } catch let error as Errno {
        // An earlier undoing that was ended removed the directory that the restore had added.
        if change.sign == .added, error == .noSuchEntry { continue }
        leave(change, because: error == .symbolicLoop ? "a symbolic link leads to it" : "cannot be undone: \(error)")
      }
    }
    result.left = UInt64(remaining.count)
    if isDryRun { return }
    for (path, time) in times { try? root.directory(path: path).descriptor.setModificationTime(time) }
    try clear()
  }

  /// Completes the record of a restore that was killed: finds out which of its changes were made.
  private mutating func settle() throws {
    guard !isEnded else { return }
    // First, because the loss of a name changes the ctime.
    if !isDryRun { discardTemporaries() }
    for index in changes.indices where changes[index].sign != .removed {
      try checkForSignal()
      settle(&changes[index])
    }
    if !isDryRun { try write(changes) }
  }

  /// Removes the files that were being written when the restore was killed.
  private func discardTemporaries() {
    var directories = Set(times.keys)
    for change in changes where change.sign == .added || change.sign == .replaced { directories.insert(change.path) }
    for path in directories {
      guard let directory = try? root.directory(path: path), let names = try? directory.names() else { continue }
      for name in names where TemporaryNames.contains(name) { directory.descriptor.discardTemporary(name.span) }
    }
  }

  /// Completes the line of a change that was made.
  ///
  /// The inode is that of the line, and its mtime, too: another program that wrote to the file has set another one. The
  /// ctime is not known after a kill, because a further name of the inode changes it.
  private func settle(_ change: inout RecordedChange) {
    let name = change.path.last ?? []
    guard let parent = try? root.directory(path: change.path.dropLast()),
      let present = try? parent.descriptor.statusIfPresent(of: name.span)
    else { return }
    if present.kind == .directory {
      // The inode of a new directory is not known before it is made.
      guard change.inode == 0, change.sign != .corrected else { return }
    } else {
      let times = [change.modified] + (change.sign == .corrected ? [formerTime(of: change)] : [])
      guard change.inode == present.inode, times.contains(present.modified) else { return }
      change.changed = present.changed
    }
    change.inode = present.inode
    change.isAnnounced = false
  }

  /// The mtime of a file before its metadata were corrected.
  private func formerTime(of change: RecordedChange) -> Timestamp? {
    let name = change.path.last!
    let directory = try? kept.directory(path: [Array("metadata".utf8)] + change.path.dropLast())
    return try? directory?.descriptor.status(of: name.span).modified
  }

  private func write(_ changes: [RecordedChange]) throws(Errno) {
    let (new, record) = (RecordedChange.newFileName, RecordedChange.fileName)
    let file = try kept.descriptor.open(new.span, [.write, .create, .truncate], mode: 0o600)
    let times = changes.isEmpty ? [] : self.times.map { RecordedChange(timeOf: $0.key, time: $0.value) }
    try file.write((changes + times + [RecordedChange(.end, at: [])]).flatMap(\.line))
    try file.synchronize()
    try kept.descriptor.rename(new.span, to: kept.descriptor, as: record.span, replacing: true)
  }

  private mutating func leave(_ change: RecordedChange, because reason: String) {
    remaining.append(change)
    monitor.warn(Warning(path: change.path.absolute, message: "\(reason); left as it is"))
  }

  private mutating func undo(_ change: RecordedChange) throws {
    let name = change.path.last!
    let parent = try root.directory(path: change.path.dropLast())
    let present = try parent.descriptor.statusIfPresent(of: name.span)
    switch change.sign {
    case .added:
      guard let present else { return }
      guard isUnchanged(present, since: change) else { return leave(change, because: Self.hasChanged) }
      guard try isEmptied(present, change: change, in: parent) else { return leave(change, because: Self.isFilled) }
      guard isWanted(change, verb: .removed, present: present, before: nil) else { return }
      if isDryRun { return }
      try remove(present, named: name, from: parent)
    case .corrected: try correct(change, in: parent, present: present)
    case .time, .end: break
    case .replaced, .removed:
      // It was put back before, or never moved.
      guard let directory = try keptDirectory(of: change),
        let former = try directory.descriptor.statusIfPresent(of: name.span)
      else { return }
      guard change.sign == .replaced, let present else {
        if present != nil { return leave(change, because: "another entry has taken its place") }
        guard isWanted(change, verb: .added, present: former, before: nil) else { return }
        try report(contentOf: change, in: directory, as: former)
        if isDryRun { return }
        return try directory.descriptor.rename(name.span, to: parent.descriptor, as: name.span)
      }
      // The restore was killed before the exchange: the present entry has a second name here.
      if former.isSameInode(as: present) {
        if !isDryRun { try remove(former, named: name, from: directory) }
        return
      }
      // An undoing was ended between its exchange and the removal of the restored entry.
      if former.inode == change.inode, present.inode != change.inode {
        if !isDryRun { try remove(former, named: name, from: directory) }
        return
      }
      guard isUnchanged(present, since: change) else { return leave(change, because: Self.hasChanged) }
      guard try isEmptied(present, change: change, in: parent) else { return leave(change, because: Self.isFilled) }
      guard isWanted(change, verb: .changed, present: former, before: present) else { return }
      try report(contentOf: change, in: directory, as: former)
      if isDryRun { return }
      try exchange(change, in: directory, with: parent, present: present)
    }
  }

  /// The directory with the former entry; `nil` if there is none.
  private func keptDirectory(of change: RecordedChange) throws(Errno) -> Directory? {
    do throws(Errno) {
      return try kept.directory(path: [Array("replaced".utf8)] + change.path.dropLast())
    } catch {
      guard error == .noSuchEntry else { throw error }
      return nil
    }
  }

  private static let hasChanged = "has changed since the restore"
  private static let isFilled = "has entries that stay"

  private func isUnchanged(_ present: FileStatus, since change: RecordedChange) -> Bool {
    present.inode == change.inode
      && (present.kind == .directory || present.changed == change.changed || touched.contains(present.inode))
  }

  /// True unless a directory has other entries than those that are removed.
  private func isEmptied(_ present: FileStatus, change: RecordedChange, in parent: Directory) throws(Errno) -> Bool {
    guard present.kind == .directory else { return true }
    let name = change.path.last!
    let names = try parent.directory(name.span).names()
    return names.allSatisfy { removed.contains(change.path + $0) || TemporaryNames.contains($0) }
  }

  /// Reports a change of the undoing. `before` is the present entry that another one replaces.
  private mutating func isWanted(
    _ change: RecordedChange, verb: Change.Verb, present: FileStatus, before: FileStatus?,
    aspects: ChangedAspects = []
  ) -> Bool {
    let planned = RestoreChange(
      verb: verb, path: change.path.absolute, kind: present.kind,
      kindBefore: before?.kind == present.kind ? nil : before?.kind, aspects: aspects,
      byteCount: present.kind == .regular ? present.size : nil)
    guard approves(planned) else {
      leave(change, because: "has changed since the plan was made")
      return false
    }
    if verb == .removed { removed.insert(change.path) }
    monitor.changed(planned)
    return true
  }

  /// Reports what comes back with a directory.
  private func report(contentOf change: RecordedChange, in directory: Directory, as former: FileStatus) throws(Errno) {
    guard former.kind == .directory else { return }
    var waiting = [(directory: try directory.directory(path: [change.path.last!]), path: change.path)]
    var found: [RestoreChange] = []
    while let (directory, path) = waiting.popLast() {
      for name in try directory.names() {
        let status = try directory.descriptor.status(of: name.span)
        found.append(
          RestoreChange(
            verb: .added, path: (path + name).absolute, kind: status.kind, kindBefore: nil, aspects: [],
            byteCount: status.kind == .regular ? status.size : nil))
        if status.kind == .directory { waiting.append((try directory.directory(name.span), path + name)) }
      }
    }
    monitor.report(found)
  }

  /// Puts a kept entry in the place of the restored one, in one step, and removes the restored one.
  private mutating func exchange(
    _ change: RecordedChange, in directory: Directory, with parent: Directory, present: FileStatus
  ) throws(Errno) {
    let name = change.path.last!
    try directory.descriptor.exchange(name.span, with: name.span, in: parent.descriptor)
    let taken = try directory.descriptor.status(of: name.span)
    // Another program may have put another entry there, or written to it.
    guard taken.isSameInode(as: present), taken.modified == present.modified || present.kind == .directory else {
      try directory.descriptor.exchange(name.span, with: name.span, in: parent.descriptor)
      return leave(change, because: Self.hasChanged)
    }
    try remove(taken, named: name, from: directory)
  }

  private mutating func remove(_ entry: FileStatus, named name: [UInt8], from directory: Directory) throws(Errno) {
    guard entry.kind != .directory else { return try directory.descriptor.removeDirectory(name.span) }
    try directory.descriptor.unlink(name.span)
    touched.insert(entry.inode)
  }

  /// Gives an entry its former metadata.
  private mutating func correct(_ change: RecordedChange, in parent: Directory, present: FileStatus?) throws {
    guard let present else { return leave(change, because: "is gone") }
    let name = change.path.last!
    let directory = try kept.directory(path: [Array("metadata".utf8)] + change.path.dropLast())
    let former = try directory.descriptor.openToRead(name.span)
    let target = try parent.descriptor.openToRead(name.span)
    let now = try target.status()
    var old = try former.status().metadata
    if now.kind == .directory { old.modified = change.changed }
    let attributes = AttributeBlock(try former.extendedAttributes())
    var aspects = metadataAspects(from: now.metadata, to: old)
    if AttributeBlock(try target.extendedAttributes()) != attributes { aspects.insert(.attributes) }
    if aspects.isEmpty { return }
    guard now.isSameInode(as: present), isUnchanged(now, since: change)
    else { return leave(change, because: Self.hasChanged) }
    guard isWanted(change, verb: .changed, present: now, before: now, aspects: aspects), !isDryRun else { return }
    _ = try setMetadata(old, attributes: attributes, to: target, by: .descriptor, currently: now, mayHaveOthers: true)
    touched.insert(now.inode)
  }

  // MARK: The dated directory

  /// Removes the dated directory if it holds nothing more, and else records what is left to undo.
  ///
  /// The record goes first. So an undoing that is ended here is repeated as one without changes.
  private mutating func clear() throws {
    let modified = try above.descriptor.status().modified
    if hasRecord { try write(remaining) }
    guard remaining.isEmpty else { return }
    Self.removeEmptied(Array("replaced".utf8), in: kept)
    let metadata = Array("metadata".utf8)
    if let directory = try? kept.directory(metadata.span) {
      _ = try deleteContent(of: directory, at: path + [slash] + metadata, threads: 1)
      try kept.descriptor.removeDirectory(metadata.span)
    }
    let names = try above.directory(name.span).names()
    guard names.allSatisfy({ $0 == RecordedChange.fileName || $0 == RecordedChange.newFileName }) else { return }
    for name in names { try kept.descriptor.unlink(name.span) }
    try above.descriptor.removeDirectory(name.span)
    try? above.descriptor.setModificationTime(modified)
    result.isDirectoryRemoved = true
  }

  /// Removes a directory and those below it that have nothing but empty directories. Any other stays.
  private static func removeEmptied(_ name: [UInt8], in above: Directory) {
    guard let directory = try? above.directory(name.span) else { return }
    for name in (try? directory.names()) ?? [] { removeEmptied(name, in: directory) }
    try? above.descriptor.removeDirectory(name.span)
  }
}
