internal import Posix
internal import Synchronization

/// The values that restored entries did not take. Each kind is reported once, not for each entry.
final class RestoreGaps: Sendable {
  private struct Tally {
    var entries: UInt64
    /// The path of the first entry.
    let path: [UInt8]
    let reason: Errno?
  }

  private let tallies = Mutex<[MetadataKind: Tally]>([:])
  /// Existing directories whose metadata differ from the snapshot's, and stay so.
  private let left = Mutex<Tally?>(nil)
  /// Entries that lack only an owner that no user but root may set.
  private let owners = Atomic<UInt64>(0)
  private let isRoot = CurrentProcess.effectiveUser == 0
  private let progress: Progress

  init(counting progress: Progress) { self.progress = progress }

  var ownersNotSet: UInt64 { owners.value }

  func add(_ gaps: MetadataGaps, at path: @autoclosure () -> [UInt8]) {
    if gaps.isEmpty { return }
    progress.catalogOnly.count()
    for (kind, reason) in gaps.reasons {
      if kind == .owner, reason == .notPermitted, !isRoot {
        owners.count()
        continue
      }
      tallies.withLock { $0[kind, default: Tally(entries: 0, path: path(), reason: reason)].entries += 1 }
    }
  }

  func addLeft(_ path: [UInt8]) {
    progress.left.count()
    left.withLock {
      if $0 == nil { $0 = Tally(entries: 0, path: path, reason: nil) }
      $0!.entries += 1
    }
  }

  /// Names the first entry of each kind, and counts the others.
  func report(
    _ warn: (_ path: [UInt8], _ message: String) -> Void, left name: (_ path: [UInt8], _ message: String) -> Void
  ) {
    if let left = left.withLock({ $0 }) {
      let more = left.entries - 1
      name(
        left.path,
        "exists with another owner, mode, time or set of attributes; left as it is"
          + (more == 0 ? "" : "; so \(more == 1 ? "is 1 more directory" : "are \(more) more directories")"))
    }
    let tallies = tallies.withLock { $0 }
    for kind in MetadataKind.allCases {
      guard let tally = tallies[kind] else { continue }
      let reason =
        switch tally.reason {
        case nil: "is not kept by the file system"
        case .noSpace?: "could not be set: no room in the inode"
        case let error?: "could not be set: \(error)"
        }
      let more = tally.entries - 1
      warn(
        tally.path,
        "its \(kind.word) \(reason)"
          + (more == 0 ? "" : "; nor that of \(more) more \(more == 1 ? "entry" : "entries")"))
    }
  }
}

extension MetadataKind {
  fileprivate var word: String {
    switch self {
    case .owner: "owner"
    case .mode: "mode"
    case .attributes: "set of extended attributes"
    case .time: "modification time"
    }
  }
}
