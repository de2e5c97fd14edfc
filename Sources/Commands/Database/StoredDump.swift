internal import Catalog
internal import Databases
internal import Model
internal import Repository
internal import Settings

struct StoredDump {
  let snapshot: Snapshot
  let record: DatabaseRecord
  let byteCount: UInt64

  /// The path from the snapshot's root.
  var place: TreePath { [DatabaseRecord.label, record.name] }

  let entries: [Entry]

  struct Entry {
    var name: [UInt8]
    var isDirectory: Bool
    /// The database whose directory it is.
    var object: [UInt8] { objectName(ofFile: name) }
    /// True for the directory of the binary logs since the dump before.
    var hasLogs: Bool { isDirectory && name.elementsEqual(Dumper.logDirectory.utf8) }
  }

  /// Looks the dump up in the snapshot's catalog; `nil` if it is not there.
  init?(_ record: DatabaseRecord, in snapshot: Snapshot, of store: any SnapshotStore) throws {
    guard !record.isLeftOut else { return nil }
    let reader = CatalogReader(reading: try store.openCatalog(of: snapshot.name))
    do {
      guard case .directory(let directory, let subtree)? = try reader.find([DatabaseRecord.label, record.name])
      else { return nil }
      (self.snapshot, self.record, byteCount) = (snapshot, record, subtree.totals.bytes)
      var entries: [Entry] = []
      var cursor = try FileCursor(of: directory)
      while let row = cursor.current {
        entries.append(Entry(name: Array(directory.bytes[row.name]), isDirectory: false))
        try cursor.advance()
      }
      for row in try cursor.directories() {
        entries.append(Entry(name: Array(directory.bytes[row.name]), isDirectory: true))
      }
      self.entries = entries
    } catch let error as CatalogError {
      throw Failure(.damaged, "the catalog of \(snapshot.name) is damaged: \(error)")
    }
  }

  /// True for a copy of a PostgreSQL server's data directory.
  var isBaseBackup: Bool { record.kind.elementsEqual("postgresql-physical".utf8) }

  /// The databases in the dump of a server, or the files of another dump. Those of a base backup say nothing.
  var contents: [[UInt8]] {
    if isBaseBackup { return [] }
    let databases = entries.filter { $0.isDirectory && !$0.hasLogs }.map(\.object)
    return databases.isEmpty ? entries.map(\.name) : databases
  }

  /// The contents without the databases that every server has already, unless there is only one.
  var loadable: [[UInt8]] {
    let all = contents
    let serversOwn = ServersOwn.postgreSQL + [ServersOwn.mysql]
    return all.count == 1 ? all : all.filter { !serversOwn.contains($0) }
  }

  /// The kind of the database; `nil` if this version does not know it. A copy of files has `-physical` at the end.
  var kind: DatabaseConfiguration.Kind? {
    DatabaseConfiguration.Kind(
      rawValue: String(decoding: record.kind.prefix { $0 != UInt8(ascii: "-") }, as: UTF8.self))
  }

  /// True if the dump is a copy of the server's files.
  var isPhysical: Bool {
    let marks = ["backup_manifest", "xtrabackup_checkpoints"].map { Array($0.utf8) }
    return entries.contains { marks.contains($0.name) }
  }

  /// True if a server starts on the files of the dump as they are.
  var hasServerFiles: Bool { isPhysical || isBaseBackup }
}

extension SnapshotList {
  /// The records of all good dumps, the newest snapshot first; of one database if `name` is given.
  func dumpRecords(of name: [UInt8]?) -> [(snapshot: Snapshot, record: DatabaseRecord)] {
    snapshots.reversed().flatMap { snapshot in
      snapshot.summary.databases.filter { !$0.isLeftOut && (name == nil || $0.name == name) }.map { (snapshot, $0) }
    }
  }

  /// The newest good dump of a database; `nil` if there is none.
  func newestDump(of name: [UInt8], in store: any SnapshotStore) throws -> StoredDump? {
    guard let (snapshot, record) = dumpRecords(of: name).first else { return nil }
    return try StoredDump(record, in: snapshot, of: store)
  }

  /// The refusal of a name of which no snapshot has a dump.
  func noDump(of name: [UInt8]) -> Failure {
    let known = Set(dumpRecords(of: nil).map(\.record.name)).map { displayName($0) }.sorted()
    return Failure(
      .usage, "no snapshot has a dump of the database \(displayName(name))",
      hint: known.isEmpty ? "there is no dump of any database" : "there are dumps of: " + known.joined(separator: ", "))
  }
}
