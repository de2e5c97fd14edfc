internal import Engine
internal import Model
internal import Posix
internal import Repository
internal import Restic

/// The thaw of the archived packs that a restore needs.
struct ArchiveThaw {
  let store: ResticStore
  let snapshot: SnapshotName
  let places: [TreePath]

  /// The longest pause between two looks at the packs, in milliseconds.
  private static let longestPause = 5 * 60 * 1000

  /// Requests the thaw, and returns when all packs can be read. Without `waits`, throws if one cannot.
  func require(waits: Bool) throws {
    var pause = 1000
    var isFirst = true
    while true {
      let waiting = try store.archivedPacks(for: snapshot, under: places).filter { $0.thaw != .done }
      if waiting.isEmpty { return }
      try store.requestThaw(of: waiting)
      if isFirst {
        for pack in waiting {
          let state = pack.thaw == .frozen ? "thaw requested" : "thaw under way"
          Console.note("\(pack.name) (\(byteText(pack.byteCount))): \(state)")
        }
      }
      let bytes = waiting.reduce(0) { $0 + $1.byteCount }
      let sentence =
        "\(counted(waiting.count, "object")) (\(byteText(bytes))) of \(store.restic.displayName) "
        + "\(waiting.count == 1 ? "is" : "are") in an archive, and must be thawed first; this was requested"
      guard waits else {
        throw Failure(
          .remote, sentence, hint: "it takes hours; then run the same command again, or let --wait-for-archive wait")
      }
      if isFirst { Console.note(sentence) }
      isFirst = false
      try wait(milliseconds: pause)
      pause = min(pause * 2, Self.longestPause)
    }
  }

  private func wait(milliseconds: Int) throws {
    let start = Clock.monotonic()
    while Clock.monotonic() - start < Double(milliseconds) / 1000 {
      CurrentProcess.sleep(milliseconds: 200)
      try checkForSignal()
    }
  }
}
