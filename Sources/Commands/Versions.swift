internal import ArgumentParser
internal import Catalog
internal import Model
internal import Repository

struct VersionsCommand: RunnableCommand {
  static let configuration = CommandConfiguration(
    commandName: "versions", abstract: "Show every distinct version of a file, oldest first.",
    discussion: """
      A version is what a path was from one snapshot to another without a change of its content or its \
      metadata. Only the catalogs are read.

      Example:
        treering versions /etc/fstab --repository /backup/treering
      """)

  @Argument(help: ArgumentHelp("The file, named as at the source.", valueName: "path"))
  var path: PathArgument

  @OptionGroup var connection: RemoteConnectionOptions
  @OptionGroup var common: CommonOptions

  func execute() throws -> ExitStatus {
    let store = try common.openStore(connection: connection)
    let list = try store.snapshots()
    var versions: [Version] = []
    var unreadable = list.unusable
    for snapshot in list.snapshots {
      do {
        let reader = CatalogReader(reading: try store.openCatalog(of: snapshot.name))
        let names = try SnapshotPath.components(of: path.bytes, below: snapshot.summary.label)
        guard let found = try reader.find(names), !list.isOnlyParentOfSources(names, in: snapshot) else { continue }
        let version = Version(of: found, first: snapshot.name)
        if versions.last?.isSame(as: version) == true {
          versions[versions.count - 1].last = snapshot.name
          versions[versions.count - 1].snapshots += 1
        } else {
          versions.append(version)
        }
      } catch let error as CatalogError {
        unreadable.append(UnusableSnapshot(name: snapshot.name, reason: "\(error)", isDamage: true))
      }
    }
    guard !versions.isEmpty || !unreadable.isEmpty else {
      throw Failure(
        .usage, "\(displayName(path.bytes)) is in no snapshot of \(displayName(store.path))",
        hint: "name it as it was at the source")
    }
    if common.json {
      Console.print(jsonText(versions.map(Self.answer(for:))))
    } else if !versions.isEmpty {
      let rows = versions.map { version in
        [
          version.modified.localText, version.kind == .regular ? byteText(version.size) : version.kind.word,
          version.first.description, version.last.description, counted(version.snapshots, "snapshot"),
        ]
      }
      for line in table([["MODIFIED", "SIZE", "FIRST IN", "LAST IN", ""]] + rows, rightAligned: [1]) {
        Console.print(line)
      }
    }
    for unusable in unreadable { Console.complain("\(unusable.sentence); it was not searched") }
    return unusableStatus(for: unreadable)
  }

  private struct Version {
    let kind: EntryKind
    let modified: Timestamp
    let size: UInt64
    let metadata: Metadata
    let digest: ContentDigest
    let target: [UInt8]
    let attributes: AttributeBlock
    let first: SnapshotName
    var last: SnapshotName
    var snapshots: UInt64 = 1

    init(of found: Found, first: SnapshotName) {
      self.first = first
      last = first
      switch found {
      case .file(let row, let record):
        kind = row.kind
        size = row.kind == .regular || row.kind == .symbolicLink ? row.size : 0
        metadata = row.metadata
        digest = row.digest
        target = record.target(of: row)
        attributes = record.attributes(of: row)
      case .directory(let record, let subtree):
        kind = .directory
        size = 0
        metadata = record.metadata
        digest = ContentDigest(subtree.digest)
        target = []
        attributes = record.attributes
      }
      modified = metadata.modified
    }

    func isSame(as other: Version) -> Bool {
      kind == other.kind && size == other.size && metadata == other.metadata
        && digest.isConsistent(with: other.digest, sameTime: true) && target == other.target
        && attributes == other.attributes
    }
  }

  private struct Answer: Encodable {
    let kind: String
    let modified: String
    let bytes: UInt64
    let sha256: String?
    let first: String
    let last: String
    let snapshots: UInt64
  }

  private static func answer(for version: Version) -> Answer {
    let hasHash = version.kind == .regular && !version.digest.isSparse
    return Answer(
      kind: version.kind.word, modified: version.modified.rfc3339, bytes: version.size,
      sha256: hasHash ? version.digest.digest.description : nil, first: version.first.description,
      last: version.last.description, snapshots: version.snapshots)
  }
}
