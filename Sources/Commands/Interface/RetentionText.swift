internal import Model
internal import Retention

extension RetentionDecision.Reason {
  /// True if even `--expire` does not override this reason.
  var isProtection: Bool { [.newest, .newestGood, .held].contains(self) }

  /// The reason for a person.
  var words: String {
    switch self {
    case .newest: "the newest"
    case .newestGood: "the newest good one of a source"
    case .held: "held"
    case .member(let set, let rank): "\(set.rawValue).\(rank)"
    case .last(let rank): "last \(rank)"
    case .within: "young enough"
    case .nothingExpires: "nothing expires now"
    case .notNamed: "not named by --expire"
    case .inNoSet: "in no set"
    case .unwanted: "you said so"
    case .space: "space is short"
    case .inUse: "it is being read, by a restore, a verification or a push"
    case .obstructed: "it cannot be taken away now"
    }
  }

  /// The reason for a script.
  var key: String {
    switch self {
    case .newest: "newest"
    case .newestGood: "newest_good"
    case .held: "held"
    case .member(let set, let rank): "\(set.rawValue).\(rank)"
    case .last(let rank): "last.\(rank)"
    case .within: "within"
    case .nothingExpires: "nothing_expires"
    case .notNamed: "not_named"
    case .inNoSet: "in_no_set"
    case .unwanted: "unwanted"
    case .space: "space"
    case .inUse: "in_use"
    case .obstructed: "obstructed"
    }
  }
}
