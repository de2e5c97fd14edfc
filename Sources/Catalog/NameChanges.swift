public import Model

/// The names of stored non-directories that one of two successive catalogs has and the other has not.
///
/// A name that has another inode is both lost and gained.
public struct NameChanges: Sendable {
  /// The changed names of one inode, and one of them.
  public struct Names: Sendable {
    public var count: Int64
    public let place: StoredPlace
  }
  /// By the inode number in the catalog.
  public private(set) var lost: [UInt64: Names] = [:]
  public private(set) var gained: [UInt64: Names] = [:]
  /// Changed names whose inode the catalog does not know.
  public private(set) var unknown: UInt64 = 0
  /// True if the names of unchanged rows may have other inodes.
  public private(set) var mayHideOthers = false

  /// For tests.
  init(lost: [UInt64: Names] = [:], gained: [UInt64: Names] = [:]) { (self.lost, self.gained) = (lost, gained) }

  /// Compares two catalogs. A missing one has no names.
  ///
  /// Only differences are read, unless the sums of the trailers show that unchanged rows have other inodes.
  public init(from older: CatalogReader?, to newer: CatalogReader?, onDifference: () -> Void = {}) throws {
    try read(from: older, to: newer, comparingInodes: false, onDifference: onDifference)
    let sums = (older?.summary.root.stored, newer?.summary.root.stored)
    guard let older, let newer, older.summary.hasInodes(of: newer.summary), let before = sums.0, let after = sums.1
    else {
      mayHideOthers = older != nil && newer != nil
      return
    }
    guard before.names &+ sum != after.names else { return }
    self = NameChanges()
    try read(from: older, to: newer, comparingInodes: true, onDifference: onDifference)
    // The sums may be wrong in a catalog of another program.
    mayHideOthers = before.names &+ sum != after.names
  }

  /// The change of the sum of `StoredSums.mixed` over all names.
  private var sum: UInt64 = 0

  private mutating func read(
    from older: CatalogReader?, to newer: CatalogReader?, comparingInodes: Bool, onDifference: () -> Void
  ) throws {
    try forEachDifference(from: older, to: newer, comparingInodes: comparingInodes) { entries, place in
      onDifference()
      let (left, right) = entries.sides
      if case .file(let row, _)? = left {
        sum &-= StoredSums.mixed(row.hints.storedInode)
        note(row, at: place, in: \.lost)
      }
      if case .file(let row, _)? = right {
        sum &+= StoredSums.mixed(row.hints.storedInode)
        note(row, at: place, in: \.gained)
      }
    }
  }

  private mutating func note(
    _ row: FileRow, at place: EntryPlace, in side: WritableKeyPath<NameChanges, [UInt64: Names]>
  ) {
    if row.hints.flags.contains(.notStored) { return }
    let inode = row.hints.storedInode
    guard inode != 0 else {
      unknown += 1
      return
    }
    self[keyPath: side][inode, default: Names(count: 0, place: StoredPlace(of: row, at: place))].count += 1
  }
}

/// A name of a stored inode, and the facts that its row has.
public struct StoredPlace: Sendable, Hashable {
  /// The path from the snapshot's root.
  public let directory: TreePath
  public let name: [UInt8]
  public let kind: EntryKind
  /// The size of a regular file in bytes; otherwise 0.
  public let byteCount: UInt64

  public var path: TreePath { directory + name }

  init(of row: FileRow, at place: EntryPlace) {
    directory = place.directory
    name = Array(place.name)
    kind = row.kind
    byteCount = row.kind == .regular ? row.size : 0
  }

  /// For tests.
  init(_ name: String, byteCount: UInt64 = 0) {
    directory = []
    self.name = Array(name.utf8)
    kind = .regular
    self.byteCount = byteCount
  }
}

extension CatalogSummary {
  /// True if the stored inode numbers of two catalogs are of one file system of one repository.
  public func hasInodes(of other: CatalogSummary) -> Bool {
    repositoryID == other.repositoryID && fileSystemID == other.fileSystemID
  }
}

/// A run of successive snapshots, seen from its ends and its inside.
public struct SnapshotRun: Sendable {
  /// The changes into the first snapshot, from each to the next, and out of the last: one more than snapshots.
  ///
  /// The first is `nil` if no snapshot comes before the run, and the last if none comes after it.
  public var changes: [NameChanges?]

  public init(changes: [NameChanges?]) { self.changes = changes }

  /// An inode that the run may hold alone.
  public struct Inode: Sendable, Equatable {
    /// The number in the catalogs.
    public let number: UInt64
    /// The index of a snapshot of the run that has the place.
    public let snapshot: Int
    public let place: StoredPlace
    /// The numbers of names, and the indices of the snapshots that have so many each. In ascending order.
    public let holders: [(snapshots: ClosedRange<Int>, names: Int64)]

    /// The number of names in all snapshots of the run.
    public var names: Int64 {
      holders.reduce(0) { $0.addingSaturated($1.names.multipliedSaturated(by: Int64($1.snapshots.count))) }
    }

    public static func == (a: Inode, b: Inode) -> Bool {
      (a.number, a.snapshot, a.place) == (b.number, b.snapshot, b.place)
        && a.holders.elementsEqual(b.holders) { $0.snapshots == $1.snapshots && $0.names == $1.names }
    }
  }

  /// The inodes that may have no name outside the run, by the catalogs, in ascending order of numbers.
  ///
  /// The inode of an unchanged row is the same on both sides, so an inode without a change at an end stays. Another
  /// snapshot outside the run may still have the inode at another path. Only its link count proves the contrary.
  public func inodesHeldAlone() -> [Inode] {
    precondition(changes.count >= 2 && (changes.first! != nil || changes.last! != nil))
    var events: [UInt64: [Event]] = [:]
    for (number, change) in changes.enumerated() {
      for (inode, names) in change?.lost ?? [:] {
        events[inode, default: []].append(Event(number: number, lost: names))
      }
      for (inode, names) in change?.gained ?? [:] {
        if let last = events[inode]?.last, last.number == number {
          events[inode]![events[inode]!.count - 1].gained = names
        } else {
          events[inode, default: []].append(Event(number: number, gained: names))
        }
      }
    }
    return events.compactMap { inode(number: $0.key, events: $0.value) }.sorted { $0.number < $1.number }
  }

  private struct Event {
    let number: Int
    var lost, gained: NameChanges.Names?

    init(number: Int, lost: NameChanges.Names? = nil, gained: NameChanges.Names? = nil) {
      (self.number, self.lost, self.gained) = (number, lost, gained)
    }

    var delta: Int64 { (gained?.count ?? 0) - (lost?.count ?? 0) }
  }

  /// Follows the number of names through the run; `nil` if the inode surely has a name outside it.
  private func inode(number: UInt64, events: [Event]) -> Inode? {
    let last = changes.count - 2
    let total = events.reduce(0) { $0 + $1.delta }
    // Without a predecessor, the number of names at the beginning follows from none at the end.
    var names = changes.first! == nil ? -total : 0
    if changes.first! != nil, changes.last! != nil, total != 0 { return nil }
    var holders: [(snapshots: ClosedRange<Int>, names: Int64)] = []
    var next = 0
    for event in events + [Event(number: last + 1)] {
      guard names >= 0 else { return nil }
      if names > 0, next <= min(event.number - 1, last) { holders.append((next...min(event.number - 1, last), names)) }
      next = max(next, event.number)
      names += event.delta
    }
    guard !holders.isEmpty else { return nil }
    for event in events {
      if event.number <= last, let gained = event.gained {
        return Inode(number: number, snapshot: event.number, place: gained.place, holders: holders)
      }
      if event.number > 0, let lost = event.lost {
        return Inode(number: number, snapshot: event.number - 1, place: lost.place, holders: holders)
      }
    }
    return nil
  }
}

extension Int64 {
  fileprivate func addingSaturated(_ other: Int64) -> Int64 {
    let (sum, overflow) = addingReportingOverflow(other)
    return overflow ? .max : sum
  }

  fileprivate func multipliedSaturated(by other: Int64) -> Int64 {
    let (product, overflow) = multipliedReportingOverflow(by: other)
    return overflow ? .max : product
  }
}
