internal import ArgumentParser
internal import Model
internal import Posix
internal import Repository

struct ReleaseCommand: RunnableCommand {
  static let answersForWhatIsDone = true

  static let configuration = CommandConfiguration(
    commandName: "release", abstract: "Let held snapshots expire, or rotation go on that a guard holds.",
    discussion: """
      With SNAPSHOT ends what hold began. Without one: a snapshot in which most files have other content than \
      before holds rotation, so that no older snapshot expires while you look whether somebody encrypted \
      your files. Run this when all is well. The last snapshot before the change stays held until you \
      release it by its name.

      Example:
        treering release --repository /backup/treering
      """)

  @Argument(
    help: ArgumentHelp("The held snapshots; rotation, if left out.", valueName: "snapshot"), completion: .snapshot)
  var snapshots: [String] = []

  @OptionGroup var common: CommonOptions

  func execute() throws -> ExitStatus {
    let repository = try common.openRepository()
    return try repository.withLock(for: "release", at: Clock.now()) {
      snapshots.isEmpty ? try releaseRotation(of: repository) : try releaseSnapshots(of: repository)
    }
  }

  private func releaseRotation(of repository: Repository) throws -> ExitStatus {
    let reason = try repository.heldRotation()
    let kept = try repository.marks.lastBeforeChanges().sorted { $0.key.seconds < $1.key.seconds }
    let released = try repository.rotationFreeze.release(lastArrival: repository.snapshots().lastArrival)
    common.answer(
      ReleaseAnswer(released: released, reason: reason, snapshots: [], stillHeld: kept.map(\.key.description)),
      lines: [released ? "rotation goes on" : "rotation was not held"]
        + kept.map { name, change in
          "\(name) stays held, as the last before a suspect change: \(change); if that is right, let it expire with: "
            + repository.advice("release \(name)")
        })
    return .done
  }

  private func releaseSnapshots(of repository: Repository) throws -> ExitStatus {
    let list = try repository.snapshots()
    let names = try snapshots.map { try repository.resolve($0, in: list, allowsTimes: false).name }
    var released: [SnapshotName] = []
    for name in names where try repository.marks.remove(.held, from: name) { released.append(name) }
    common.answer(
      ReleaseAnswer(released: !released.isEmpty, reason: nil, snapshots: released.map(\.description), stillHeld: []),
      lines: names.map { released.contains($0) ? "released \($0)" : "\($0) was not held" })
    return .done
  }
}

/// The document of `release --json`.
struct ReleaseAnswer: Encodable {
  let released: Bool
  /// The start and reasons of the rotation hold.
  let reason: String?
  /// The snapshots that were released.
  let snapshots: [String]
  /// The snapshots before suspect changes, which the release of rotation leaves held.
  let stillHeld: [String]
}
