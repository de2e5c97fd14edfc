internal import Catalog
internal import Model
internal import Repository

/// `database list`: the dumps in the snapshots, the newest first.
struct DatabaseList {
  private let name: [UInt8]?
  private let connection: RemoteConnectionOptions
  private let common: CommonOptions

  init(of name: [UInt8]?, connection: RemoteConnectionOptions, common: CommonOptions) {
    (self.name, self.connection, self.common) = (name, connection, common)
  }

  func execute() throws -> ExitStatus {
    let (store, list) = try common.openList(connection: connection)
    let records = list.dumpRecords(of: name)
    if let name, records.isEmpty, list.unusable.isEmpty { throw list.noDump(of: name) }
    var unusable = list.unusable
    var dumps: [StoredDump] = []
    for (snapshot, record) in records {
      do throws(any Error) {
        if let dump = try StoredDump(record, in: snapshot, of: store) { dumps.append(dump) }
      } catch {
        guard let failure = error as? Failure, failure.kind == .damaged else { throw error }
        if unusable.last?.name == snapshot.name { continue }
        unusable.append(UnusableSnapshot(name: snapshot.name, reason: failure.message, isDamage: true))
      }
    }
    common.answer(Answer(dumps: dumps.map(DumpAnswer.init)), lines: dumps.isEmpty ? [] : Self.lines(for: dumps))
    if dumps.isEmpty, unusable.isEmpty, !common.quiet { Console.complain("no snapshot has a dump of a database") }
    for unusable in unusable { Console.complain(unusable.sentence) }
    return unusableStatus(for: unusable)
  }

  private static func lines(for dumps: [StoredDump]) -> [String] {
    var rows = [["SNAPSHOT", "DATABASE", "KIND", "DUMPED", "SIZE", "CONTENT"]]
    for dump in dumps {
      let contents = dump.contents.map { displayName($0) }
      let shown = contents.count <= 4 ? contents : contents.prefix(3) + ["and \(contents.count - 3) more"]
      rows.append([
        dump.snapshot.name.description, displayName(dump.record.name), displayName(dump.record.kind),
        dump.record.ended.localText, byteText(dump.byteCount), shown.joined(separator: ", "),
      ])
    }
    return table(rows, rightAligned: [4])
  }

  private struct Answer: Encodable {
    let dumps: [DumpAnswer]
  }

  private struct DumpAnswer: Encodable {
    let snapshot, name, kind, began, ended: String
    let point, shortcomings: String?
    let bytes: UInt64
    let contents: [String]

    init(_ dump: StoredDump) {
      let database = DatabaseAnswer(dump.record)
      snapshot = dump.snapshot.name.description
      (name, kind, began, ended) = (database.name, database.kind, database.began, database.ended)
      (point, shortcomings) = (database.point, database.shortcomings)
      bytes = dump.byteCount
      contents = dump.contents.map { displayName($0) }
    }
  }
}
