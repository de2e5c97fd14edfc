internal import Catalog
internal import Model
internal import Repository
internal import Settings

/// A source that should have snapshots.
struct ExpectedSource {
  let label: [UInt8]
  let path: [UInt8]
  var isOptional = false
  /// The RPO of this source.
  var rpoSeconds: Int64?
  /// The RPO of all sources.
  var commonRPOSeconds: Int64?

  /// The sources of the configuration. Without one, the sources of all snapshots.
  static func all(in file: ConfigurationFile?, or list: SnapshotList) -> [ExpectedSource] {
    if let file {
      return file.settings.sources.map {
        ExpectedSource(
          label: Array(file.settings.label.utf8), path: Array($0.path.utf8), isOptional: $0.isOptional,
          rpoSeconds: $0.rpoSeconds, commonRPOSeconds: file.settings.rpoSeconds)
      }
    }
    var seen: Set<[[UInt8]]> = []
    return list.snapshots.reversed().flatMap { snapshot in
      snapshot.summary.sources.filter { seen.insert([snapshot.summary.label, $0]).inserted }
        .map { ExpectedSource(label: snapshot.summary.label, path: $0) }
    }
  }

  /// The newest snapshot without warnings that has the source.
  func newestGood(in list: SnapshotList, damaged: [SnapshotName: String]) -> Snapshot? {
    list.snapshots.last {
      $0.summary.outcome == .complete && damaged[$0.name] == nil && $0.summary.label == label
        && $0.summary.sources.contains(path)
    }
  }

  /// The maximum age of the newest good snapshot. The command line's value does not apply to optional sources.
  func maximumAge(said: Int64?) -> Int64? { isOptional ? rpoSeconds : said ?? rpoSeconds ?? commonRPOSeconds }

  /// True if the source is absent from the newest snapshot that was to contain it.
  func isAbsent(in list: SnapshotList) -> Bool {
    let last = list.snapshots.last {
      $0.summary.label == label && ($0.summary.sources + $0.summary.absentSources).contains(path)
    }
    return last?.summary.absentSources.contains(path) ?? false
  }
}
