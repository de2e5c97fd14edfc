internal import Model
internal import Replication
internal import Repository
internal import Restic
internal import Settings

/// Probes of immutability: may the keys of this machine remove data from its remotes?
extension AuditCollection {
  /// Connects to each remote on another machine, and asks.
  func removals(options common: CommonOptions) -> [String: AuditFacts.Removal] {
    var answers: [String: AuditFacts.Removal] = [:]
    for remote in file.settings.remotes {
      switch remote.address {
      case .local, .restic: continue
      case .ssh, .storage: break
      }
      do {
        answers[remote.name] = try Self.removal(at: RemoteTarget(remote: remote, options: common))
      } catch { answers[remote.name] = .unanswered((error as? Failure)?.message ?? "\(error)") }
    }
    return answers
  }

  private static func removal(at target: RemoteTarget) throws -> AuditFacts.Removal {
    guard let restic = target.restic else {
      // The server of a key that only appends says so, and has no verb that removes.
      return try Connection(options: target.options).isAppendOnly ? .refused : .allowed
    }
    switch try restic.store(isNew: false).probeRemoval() {
    case .refused: return .refused
    case .allowed: return .allowed
    case .unknown: return .unanswered("the storage has no harmless question")
    }
  }
}
