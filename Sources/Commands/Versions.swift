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

  @Argument(
    help: ArgumentHelp("The file, named as at the source.", valueName: "path"), completion: .path(inSnapshotAt: nil))
  var path: PathArgument

  @OptionGroup var connection: RemoteConnectionOptions
  @OptionGroup var common: CommonOptions

  func execute() throws -> ExitStatus {
    let store = try common.openStore(connection: connection)
    let list = try store.snapshots()
    var versions: [Version] = []
    var unreadable = list.unusable
    var isGone = false
    for snapshot in list.snapshots {
      do {
        let reader = CatalogReader(reading: try store.openCatalog(of: snapshot.name))
        let names = try SnapshotPath.components(of: path.bytes, below: snapshot.summary.label)
        guard let found = try reader.find(names), !list.isOnlyParentOfSources(names, in: snapshot) else {
          // A snapshot of other sources says nothing about the path.
          isGone = isGone || snapshot.summary.covers(names)
          continue
        }
        let version = Version(of: found, first: snapshot.name)
        if let known = versions.last, !isGone, known.isSame(as: version) {
          versions[versions.count - 1].last = snapshot.name
          versions[versions.count - 1].snapshots += 1
        } else {
          versions.append(version)
        }
        isGone = false
      } catch let error as CatalogError {
        unreadable.append(UnusableSnapshot(name: snapshot.name, reason: "\(error)", isDamage: true))
      }
    }
    guard !versions.isEmpty || !unreadable.isEmpty else {
      throw Failure(
        .usage, "\(displayName(path.bytes)) is in no snapshot of \(displayName(store.path))", path: path.bytes,
        hint: "name it as it was at the source, or search for its name: \(store.advice("find NAME"))")
    }
    if common.json {
      Console.print(jsonText(["versions": versions.map(Self.answer(for:))]))
    } else if !versions.isEmpty {
      let rows = versions.map { version in
        [
          version.facts.metadata.modified.localText,
          version.facts.kind == .regular ? byteText(version.byteCount) : version.facts.kind.word,
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
    let facts: EntryFacts
    /// The digest of a directory, which covers everything below it.
    let subtree: Digest?
    let first: SnapshotName
    var last: SnapshotName
    var snapshots: UInt64 = 1

    init(of found: Found, first: SnapshotName) {
      facts = EntryFacts(of: found)
      if case .directory(_, let subtree) = found { self.subtree = subtree.digest } else { subtree = nil }
      self.first = first
      last = first
    }

    var byteCount: UInt64 { facts.kind == .regular || facts.kind == .symbolicLink ? facts.size : 0 }

    func isSame(as other: Version) -> Bool { subtree == other.subtree && facts.isSame(as: other.facts) }
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
    let facts = version.facts
    let hash = facts.digest.flatMap { $0.isSparse ? nil : $0.digest.description }
    return Answer(
      kind: facts.kind.word, modified: facts.metadata.modified.rfc3339, bytes: version.byteCount, sha256: hash,
      first: version.first.description, last: version.last.description, snapshots: version.snapshots)
  }
}
