public import Catalog
public import Model
public import Posix
internal import Synchronization

/// A published snapshot: its dated directory and its catalog both exist.
public struct Snapshot: Sendable {
  public let name: SnapshotName
  public let summary: CatalogSummary

  public init(name: SnapshotName, summary: CatalogSummary) { (self.name, self.summary) = (name, summary) }
}

extension SnapshotName {
  static let catalogSuffix = Array(".catalog".utf8)

  /// Parses a name with a suffix; `nil` for any other form.
  init?(_ name: [UInt8], suffix: [UInt8]) {
    guard Array(name.suffix(suffix.count)) == suffix else { return nil }
    self.init(name.dropLast(suffix.count))
  }
}

/// A snapshot that exists but cannot be used.
public struct UnusableSnapshot: Sendable {
  public var name: SnapshotName
  public var reason: String
  /// False if the snapshot could not be examined: no permission, or no descriptor or memory left.
  public var isDamage: Bool

  public init(name: SnapshotName, reason: String, isDamage: Bool) {
    (self.name, self.reason, self.isDamage) = (name, reason, isDamage)
  }
}

/// The snapshots of a repository.
public struct SnapshotList: Sendable {
  /// In the order of `sort`, oldest first.
  public var snapshots: [Snapshot] = []
  /// Snapshots whose catalog or directory cannot be used.
  public var unusable: [UnusableSnapshot] = []
  /// The next sequence number. It exceeds the number of every snapshot and the number of catalogs.
  public var nextSequence: UInt64 = 1

  public var newest: Snapshot? { snapshots.last }
  public var damaged: [UnusableSnapshot] { unusable.filter(\.isDamage) }

  public init() {}
}

extension Repository {
  /// Finds all snapshots by reading the catalogs' trailers; no tree is walked.
  public func snapshots() throws(Failure) -> SnapshotList {
    var list = SnapshotList()
    let catalogs = try self.catalogs
    let names: [[UInt8]]
    do { names = try catalogs.names() } catch {
      throw Failure(.failed, "cannot list the catalogs of \(displayName(path)): \(error)", path: path)
    }
    for name in names.compactMap({ SnapshotName($0, suffix: SnapshotName.catalogSuffix) }) {
      list.nextSequence += 1
      if let problem = problem(
        of: name,
        examination: { () throws in
          // A catalog without a tree is no snapshot. If a publication is in progress, the tree may still follow.
          guard try hasTree(of: name) else {
            let isLost = try !isArriving(name) && !hasTree(of: name) && hasCatalog(of: name)
            return isLost ? "its directory is missing" : nil
          }
          do { list.snapshots.append(Snapshot(name: name, summary: try openCatalog(of: name).summary)) } catch {
            // The snapshot may have expired after the catalogs were listed.
            if try !hasExpired(name) { throw error }
          }
          return nil
        })
      {
        list.unusable.append(problem)
      }
    }
    try addTreesWithoutCatalog(to: &list)
    list.sort()
    if let last = list.lastArrival { list.nextSequence = max(list.nextSequence, last.summary.sequence &+ 1) }
    return list
  }

  /// Adds dated directories without a catalog as unusable. They cannot be verified, linked from or restored exactly.
  private func addTreesWithoutCatalog(to list: inout SnapshotList) throws(Failure) {
    let known = Set(list.snapshots.map(\.name) + list.unusable.map(\.name))
    let names: [[UInt8]]
    do { names = try Directory(try root.descriptor.reopenDirectory()).names() } catch {
      throw Failure(.failed, "cannot list the repository \(displayName(path)): \(error)", path: path)
    }
    for name in names.compactMap({ SnapshotName($0) }) where !known.contains(name) {
      if let problem = problem(
        of: name, examination: { try !hasCatalog(of: name) && !hasExpired(name) ? "its catalog is missing" : nil })
      {
        list.unusable.append(problem)
      }
    }
  }

  /// Runs an examination of a snapshot. Returns the damage that it found, or the error that prevented it.
  private func problem(of name: SnapshotName, examination: () throws -> String?) -> UnusableSnapshot? {
    do {
      return try examination().map { UnusableSnapshot(name: name, reason: $0, isDamage: true) }
    } catch let error as Errno {
      return UnusableSnapshot(
        name: name, reason: "it cannot be looked at: \(error)", isDamage: !error.leavesDataUnknown)
    } catch {
      let isDamage = (error as? Failure).map { $0.kind == .damaged } ?? true
      return UnusableSnapshot(name: name, reason: "\(error)", isDamage: isDamage)
    }
  }

  // Only `ENOENT` counts as absence; any other error is thrown.

  func hasCatalog(of name: SnapshotName) throws -> Bool {
    try self.catalogs.descriptor.statusIfPresent(of: name.catalogName.span) != nil
  }

  func hasTree(of name: SnapshotName) throws(Errno) -> Bool {
    try root.descriptor.statusIfPresent(of: name.bytes.span)?.kind == .directory
  }

  /// True if `pending` has a tree of this name, from a publication in progress or an interrupted one.
  private func isArriving(_ name: SnapshotName) throws -> Bool {
    try self.pending.descriptor.statusIfPresent(of: name.bytes.span) != nil
  }

  /// True if a listed snapshot has expired since.
  public func hasExpired(_ name: SnapshotName) throws -> Bool {
    // The checks follow the order of the expiry's renames, so a snapshot in mid-expiry is not missed.
    if try hasCatalog(of: name) { return false }
    return try retirement.isExpiring(name) || !hasTree(of: name)
  }

  /// Opens a snapshot's catalog, and checks its header and trailer.
  public func openCatalog(of name: SnapshotName) throws(Failure) -> OpenCatalog {
    let shown = "\(displayName(path))/.treering/catalogs/\(name).catalog"
    let catalogs = try self.catalogs
    do {
      return try OpenCatalog(reading: CatalogFile(file: try catalogs.descriptor.openToRead(name.catalogName.span)))
    } catch let error as CatalogError {
      throw Failure(.damaged, "\(shown): \(error)")
    } catch {
      let isUnknown = (error as? Errno)?.leavesDataUnknown ?? false
      throw Failure(isUnknown ? .failed : .damaged, "cannot read \(shown): \(error)")
    }
  }

  /// The status of a snapshot's catalog file.
  public func catalogStatus(of name: SnapshotName) throws -> FileStatus {
    try catalogs.descriptor.status(of: name.catalogName.span)
  }

  /// Opens a snapshot's tree.
  public func openTree(of name: SnapshotName) throws(Failure) -> Directory {
    do {
      if let shown = shownTree.withLock({ $0 }), shown.name == name { return try shown.directory.reopened() }
      return try root.directory(name.bytes.span)
    } catch {
      throw Failure(
        error.leavesDataUnknown ? .failed : .damaged, "cannot open the snapshot \(displayName(path))/\(name): \(error)")
    }
  }
}

extension SnapshotStore {
  /// The members of a set from a reference such as `hourly.0` on. 0 is the newest member.
  ///
  /// `nil` if the reference has another form.
  private func members(from reference: String, of list: SnapshotList) throws(Failure) -> [Snapshot]? {
    let parts = reference.split(separator: ".", omittingEmptySubsequences: false)
    guard parts.count == 2, let set = SnapshotSet(rawValue: String(parts[0])),
      let rank = Int(parts[1]), rank >= 0
    else { return nil }
    let members = try members(of: list)[set] ?? []
    guard rank < members.count else {
      throw Failure(
        .usage,
        "the set \(set.rawValue) of \(displayName(path)) has \(members.count) \(members.count == 1 ? "member" : "members"), so there is no \(reference)",
        path: path,
        hint: "0 is the newest; see: \(advice("list"))")
    }
    return members[rank...].compactMap { name in list.snapshots.first { $0.name == name } }
  }

  /// The snapshots that a reference may mean, newest first, at least one.
  ///
  /// A reference is `latest`, a full name, a prefix of a name or of a local date, a set member such as `daily.0`, or a
  /// time of `Moment`. A set member also means the older members, and a time all snapshots until then. Without a path, the first candidate is meant. With a path, the first candidate that has
  /// the path is meant. A newer unusable candidate is an error; it is never skipped silently.
  public func candidates(
    for reference: String, in list: SnapshotList, allowsTimes: Bool = true
  ) throws(Failure) -> [Snapshot] {
    let shown = displayName(Array(reference.utf8))
    func checked(_ snapshots: [Snapshot], isMeant: (SnapshotName) -> Bool) throws(Failure) -> [Snapshot] {
      let newer = list.unusable.filter {
        isMeant($0.name) && $0.name.description > snapshots.first?.name.description ?? ""
      }.max { $0.name.description < $1.name.description }
      if let newer {
        throw Failure(
          newer.isDamage ? .damaged : .failed, "the snapshot \(newer.name) cannot be used: \(newer.reason)",
          hint: "name another; see: \(advice("list"))")
      }
      return snapshots
    }
    if reference == "latest" {
      let all = try checked(list.snapshots.reversed(), isMeant: { _ in true })
      if !all.isEmpty { return all }
      throw Failure(
        .usage, "the repository \(displayName(path)) has no snapshot yet", path: path,
        hint: "take one with: \(advice("snapshot SOURCE"))")
    }
    if let snapshot = list.snapshots.last(where: { $0.name.description == reference }) { return [snapshot] }
    if let members = try members(from: shown, of: list), !members.isEmpty { return members }
    let time = !allowsTimes || Moment.isDay(reference) ? nil : Moment.seconds(of: reference, atEnd: true)
    let isMeant = { (name: SnapshotName) in
      if let time { return name.seconds <= time }
      // A day is one in the zone of the process, as in the answers; a name in full is UTC.
      if reference.contains("T") { return name.description.hasPrefix(reference) }
      return [4, 7, 10].contains(reference.utf8.count) && Moment.localDay(of: name.seconds).hasPrefix(reference)
    }
    let found = try checked(list.snapshots.reversed().filter { isMeant($0.name) }, isMeant: isMeant)
    if !found.isEmpty { return found }
    if !allowsTimes { throw refusal(ofTime: reference, in: list) }
    let before =
      Moment.isDay(reference) ? list.snapshots.last { Moment.localDay(of: $0.name.seconds) < reference } : nil
    throw Failure(
      .usage, "there is no snapshot \(time == nil ? "" : "of the time ")\"\(shown)\" in \(displayName(path))",
      path: path,
      hint: time == nil ? noneHint(for: shown, before: before) : list.snapshots.first.map { "the oldest is \($0.name)" }
    )
  }

  private func noneHint(for reference: String, before: Snapshot?) -> String {
    likelyWord(for: reference).map { "did you mean \"\($0)\"?" }
      ?? (before.map { "the last one before is \($0.name); " } ?? "")
      + "see: \(advice("list")); a time is such as 2026-11-21, '2026-11-21 20:00', yesterday or 3d"
  }

  /// The word that a mistyped reference probably means.
  private func likelyWord(for reference: String) -> String? {
    ["latest", "yesterday", "today"].first { distance(from: reference, to: $0) <= 2 }
  }

  /// The error for a reference that is no name, if only names are allowed.
  private func refusal(ofTime reference: String, in list: SnapshotList) -> Failure {
    let shown = displayName(Array(reference.utf8))
    guard !Moment.isDay(reference), let time = Moment.seconds(of: reference, atEnd: true) else {
      return Failure(
        .usage, "there is no snapshot \"\(shown)\" in \(displayName(path))", path: path,
        hint: likelyWord(for: shown).map { "did you mean \"\($0)\"?" }
          ?? "see: \(advice("list")); give a name, its beginning, or a member of a set such as daily.0")
    }
    let meant = list.snapshots.last { $0.name.seconds <= time }
    return Failure(
      .usage, "\"\(shown)\" is a time, which means another snapshot later; here only a name will do",
      hint: meant.map { "now it means \($0.name)" } ?? "see: \(advice("list"))")
  }

  /// Finds the snapshot that a reference means without a path. Verbs that change snapshots allow no times: "3d" means
  /// an older snapshot after each deletion.
  public func resolve(
    _ reference: String, in list: SnapshotList, allowsTimes: Bool = true
  ) throws(Failure) -> Snapshot { try candidates(for: reference, in: list, allowsTimes: allowsTimes)[0] }

  /// A command line for this repository, for use in messages.
  public func advice(_ command: String) -> String { commandLine(command, repository: path) }
}

/// A command line for a repository, for use in messages.
public func commandLine(_ command: String, repository path: [UInt8]) -> String {
  "treering \(command) --repository \(displayName(path))"
}
