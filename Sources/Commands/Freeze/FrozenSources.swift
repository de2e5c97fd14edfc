internal import Engine
internal import Model
internal import Patterns
internal import Posix
internal import Repository
internal import Settings

/// The frozen snapshots of a run: made before the walk, and removed after it in every case.
///
/// The caller holds the lock, calls `removeLeftovers` first and `end` last.
final class FrozenSources {
  private struct Group {
    let volume: any FreezableVolume
    var places: [SourcePlace]
  }

  private let repository: Repository
  private let configured: [Configuration.Source]
  private let programs = FreezePrograms()
  private var namespace: FreezeNamespace?
  private var items: [FrozenItem] = []
  /// Those that cannot be removed now: of killed runs, or still being made.
  private var leftovers: [FrozenItem] = []
  private var points: [[UInt8]] = []

  init(of sources: [Configuration.Source], in repository: Repository) {
    configured = sources.filter { $0.freeze != nil }
    self.repository = repository
  }

  /// Removes what a killed run has left. Returns the problems with snapshots that stay.
  func removeLeftovers() -> [Warning] {
    do {
      let lines = try repository.frozenRecord.lines()
      if lines.isEmpty { return [] }
      items = lines.compactMap { FrozenItem(line: $0, of: repository) }
      // The snapshots of damaged lines stay, so the operator must hear of them.
      let damaged = lines.count == items.count ? [] : [warning("the record .treering/frozen has damaged lines")]
      let warnings = damaged + removeAll()
      (leftovers, items) = (items, [])
      return warnings
    } catch { return [warning("\(error)")] }
  }

  /// Freezes the sources of a snapshot that are to be frozen, and lets the snapshot read them there. Throws only after
  /// a signal.
  func freeze(_ options: inout SnapshotOptions) throws {
    var groups: [Group] = []
    for source in configured where options.sources.contains(Array(source.path.utf8)) {
      // The snapshot itself notices an absent source.
      guard (try? Descriptor.open(path: Array(source.path.utf8), [.read, .directory])) != nil else { continue }
      do throws(Failure) {
        guard CurrentProcess.effectiveUser == 0 else { throw Failure(.failed, "only root can do that") }
        let place = try SourcePlace(of: source)
        let volume = try place.volume(by: programs)
        if let index = groups.firstIndex(where: { $0.volume.key == volume.key }) {
          groups[index].places.append(place)
        } else {
          groups.append(Group(volume: volume, places: [place]))
        }
      } catch { options.unfrozen[Array(source.path.utf8)] = "\(error)" }
    }
    for group in groups {
      try checkForSignal()
      do { try freeze(group, for: &options) } catch {
        for place in group.places { options.unfrozen[Array(place.source.path.utf8)] = "\(error)" }
      }
    }
    try checkForSignal()
    readOthersLive(in: &options)
  }

  /// Unmounts and removes all frozen snapshots. Returns the problems with those that stay.
  func end() -> [Warning] {
    defer {
      namespace?.end()
      namespace = nil
    }
    var warnings: [Warning] = []
    for point in points { do { try namespace?.unmount(point) } catch { warnings.append(warning("\(error)")) } }
    points = []
    return items.isEmpty ? warnings : warnings + removeAll()
  }

  private func warning(_ message: String) -> Warning { Warning(path: repository.path, message: message) }

  private func openNamespace() throws(Failure) -> FreezeNamespace {
    if let namespace { return namespace }
    let opened = try FreezeNamespace(programs: programs)
    namespace = opened
    return opened
  }

  // MARK: Freezing

  private func freeze(_ group: Group, for options: inout SnapshotOptions) throws(Failure) {
    let namespace = try openNamespace()
    let item = group.volume.item(named: try newName())
    // A change after this moment sets a later ctime, because no page of a file is dirty any more.
    let moment = Clock.fileStampNow()
    if let place = group.places.first {
      do throws(Errno) { try Descriptor.open(path: place.path, [.read, .directory]).synchronizeFileSystem() } catch {
        throw Failure(.failed, "its file system cannot be synchronized: \(error)")
      }
    }
    items.append(item)
    try writeRecord()
    let tree: FrozenTree
    do { tree = try group.volume.make(item, in: namespace) } catch {
      // It may still be made, so only the next run can remove it.
      if programs.hasLeftOneRunning { leftovers.append(items.removeLast()) }
      throw error
    }
    if let point = tree.point { points.append(point) }
    let volume = group.volume
    for place in group.places {
      let source = Array(place.source.path.utf8)
      let rest = SourcePlace.rest(of: place.pathInFileSystem, below: tree.root) ?? []
      options.origins[source] = tree.directory + (tree.point == nil ? [] : rest)
      options.frozen[source] = FrozenSource(
        moment: moment, identity: tree.point == nil ? nil : place.identity
      ) { () throws(Failure) in try volume.check(item) }
      if let name = tree.ownName, rest.isEmpty { options.leaveOut(name, of: source) }
      // All that is left to read is frozen, so a site need not wait for the walk.
      options.noteFrozen(source)
    }
    try showOtherMounts(in: tree, of: group, for: &options)
  }

  private func newName() throws(Failure) -> String {
    do {
      let letters = try CurrentProcess.randomBytes(count: 8).map { 97 + $0 % 26 }
      return FrozenItem.prefix(of: repository) + String(decoding: letters, as: UTF8.self)
    } catch { throw Failure(.failed, "there are no random numbers: \(error)") }
  }

  /// Mounts the other file systems below the sources in their frozen snapshot, too: they are read as they are.
  private func showOtherMounts(
    in tree: FrozenTree, of group: Group, for options: inout SnapshotOptions
  ) throws(Failure) {
    guard let point = tree.point, let namespace, let mounts = MountLine.all() else { return }
    let repositoryMounts = repository.location.innerMounts()
    var pairs: [(from: [UInt8], to: [UInt8])] = []
    // The walk names a lacking file system, if it comes there.
    var lacking: [[UInt8]: (source: [UInt8], path: [UInt8])] = [:]
    for place in group.places {
      let source = Array(place.source.path.utf8)
      let inTree = point + (SourcePlace.rest(of: place.pathInFileSystem, below: tree.root) ?? [])
      pairs += lackingSubvolumes(of: place, in: inTree, by: namespace, on: options)
      for mount in mounts where !repositoryMounts.contains(mount.id) {
        guard let rest = SourcePlace.rest(of: mount.point, below: place.path), !rest.isEmpty else { continue }
        let path = (source == [slash] ? [] : source) + rest
        // To look at an automount mounts it.
        if mount.type == Array("autofs".utf8) {
          options.frozen[source]?.lackingMounts.insert(path)
        } else {
          options.frozen[source]?.lackingMounts.remove(path)
          pairs.append((mount.point, inTree + rest))
          lacking[inTree + rest] = (source, path)
        }
      }
    }
    for failed in try namespace.bind(pairs) {
      if let (source, path) = lacking[failed] { options.frozen[source]?.lackingMounts.insert(path) }
    }
  }

  /// The subvolumes that hold another source, and that a frozen snapshot of the subvolume around them lacks.
  private func lackingSubvolumes(
    of place: SourcePlace, in tree: [UInt8], by namespace: FreezeNamespace, on options: SnapshotOptions
  ) -> [(from: [UInt8], to: [UInt8])] {
    options.sources.compactMap { other in
      guard let rest = SourcePlace.rest(of: other, below: Array(place.source.path.utf8)) else { return nil }
      let names = TreePath(parsing: rest)
      let lacking = (1..<max(names.count, 1)).lazy.map { names.prefix($0).absolute }.first {
        (try? Descriptor.open(path: namespace.reaching(tree + $0), .pathOnly).status())?.inode == 2
      }
      return lacking.map { (place.path + $0, tree + $0) }
    }
  }

  /// A source inside a frozen one is not read there, unless it is frozen with it.
  private func readOthersLive(in options: inout SnapshotOptions) {
    for source in options.sources where options.origins[source] == nil && source.first == slash {
      if options.frozen.keys.contains(where: { SourcePlace.rest(of: source, below: $0) != nil }) {
        options.origins[source] = source
      }
    }
  }

  // MARK: Removal

  /// Removes what the record names, and leaves the rest in it.
  private func removeAll() -> [Warning] {
    var warnings: [Warning] = []
    var staying: [FrozenItem] = []
    for item in items {
      do { try remove(item) } catch {
        staying.append(item)
        warnings.append(
          warning("the frozen snapshot \(item.description) cannot be removed: \(error); the next run tries again"))
      }
    }
    items = staying
    do { try writeRecord() } catch { warnings.append(warning("\(error)")) }
    return warnings
  }

  private func writeRecord() throws(Failure) { try repository.frozenRecord.write((leftovers + items).map(\.line)) }

  private func remove(_ item: FrozenItem) throws(Failure) {
    switch item.kind {
    case .lvm: try LVMVolume.remove(item, by: programs)
    case .zfs: try ZFSDataset.remove(item, by: programs)
    case .btrfs:
      var source = Configuration.Source()
      source.path = item.volume
      try BtrfsSubvolume.remove(item, at: SourcePlace(of: source), in: openNamespace())
    case .command:
      // The record may be of another user, so it names no program.
      guard case .command(let command)? = configured.first(where: { $0.path == item.volume })?.freeze
      else { throw Failure(.failed, "the configuration has no program that freezes \(item.volume) any more") }
      try CommandVolume.remove(item, with: command, by: programs)
    }
  }
}

extension SnapshotOptions {
  /// Leaves out a directory at the top of a source that is not the source's.
  fileprivate mutating func leaveOut(_ name: [UInt8], of source: [UInt8]) {
    excludesOfSource[source, default: excludes].patterns
      .add(Array("/\(String(decoding: name, as: UTF8.self))/".utf8), origin: "the frozen snapshot")
  }
}
