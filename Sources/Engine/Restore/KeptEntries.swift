internal import Catalog
internal import Model
internal import Posix
internal import Synchronization

/// The dated directories that receive the entries which a restore replaces or removes, one on each mount.
///
/// Below `replaced` an entry has its path from the destination on. Below `metadata` are empty files with the former
/// metadata of files that kept their content. The journal `changes` has a line before each change and one after it, so
/// that a restore that was killed can be undone.
final class KeptEntries: Sendable {
  private struct Place: Sendable {
    let directory, above: Directory
    let name, path: [UInt8]
    /// `nil` if the entries are not kept.
    let journal: ChangeJournal?
    /// True if the directory has former entries or metadata.
    var isFilled = false
  }

  private static let prefix = Array(".treering-kept-".utf8)

  /// True for the name of such a directory, of this restore or of an earlier one.
  static func contains(_ name: some Collection<UInt8>) -> Bool { name.starts(with: prefix) }

  private let name, root: [UInt8]
  /// No entry moves to another file system, or to another subvolume of btrfs.
  private struct Area: Hashable, Sendable {
    let mount, device: UInt64
  }

  /// The lock also orders the making of directories.
  private let places = Mutex<[Area: Place]>([:])
  private let hasJournal: Bool

  /// `root` is the path of the destination. Without a journal, nothing can be undone.
  init(at moment: Timestamp, below root: [UInt8], hasJournal: Bool) {
    name = Self.prefix + SnapshotName(seconds: moment.seconds).bytes
    (self.root, self.hasJournal) = (root, hasJournal)
  }

  /// The paths of the directories that a restore would make. True if it would fill one.
  private let planned = Mutex<(paths: Set<[UInt8]>, isFilled: Bool)>(([], false))

  /// The paths of the directories that a restore would leave, in order.
  var plannedPaths: [[UInt8]] {
    planned.withLock { $0.isFilled ? Array($0.paths) : [] }.sorted { $0.lexicographicallyPrecedes($1) }
  }

  /// The paths of the directories that were made, in order.
  var paths: [[UInt8]] { places.withLock { $0.values.map(\.path) }.sorted { $0.lexicographicallyPrecedes($1) } }

  /// Puts a new entry in the place of an entry, which is kept, in one step.
  ///
  /// The present entry gets a second name here first. What comes out of the exchange is that entry. If another program
  /// has put another one there meanwhile, that one is kept, too.
  func replace(named name: [UInt8], in node: RestoreNode, by new: [UInt8]) throws(Errno) {
    let target = node.target!
    try withDirectory(for: node, tree: "replaced") { (directory) throws(Errno) in
      var linked: FileStatus?
      do throws(Errno) {
        try target.descriptor.link(name.span, to: directory.descriptor, as: name.span)
        linked = try directory.descriptor.status(of: name.span)
        try target.descriptor.exchange(new.span, with: name.span)
      } catch {
        // A file system without links, or without exchange: the entry moves, and its place is empty for a moment.
        if linked != nil { try? directory.descriptor.unlink(name.span) }
        try target.descriptor.rename(name.span, to: directory.descriptor, as: name.span)
        return try target.descriptor.rename(new.span, to: target.descriptor, as: name.span)
      }
      let old = try target.descriptor.status(of: new.span)
      if old.isSameInode(as: linked!) { return try target.descriptor.unlink(new.span) }
      var other = name.prefix(200) + Array(".other".utf8)
      if (try directory.descriptor.statusIfPresent(of: other.span)) != nil { other += Array(".\(old.inode)".utf8) }
      try target.descriptor.rename(new.span, to: directory.descriptor, as: Array(other).span)
    }
  }

  /// Moves an entry here.
  func move(named name: [UInt8], from node: RestoreNode) throws(Errno) {
    try withDirectory(for: node, tree: "replaced") { (directory) throws(Errno) in
      try node.target!.descriptor.rename(name.span, to: directory.descriptor, as: name.span)
    }
  }

  /// Keeps the metadata of a file whose content stays.
  func keepMetadata(
    of file: borrowing Descriptor, status: FileStatus, name: [UInt8], in node: RestoreNode
  ) throws(Errno) {
    let attributes = AttributeBlock(try file.extendedAttributes())
    try withDirectory(for: node, tree: "metadata") { (directory) throws(Errno) in
      let copy = try directory.descriptor.open(name.span, [.write, .create, .exclusive], mode: 0o600)
      _ = try setMetadata(
        status.metadata, attributes: attributes, to: copy, by: .descriptor, currently: try copy.status(),
        mayHaveOthers: true)
      try copy.synchronize()
    }
  }

  func keepMetadata(of node: RestoreNode) throws(Errno) {
    try withDirectory(for: node, tree: "metadata") { (directory) throws(Errno) in
      try directory.descriptor.synchronize()
    }
  }

  /// Announces a change in a directory, before it is made.
  ///
  /// The line must be on the disk first. Only in a directory that this restore made, the line of that directory is
  /// enough: the undoing names what it does not know there.
  func announce(_ change: RecordedChange, in node: RestoreNode) throws(Errno) {
    let journal = try places.withLock { places throws(Errno) in try place(for: node, among: &places).journal }
    guard let journal else { return }
    if !node.isNew, let status = node.status { try journal.note(status.modified, of: node.path) }
    try journal.append(change, isDurable: !node.isNew)
  }

  /// Records that an announced change was made.
  func complete(_ change: RecordedChange, in node: RestoreNode) throws(Errno) {
    try places.withLock { $0[Self.area(of: node)]?.journal }?.append(change)
  }

  /// Notes a change that a restore would make, which `isFilling` the dated directory unless it adds an entry.
  func plan(for node: RestoreNode, isFilling: Bool) {
    guard let above = candidates(for: node).first else { return }
    planned.withLock {
      $0.paths.insert((above.path + name).bytes(below: root))
      $0.isFilled = $0.isFilled || isFilling
    }
  }

  /// Removes the dated directories if none has anything but its journal: after a whole restore that only added entries.
  func removeJournalsAlone() throws(Errno) {
    try places.withLock { places throws(Errno) in
      guard places.values.allSatisfy({ !$0.isFilled }) else { return }
      for place in places.values {
        let name = RecordedChange.fileName
        try place.directory.descriptor.unlink(name.span)
        try Self.remove(place)
      }
      places = [:]
    }
  }

  /// Notes that no change is being made any more.
  func endJournals() throws(Errno) {
    for place in places.withLock({ Array($0.values) }) {
      try place.journal?.append(RecordedChange(.end, at: []), isDurable: true)
    }
  }

  private static func remove(_ place: Place) throws(Errno) {
    let modified = try place.above.descriptor.status().modified
    try place.above.descriptor.removeDirectory(place.name.span)
    try? place.above.descriptor.setModificationTime(modified)
  }

  /// Deletes everything that was kept, with the dated directories.
  func delete(threads: ThreadCount) throws {
    for place in places.withLock({ Array($0.values) }) {
      if let failure = try deleteContent(of: place.directory, at: place.path, threads: threads) { throw failure }
      try Self.remove(place)
    }
  }

  /// Calls `body` with the directory here that stands for a directory of the destination.
  private func withDirectory(
    for node: RestoreNode, tree: String, body: (Directory) throws(Errno) -> Void
  ) throws(Errno) {
    try places.withLock { places throws(Errno) in
      var directory = try place(for: node, among: &places).directory
      places[Self.area(of: node)]!.isFilled = true
      for (name, present) in zip([Array(tree.utf8)] + node.path, node.line) {
        directory = try Self.directory(named: name, in: directory, like: present)
      }
      try body(directory)
    }
  }

  private func place(for node: RestoreNode, among places: inout [Area: Place]) throws(Errno) -> Place {
    let area = Self.area(of: node)
    if let place = places[area] { return place }
    let made = try make(for: node)
    places[area] = made
    return made
  }

  private static func area(of node: RestoreNode) -> Area {
    Area(mount: node.status?.mount ?? 0, device: node.status?.device ?? 0)
  }

  /// The directories of the mount that may get the dated directory, the highest first. Those of this user come first: a
  /// directory such as /tmp is for everybody, and is cleaned.
  private func candidates(for node: RestoreNode) -> [RestoreNode] {
    let user = CurrentProcess.effectiveUser
    let candidates = node.line.filter { $0.target != nil && Self.area(of: $0) == Self.area(of: node) }
    return candidates.filter { user == 0 || $0.status?.user == user } + candidates
  }

  /// Makes the dated directory in the first directory that permits it.
  private func make(for node: RestoreNode) throws(Errno) -> Place {
    var refusal = Errno.accessDenied
    for candidate in candidates(for: node) {
      guard let above = candidate.target else { continue }
      do throws(Errno) {
        let modified = try above.descriptor.status().modified
        let name = try makeDirectory(in: above)
        try? above.descriptor.setModificationTime(modified)
        let directory = try above.directory(name.span)
        guard try above.descriptor.isOwn(directory.descriptor.status()) else { throw .notPermitted }
        try directory.descriptor.dropACLsWherePossible()
        let journal = try hasJournal ? ChangeJournal(in: directory) : nil
        if journal != nil {
          try directory.descriptor.synchronize()
          try above.descriptor.synchronize()
        }
        return Place(
          directory: directory, above: Directory(try above.descriptor.reopenDirectory()), name: name,
          path: (candidate.path + name).bytes(below: root), journal: journal)
      } catch {
        refusal = error
        guard error.meansNoPermission || error == .readOnlyFileSystem else { throw error }
      }
    }
    throw refusal
  }

  /// Makes a directory of a free name, because two restores may begin in one second.
  private func makeDirectory(in above: Directory) throws(Errno) -> [UInt8] {
    for number in 1...100 {
      let name = name + (number == 1 ? [] : Array("-\(number)".utf8))
      do throws(Errno) {
        try above.descriptor.makeDirectory(name.span, mode: 0o700)
        return name
      } catch { guard error == .exists else { throw error } }
    }
    throw .exists
  }

  /// Opens a directory, or makes it with the metadata of a directory of the destination.
  private static func directory(
    named name: [UInt8], in above: Directory, like present: RestoreNode
  ) throws(Errno) -> Directory {
    do { try above.descriptor.makeDirectory(name.span, mode: 0o700) } catch {
      guard error == .exists else { throw error }
      return try above.directory(name.span)
    }
    let directory = try above.directory(name.span)
    if let original = present.target {
      var metadata = try original.descriptor.status().metadata
      // An ordinary user must be able to add entries.
      if CurrentProcess.effectiveUser != 0 { metadata.permissions |= 0o700 }
      _ = try setMetadata(
        metadata, attributes: AttributeBlock(try original.descriptor.extendedAttributes()), to: directory.descriptor,
        by: .descriptor, currently: try directory.descriptor.status(), mayHaveOthers: true)
    }
    return directory
  }
}

extension WalkNode {
  /// The directories from the root of the walk to this one.
  fileprivate var line: [WalkNode] {
    var nodes = [self]
    while let above = nodes.last!.parent { nodes.append(above) }
    return nodes.reversed()
  }
}
