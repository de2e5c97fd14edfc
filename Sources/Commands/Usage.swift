internal import ArgumentParser
internal import Catalog
internal import Engine
internal import Model
internal import Posix
internal import Repository
internal import Settings

struct UsageCommand: RunnableCommand {
  static let configuration = CommandConfiguration(
    commandName: "usage", abstract: "Show the space that each snapshot alone holds, and what grows.",
    discussion: """
      ALONE is the space that comes free if only this snapshot is deleted. With several SNAPSHOTs it also shows what \
      deleting them together frees. Then it shows the largest directories of the newest snapshots, those that grew the \
      most since the oldest ones, and the day when the disk is full at that growth.

      With --free it shows which snapshots to delete so that so much comes free: those that rotation would give up \
      first, and none that is held or that a source needs.

      A SNAPSHOT is a name or its beginning, a local day or time such as 2026-11-21, '2026-11-21 20:00', yesterday or \
      3d, a member of a set such as daily.0, or latest.

      Examples:
        treering usage --days 30 --repository /backup/treering
        treering usage --free 10G --repository /backup/treering
      """)

  @Argument(
    help: ArgumentHelp("The snapshots to look at; all, if left out.", valueName: "snapshot"), completion: .snapshot)
  var snapshots: [String] = []

  @Option(help: ArgumentHelp("Measure the growth of the last N days only.", valueName: "n"))
  var days: Int?

  @Option(
    help: ArgumentHelp("Show which snapshots to delete so that so much comes free, such as 10G.", valueName: "size"),
    transform: parsed(by: Quantity.bytes, or: "--free takes a size such as 10G"))
  var free: UInt64?

  @OptionGroup var threads: ThreadOption
  @OptionGroup var connection: RemoteConnectionOptions
  @OptionGroup var common: CommonOptions

  func validate() throws {
    if free != nil, days != nil || !snapshots.isEmpty { throw ValidationError("--free stands alone") }
    if let days, !(1...36_500).contains(days) { throw ValidationError("--days takes a number from 1 on") }
  }

  func execute() throws -> ExitStatus {
    CurrentProcess.rememberSignals()
    if let free { return try showFreeing(byteCount: free) }
    let (store, list) = try common.openList(connection: connection)
    let named = Set(try snapshots.map { try store.resolve($0, in: list).name })
    let held = try store.heldSpace(of: named, in: list, threads: threads.count, progress: Progress())
    var usage = Usage(held: held, snapshots: list.snapshots)
    var growth = GrowthSearch(in: store, days: days, count: common.verbose ? 50 : 10)
    let sources = try? store.local.flatMap { try common.configuration(of: $0) }?.sourceSet
    try growth.run(on: list, from: try sources.flatMap { try store.newest(of: $0, among: list) })
    usage.largest = growth.largest
    usage.growing = growth.growing
    usage.growthPerDay = growth.bytesPerDay
    common.answer(usage, lines: usage.lines)
    if !common.json, !common.quiet, let doubt = held.doubts.sentence { Console.complain("note: \(doubt)") }
    let unusable = list.unusable + held.unreadable + growth.unreadable
    var said: Set<SnapshotName> = []
    for snapshot in unusable where said.insert(snapshot.name).inserted {
      Console.complain("\(snapshot.sentence); it is left out")
    }
    return unusableStatus(for: unusable)
  }
}

struct Usage {
  struct Row {
    let snapshot: Snapshot
    let aloneBytes: UInt64
  }
  let held: HeldSpace
  let rows: [Row]
  var largest: [GrowthSearch.Directory] = []
  var growing: [GrowthSearch.Directory] = []
  /// The growth of all sources in bytes a day; negative if they shrink; `nil` if it is not known.
  var growthPerDay: Double?

  init(held: HeldSpace, snapshots: [Snapshot]) {
    self.held = held
    let alone = Dictionary(held.rows.map { ($0.name, $0.aloneBytes) }) { first, _ in first }
    rows = snapshots.compactMap { snapshot in alone[snapshot.name].map { Row(snapshot: snapshot, aloneBytes: $0) } }
  }

  /// The time at which the disk is full at the present growth; `nil` if it is not known, or more than a century away.
  var fullAt: Timestamp? {
    guard let growthPerDay, growthPerDay > 0, let bytesFree = held.bytesFree else { return nil }
    let days = Double(bytesFree) / growthPerDay
    return days > 36_500 ? nil : Timestamp(seconds: Clock.now().seconds + Int64(days * 86_400), nanoseconds: 0)
  }
}

// MARK: For people

extension Usage {
  var lines: [String] {
    var cells = [["SNAPSHOT", "TAKEN", "SIZE", "ALONE"]]
    cells += rows.map {
      [
        $0.snapshot.name.description, $0.snapshot.summary.started.localText,
        byteText($0.snapshot.summary.root.totals.bytes), byteText($0.aloneBytes),
      ]
    }
    var lines = table(cells, rightAligned: [2, 3])
    if let bytes = held.togetherBytes { lines.append("deleted together they free \(held.doubts.amountText(bytes))") }
    if let spare = held.spare {
      lines.append(
        "\(spare.snapshot.name) has expired and is kept to be recycled by the next snapshot; it holds "
          + byteText(spare.aloneBytes))
    }
    if !largest.isEmpty {
      lines += ["", "LARGEST DIRECTORIES"]
      lines += table(largest.map { [byteText($0.size.bytes), $0.text] }, rightAligned: [0])
    }
    if !growing.isEmpty {
      lines += ["", "FASTEST GROWING"]
      lines += table(
        growing.map { ["+" + byteText($0.size.growth), byteText($0.growthPerDay) + " a day", $0.text] },
        rightAligned: [0, 1])
    }
    return lines + ["", growthSentence]
  }

  private var growthSentence: String {
    let free = held.bytesFree.map { "\(byteText($0)) free" } ?? "the free space is not known here"
    guard let growthPerDay else { return "the growth is not known yet; \(free)" }
    guard growthPerDay >= 1 else { return "the files do not grow; \(free)" }
    let growth = "the files grow by \(byteText(UInt64(growthPerDay))) a day; \(free)"
    guard held.bytesFree != nil else { return growth }
    guard let fullAt else { return growth + ": enough for more than a century" }
    return growth + ": full on \(fullAt.localText.prefix(10))"
  }
}

// MARK: JSON

extension Usage: Encodable {
  private struct Item: Encodable {
    let snapshot, time: String
    let bytes, aloneBytes: UInt64

    init(_ snapshot: Snapshot, aloneBytes: UInt64) {
      self.snapshot = snapshot.name.description
      time = snapshot.summary.started.rfc3339
      bytes = snapshot.summary.root.totals.bytes
      self.aloneBytes = aloneBytes
    }
  }

  func encode(to encoder: any Encoder) throws {
    try encoder.encode([
      "snapshots": rows.map { Item($0.snapshot, aloneBytes: $0.aloneBytes) },
      "spare": held.spare.map { Item($0.snapshot, aloneBytes: $0.aloneBytes) }, "togetherBytes": held.togetherBytes,
      "doubts": held.doubts.keys, "largest": largest, "growing": growing,
      "growthBytesPerDay": growthPerDay.map { Int64($0) }, "bytesFree": held.bytesFree, "fullOn": fullAt?.rfc3339,
    ])
  }
}

// MARK: Growth

/// Finds the largest and the fastest growing directories of all sources, by the catalogs alone.
struct GrowthSearch {
  /// A directory of a source's newest snapshot.
  struct Directory {
    let size: DirectorySize
    let newest: Snapshot
    /// The snapshot that it is compared with.
    let oldest: Snapshot?

    var text: String { displayName(path) + "/" }
    var path: [UInt8] { size.path.atSource(label: newest.summary.label) }

    /// Bytes a day.
    var growthPerDay: UInt64 { oldest.map { UInt64(clamped(Double(size.growth) / $0.days(to: newest))) } ?? 0 }
  }

  private let store: any SnapshotStore
  private let days: Int?
  private let count: Int
  private(set) var largest: [Directory] = []
  private(set) var growing: [Directory] = []
  private(set) var bytesPerDay: Double?
  private(set) var unreadable: [UnusableSnapshot] = []
  /// The open catalogs. Most sources have the same newest and oldest snapshot.
  private var readers: [SnapshotName: CatalogReader] = [:]

  init(in store: any SnapshotStore, days: Int?, count: Int) {
    (self.store, self.days, self.count) = (store, days, count)
  }

  /// `configured` is the newest snapshot of the configuration's sources; one of a directory inside them says less.
  mutating func run(on list: SnapshotList, from configured: Snapshot?) throws {
    var seen: [TreePath] = []
    for newest in [configured].compactMap({ $0 }) + list.snapshots.reversed() {
      let places = newest.summary.placesOfSources
      // A source that a newer snapshot has is not shown twice.
      let tops = (places.isEmpty ? [[]] : places).filter { place in
        !seen.contains { place.starts(with: $0) || $0.starts(with: place) }
      }
      seen += tops
      for top in tops {
        // A snapshot of some of the sources is no beginning and no end of the others.
        let others = list.snapshots.filter { places.isEmpty ? $0.places == newest.places : $0.summary.covers(top) }
        do { try search(others, from: newest, below: top) } catch let error as CatalogError {
          unreadable.append(UnusableSnapshot(name: newest.name, reason: "\(error)", isDamage: true))
        } catch let failure as Failure where failure.kind == .damaged {
          unreadable.append(UnusableSnapshot(name: newest.name, reason: failure.message, isDamage: true))
        }
      }
    }
    largest.sort { $0.size.bytes > $1.size.bytes }
    growing.sort { $0.growthPerDay > $1.growthPerDay }
    largest = Array(largest.prefix(count))
    growing = Array(growing.prefix(count))
  }

  private mutating func reader(of snapshot: Snapshot) throws -> CatalogReader {
    if let known = readers[snapshot.name] { return known }
    let reader = CatalogReader(reading: try store.openCatalog(of: snapshot.name))
    readers[snapshot.name] = reader
    return reader
  }

  /// `group` is the snapshots that have the source, in order of time.
  private mutating func search(_ group: [Snapshot], from newest: Snapshot, below top: TreePath) throws {
    let reader = try reader(of: newest)
    largest += try largestDirectories(in: reader, below: [top], count: count).map {
      Directory(size: $0, newest: newest, oldest: nil)
    }
    let first = days.map { newest.summary.started.seconds - Int64($0) * 86_400 } ?? .min
    // In a shorter time, a single file would look like a flood.
    guard let oldest = group.first(where: { $0.summary.started.seconds >= first }),
      oldest.days(to: newest) >= 1 / 24.0
    else { return }
    let older = try self.reader(of: oldest)
    growing += try largestDirectories(in: reader, since: older, below: [top], count: count).map {
      Directory(size: $0, newest: newest, oldest: oldest)
    }
    guard case .directory(_, let now)? = try reader.find(top) else { return }
    var before: UInt64 = 0
    if case .directory(_, let subtree)? = try older.find(top) { before = subtree.totals.bytes }
    let growth = Double(now.totals.bytes) - Double(before)
    bytesPerDay = clamped((bytesPerDay ?? 0) + growth / oldest.days(to: newest))
  }
}

/// A number that an integer can hold. A hostile catalog may claim any size.
private func clamped(_ bytes: Double) -> Double { min(max(bytes, -1e18), 1e18) }

extension Snapshot {
  fileprivate func days(to newer: Snapshot) -> Double { (newer.summary.started - summary.started) / 86_400 }
}

extension GrowthSearch.Directory: Encodable {
  func encode(to encoder: any Encoder) throws {
    try JSONPath(bytes: path).encode(to: encoder)
    try encoder.encode(["bytes": size.bytes, "snapshot": newest.name.description])
    guard let oldest else { return }
    try encoder.encode([
      "since": oldest.name.description, "growthBytes": size.growth, "growthBytesPerDay": growthPerDay,
    ])
  }
}
