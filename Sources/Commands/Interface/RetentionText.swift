internal import Model
internal import Retention

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
