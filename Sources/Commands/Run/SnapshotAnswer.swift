internal import Catalog
internal import Engine
internal import Model
internal import Repository

/// The document of `snapshot --json`.
struct SnapshotAnswer: Encodable {
  struct NamedWarning: Encodable {
    let path: String
    let message: String

    init(_ warning: Warning) {
      path = displayName(warning.path)
      message = warning.message
    }
  }
  let snapshot: String
  let previous: String?
  let sequence: UInt64
  let outcome: String
  let entries: UInt64
  let files: UInt64
  let directories: UInt64
  let bytes: UInt64
  let filesLinked: UInt64
  let filesMoved: UInt64
  let filesCopied: UInt64
  let filesCloned: UInt64
  let linkLimits: UInt64
  let bytesCopied: UInt64
  let bytesRead: UInt64
  let filesVanished: UInt64
  let catalogOnly: UInt64
  let directoriesSkipped: UInt64
  let excluded: UInt64
  /// Sources that were requested but are not in the snapshot.
  let absent: [String]
  let warnings: UInt64
  var warningsNamed: [NamedWarning]
  let rootDigest: String
  let elapsedSeconds: Double

  init(for result: SnapshotResult, progress: Progress, warnings named: [Warning]) {
    let summary = result.snapshot.summary
    snapshot = result.snapshot.name.description
    previous = result.previous?.description
    sequence = summary.sequence
    outcome = summary.outcome.word
    entries = summary.root.totals.entries
    files = summary.files
    directories = summary.directories
    bytes = summary.root.totals.bytes
    filesLinked = summary.filesLinked
    filesMoved = progress.moved.value
    filesCopied = summary.filesCopied
    filesCloned = progress.cloned.value
    linkLimits = progress.linkLimits.value
    bytesCopied = summary.bytesCopied
    bytesRead = progress.bytesRead.value
    filesVanished = progress.vanished.value
    catalogOnly = progress.catalogOnly.value
    directoriesSkipped = progress.skipped.value
    excluded = progress.excluded.value
    absent = summary.absentSources.map { displayName($0) }
    warnings = progress.warnings.value
    warningsNamed = named.map(NamedWarning.init)
    rootDigest = summary.root.digest.description
    elapsedSeconds = result.elapsedSeconds
  }
}
