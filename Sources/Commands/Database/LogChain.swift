internal import Catalog
internal import Databases
internal import Engine
internal import Model
internal import Posix
internal import Repository

/// The binary logs after a dump that are at hand: in the archive of the database, and in later snapshots.
struct LogChain {
  let place: BinaryLogPlace
  private let logs: [BinaryLogName]
  /// The first log that lacks, although later ones are there.
  let lacking: BinaryLogName?
  private let archive: (any LogSource)?
  private let archived: Set<[UInt8]>
  private let stored: [[UInt8]: (snapshot: Snapshot, place: TreePath, row: FileRow)]
  private let store: any SnapshotStore
  private let name: [UInt8]

  var isEmpty: Bool { logs.isEmpty }

  /// `nil` if the dump does not tell its place in the logs.
  init?(after dump: StoredDump, archive: (any LogSource)?, in list: SnapshotList, of store: any SnapshotStore) throws {
    guard let place = BinaryLogPlace(point: dump.record.point) else { return nil }
    (self.place, self.archive, self.store, name) = (place, archive, store, dump.record.name)
    archived = Set(try archive?.names() ?? [])
    var stored: [[UInt8]: (snapshot: Snapshot, place: TreePath, row: FileRow)] = [:]
    for (snapshot, record) in list.dumpRecords(of: dump.record.name) where record.ended > dump.record.ended {
      let directory = dump.place + [Array(Dumper.logDirectory.utf8)]
      let reader = CatalogReader(reading: try store.openCatalog(of: snapshot.name))
      guard case .directory(let found, _)? = try reader.find(directory) else { continue }
      var cursor = try FileCursor(of: found)
      while let row = cursor.current {
        let name = Array(found.bytes[row.name])
        if row.kind == .regular { stored[name] = (snapshot, directory + name, row) }
        try cursor.advance()
      }
    }
    self.stored = stored
    (logs, lacking) = place.chain(in: Set(archived.union(stored.keys)).compactMap { BinaryLogName($0) })
  }

  /// Copies the logs that begin before the second `end` to a directory. `reached` is the last second that they have, if
  /// it is earlier.
  func fetch(into directory: PrivateDirectory, until end: Int64) throws -> (names: [BinaryLogName], reached: Int64?) {
    var names: [BinaryLogName] = []
    var last: Int64 = 0
    for log in logs {
      try checkForSignal()
      try fetch(log, into: directory)
      let file = try directory.directory.descriptor.openToRead(log.text.span)
      guard let found = try BinaryLog(reading: file)
      else { throw Failure(.damaged, "the binary log \(displayName(log.text)) is not whole") }
      if found.began >= end, !names.isEmpty { return (names, nil) }
      names.append(log)
      last = found.ended
    }
    return (names, last < end ? last : nil)
  }

  private func fetch(_ log: BinaryLogName, into directory: PrivateDirectory) throws {
    if archived.contains(log.text), try archive?.fetch(log.text, to: directory.path + [slash] + log.text) == true {
      return
    }
    guard let found = stored[log.text]
    else { throw Failure(.failed, "the binary log \(displayName(log.text)) is not there any more") }
    let file = try directory.directory.descriptor.open(log.text.span, [.readWrite, .create, .exclusive], mode: 0o600)
    let content = FileContent(from: store.contents(of: found.snapshot.name))
    let damage = try content.read(found.row, at: found.place) { try file.write($0) }
    guard let damage else { return }
    throw Failure(
      .damaged, "the binary log \(displayName(log.text)) is damaged in \(found.snapshot.name): \(damage)",
      hint: "repair it: treering verify --repair-from REMOTE")
  }

  /// The refusal if no log can be carried out. `log` is the first that lacks, although later ones are there.
  static func refusal(of end: Int64, after dump: StoredDump, missing log: BinaryLogName?) -> Failure {
    let reason = log.map {
      "the binary log \(displayName($0.text)) is missing, and later ones are of no use without it"
    }
    return Failure(
      .refused,
      "the state of \(Timestamp(seconds: end, nanoseconds: 0).localTextWithSeconds) cannot be restored: "
        + (reason ?? "there is no binary log after the dump"),
      hint: "the newest state before it is that of the dump, \(dump.record.ended.localTextWithSeconds): give --in "
        + "\(dump.snapshot.name) in place of --at")
  }

  /// True if the server was asked after the second `end`, and nothing was written to its logs since the dump.
  static func isUnchanged(_ dump: StoredDump, until end: Int64, archive: (any LogSource)?) throws -> Bool {
    guard let place = BinaryLogPlace(point: dump.record.point), let archive = archive as? LogArchive,
      let newest = try archive.names().compactMap({ BinaryLogName($0) }).filter({ $0.base == place.log.base }).max(),
      newest.number + 1 == place.log.number, let asked = try archive.storedTime(of: newest.text)
    else { return false }
    return asked.seconds >= end
  }

  /// The reason that the logs end earlier than asked.
  func shortage(reached: Int64) -> String {
    let time = Timestamp(seconds: reached, nanoseconds: 0).localTextWithSeconds
    return "the binary logs reach only \(time)"
      + (lacking.map { ", because \(displayName($0.text)) is missing" }
        ?? "; a later one may be on the server: treering database archive \(displayName(name))")
  }
}
