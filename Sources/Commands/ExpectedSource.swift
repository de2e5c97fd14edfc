internal import Catalog
internal import Repository
internal import Settings

/// A source that should have snapshots.
struct ExpectedSource {
  let label: [UInt8]
  let path: [UInt8]
  var isOptional = false
  /// What is said of this source alone.
  var rpoSeconds: Int64?
  /// What is said of all.
  var commonRPOSeconds: Int64?

  /// Those of the configuration; without it, all that any snapshot has.
  static func all(_ file: ConfigurationFile?, _ list: SnapshotList) -> [ExpectedSource] {
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

  /// The newest snapshot without warnings that has it.
  func newestGood(in list: SnapshotList, damaged: [SnapshotName: String]) -> Snapshot? {
    list.snapshots.last {
      $0.summary.outcome == .complete && damaged[$0.name] == nil && $0.summary.label == label
        && $0.summary.sources.contains(path)
    }
  }

  /// How old that may be; what the command line says of all concerns no optional one.
  func maximumAge(_ said: Int64?) -> Int64? { isOptional ? rpoSeconds : said ?? rpoSeconds ?? commonRPOSeconds }

  /// True where the newest snapshot that was to have it does not.
  func isAbsent(in list: SnapshotList) -> Bool {
    let last = list.snapshots.last {
      $0.summary.label == label && ($0.summary.sources + $0.summary.absentSources).contains(path)
    }
    return last?.summary.absentSources.contains(path) ?? false
  }
}
