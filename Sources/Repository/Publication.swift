internal import Catalog
public import Model
public import Posix
internal import Synchronization

/// The publication of snapshots. The caller holds the lock.
///
/// `PendingSnapshot.publish` and `Adoption.publish` publish one. The steps after that are those of
/// `completePublication` in the engine's `Guard/Arrivals.swift`. `recover` finishes an interrupted one.
public struct Publication {
  let repository: Repository

  #if DEBUG
    /// The tests make many snapshots and do not wait for the clock.
    private static let namesMayRunAhead = CurrentProcess.environment("TREERING_TEST_NAMES_AHEAD") == [UInt8(ascii: "1")]
  #else
    private static var namesMayRunAhead: Bool { false }
  #endif

  /// Begins a snapshot under the first free name from `time` on. The caller holds the lock.
  ///
  /// `catalogBytes` is the expected size of the catalog, as far as it is known.
  public func beginSnapshot(
    at time: Timestamp, catalogBytes: UInt64 = 0, mayRecycle: Bool = true
  ) throws(Failure) -> PendingSnapshot {
    var seconds = time.seconds
    while true {
      let name = SnapshotName(seconds: seconds)
      if try !isTaken(name) {
        // If two runs begin in one second, the later run waits for the next second.
        let ahead = Timestamp(seconds: seconds, nanoseconds: 0) - Clock.now()
        if seconds > time.seconds && ahead > 0 && ahead < 2 && !Self.namesMayRunAhead {
          CurrentProcess.sleep(milliseconds: Int(ahead * 1000) + 1)
        }
        return try PendingSnapshot(named: name, in: repository, catalogBytes: catalogBytes, mayRecycle: mayRecycle)
      }
      seconds += 1
    }
  }

  /// Begins a snapshot under the name that it has in another repository. The caller holds the lock.
  public func beginSnapshot(
    named name: SnapshotName, catalogBytes: UInt64 = 0, mayRecycle: Bool = true
  ) throws(Failure) -> PendingSnapshot {
    guard try !isTaken(name) else {
      throw Failure(
        .refused, "\(displayName(repository.path)) has another snapshot \(name) already", path: repository.path)
    }
    return try PendingSnapshot(named: name, in: repository, catalogBytes: catalogBytes, mayRecycle: mayRecycle)
  }

  /// True if a tree or catalog of this name exists, published or pending.
  func isTaken(_ name: SnapshotName) throws(Failure) -> Bool {
    let catalogs = try repository.catalogs
    let pending = try repository.pending
    let places: [(Directory, [UInt8])] = [
      (repository.root, name.bytes), (catalogs, name.catalogName), (pending, name.bytes), (pending, name.catalogName),
    ]
    do throws(Errno) {
      for (directory, entry) in places where try directory.descriptor.statusIfPresent(of: entry.span) != nil {
        return true
      }
      return false
    } catch { throw .writing("look for the snapshot \(name) in", at: repository.path, because: error) }
  }

  /// Points `latest` to a snapshot, with an atomic replacement of the link.
  public func pointLatest(to name: SnapshotName) throws(Failure) {
    try point(Repository.latestName, to: name.bytes)
  }

  /// Points `RECOVERY.md` to the recovery plan in the newest snapshot that has one. Without one, it goes.
  ///
  /// Another entry of this name is the operator's own.
  public func pointPlan(among list: SnapshotList) throws(Failure) {
    let name = RecoveryDocument.fileName
    let target = list.snapshots.reversed().lazy.compactMap(\.planPath).first
    do throws(Errno) {
      if let status = try repository.root.descriptor.statusIfPresent(of: name.span) {
        guard status.kind == .symbolicLink else { return }
        let present = try repository.root.descriptor.readSymbolicLink(name.span)
        guard present.suffix(Self.planSuffix.count).elementsEqual(Self.planSuffix) else { return }
        if target == nil { return try repository.root.descriptor.unlink(name.span) }
      }
    } catch { throw .writing("look for RECOVERY.md in", at: repository.path, because: error) }
    if let target { try point(name, to: target) }
  }

  static let planSuffix = [slash] + RecoveryDocument.directoryName + [slash] + RecoveryDocument.fileName

  /// Points a link of the repository's root to a path, with an atomic replacement.
  private func point(_ link: [UInt8], to target: [UInt8]) throws(Failure) {
    if (try? repository.root.descriptor.readSymbolicLink(link.span)) == target { return }
    let pending = try repository.pending
    do throws(Errno) {
      do throws(Errno) { try pending.descriptor.unlink(link.span) } catch {
        guard error == .noSuchEntry else { throw error }
      }
      try pending.descriptor.makeSymbolicLink(link.span, to: target)
      try pending.descriptor.rename(link.span, to: repository.root.descriptor, as: link.span, replacing: true)
    } catch {
      throw .writing(
        "point the link \(displayName(link)) to \(displayName(target)) in", at: repository.path, because: error)
    }
  }

  /// Begins to adopt a tree under the first free name from `time` on.
  public func beginAdoption(at time: Timestamp) throws(Failure) -> Adoption {
    var seconds = time.seconds
    while try isTaken(SnapshotName(seconds: seconds)) { seconds += 1 }
    return try Adoption(named: SnapshotName(seconds: seconds), in: repository)
  }

  /// Runs `syncfs` on the repository's file system through `descriptor`. The caller holds the lock.
  ///
  /// `syncfs` reports the errors since `descriptor` was opened. The kernel reports a lost write once and does not name
  /// the file. Therefore an error discards all unpublished data: the trees of interrupted runs and the received parts
  /// of pushes.
  public func synchronizeFileSystem(through descriptor: borrowing Descriptor) throws(Errno) {
    do { try descriptor.synchronizeFileSystem() } catch {
      repository.hasLostWrites.store(true, ordering: .relaxed)
      do throws(Failure) {
        try discardUnfinished()
        for name in try repository.receivedParts.snapshots() { try repository.receivedParts.discard(name) }
      } catch let failure { repository.problems.note(failure) }
      throw error
    }
  }

  /// Makes the renames of a publication durable.
  public func synchronizeRenames() throws(Failure) {
    let catalogs = try repository.catalogs
    do { try synchronizeRenames(of: catalogs) } catch {
      throw .writing("make the last snapshot durable in", at: repository.path, because: error)
    }
  }

  func synchronizeRenames(of catalogs: Directory) throws(Errno) {
    try catalogs.descriptor.synchronize()
    try repository.root.descriptor.synchronize()
  }

  /// Discards the tree under construction, because an entry of the recycled spare cannot be changed.
  public func setAside(_ snapshot: PendingSnapshot, at path: [UInt8], because reason: any Error) {
    if !Retirement.isLeftToRoot(reason) {
      repository.problems.note(
        "cannot be recycled, and is set aside: \(displayName(path))", at: [Repository.spareName], because: reason)
    }
    let name = snapshot.name
    do {
      let pending = try repository.pending
      try pending.descriptor.unlink(name.catalogName.span)
      try repository.retirement.discard(name.bytes, of: pending)
    } catch {
      repository.problems.note("cannot be set aside", at: [Repository.pendingName, name.bytes], because: error)
    }
  }
}

extension Snapshot {
  /// The path of the recovery plan from the repository's root; `nil` if the snapshot has none.
  ///
  /// The paths of a received snapshot are its client's.
  fileprivate var planPath: [UInt8]? {
    let source = summary.sources.first { source in
      let names = source.split(separator: slash, omittingEmptySubsequences: false).dropFirst()
      return source.first == slash && names.last?.elementsEqual(RecoveryDocument.directoryName) == true
        && !(names + [summary.label[...]]).contains {
          $0.isEmpty || $0.elementsEqual(".".utf8) || $0.elementsEqual("..".utf8)
        }
    }
    return source.map { name.bytes + [slash] + summary.label + $0 + [slash] + RecoveryDocument.fileName }
  }
}
