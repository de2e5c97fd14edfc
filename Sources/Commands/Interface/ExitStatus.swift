internal import Repository

/// The table of exit statuses; `man/treering.1` has the same table.
struct ExitStatus: Equatable {
  let code: Int32

  static let done = ExitStatus(code: 0)
  /// The command succeeded, but some entries could not be read or were left unchanged.
  static let warnings = ExitStatus(code: 1)
  static let usage = ExitStatus(code: 2)
  /// The run published nothing.
  static let failed = ExitStatus(code: 3)
  static let refused = ExitStatus(code: 4)
  static let locked = ExitStatus(code: 5)
  static let damaged = ExitStatus(code: 6)
  /// The remote could not be reached, or replication failed.
  static let remote = ExitStatus(code: 7)
  static let noSpace = ExitStatus(code: 8)

  static func interrupted(_ signal: Int32) -> ExitStatus { ExitStatus(code: 128 + signal) }

  /// The status of a failure after a publication, adoption or expiry. `usage`, `failed` and `noSpace` become
  /// `warnings`.
  init(afterPublication kind: Failure.Kind) {
    let status = ExitStatus(kind)
    self = [.usage, .failed, .noSpace].contains(status) ? .warnings : status
  }

  init(code: Int32) { self.code = code }

  /// The rank of a status among those of several repositories; 0 is the worst, an interruption.
  var severity: Int {
    let ranks: [ExitStatus] = [.damaged, .noSpace, .failed, .refused, .usage, .remote, .locked, .warnings, .done]
    return (ranks.firstIndex(of: self) ?? -1) + 1
  }

  static func worst(of statuses: [ExitStatus]) -> ExitStatus { statuses.min { $0.severity < $1.severity } ?? .done }

  init(_ kind: Failure.Kind) {
    switch kind {
    case .usage: self = .usage
    case .failed: self = .failed
    case .refused: self = .refused
    case .locked: self = .locked
    case .damaged: self = .damaged
    case .noSpace: self = .noSpace
    case .remote: self = .remote
    case .interrupted(let signal): self = .interrupted(signal)
    }
  }
}

extension UnusableSnapshot {
  /// The damage, or the reason for missing verification, as a sentence.
  var sentence: String {
    isDamage ? "the snapshot \(name) is damaged: \(reason)" : "the snapshot \(name) is not verified: \(reason)"
  }
}

/// The status of an answer from which some snapshots are missing.
func unusableStatus(for unusable: [UnusableSnapshot]) -> ExitStatus {
  unusable.contains(where: \.isDamage) ? .damaged : unusable.isEmpty ? .done : .warnings
}
