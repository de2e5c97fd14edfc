internal import Model
internal import Posix
internal import Repository
internal import Retention
internal import Settings

extension RetentionDecision.Reason {
  /// True if even `delete` does not override this reason.
  var isProtection: Bool { [.newest, .newestGood, .held].contains(self) }

  /// The reason for a person.
  var words: String { texts.words }

  /// The reason for a script.
  var key: String { texts.key }

  private var texts: (words: String, key: String) {
    switch self {
    case .newest: ("the newest", "newest")
    case .newestGood: ("the newest good one of a source", "newest_good")
    case .held: ("held", "held")
    case .member(let set, let rank): ("\(set.rawValue).\(rank)", "\(set.rawValue).\(rank)")
    case .last(let rank): ("last \(rank)", "last.\(rank)")
    case .within: ("young enough", "within")
    case .nothingExpires: ("nothing expires now", "nothing_expires")
    case .notNamed: ("not named", "not_named")
    case .inNoSet: ("in no set", "in_no_set")
    case .unwanted: ("you said so", "unwanted")
    case .space: ("space is short", "space")
    case .inUse: ("it is being read, by a restore, a verification or a push", "in_use")
    case .obstructed: ("it cannot be taken away now", "obstructed")
    }
  }
}

extension CommonOptions {
  /// True if the snapshot stays only because it is the newest.
  func isInNoSet(_ name: SnapshotName, of repository: Repository) throws(Failure) -> Bool {
    let list = try repository.snapshots()
    let configured = try configuration(of: repository)?.settings.retention
    let policy = if let configured { configured } else { try repository.retention.lastPolicy() }
    let plan = try repository.retention.plan(for: list, by: policy, now: Clock.now())
    let decision = zip(list.snapshots, plan.decisions).first { $0.0.name == name }?.1
    return decision?.reasons.allSatisfy { [.newest, .newestGood, .inNoSet].contains($0) } == true
  }
}
