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
        var remote = remote
        remote.remoteCommand = Self.unrestricted(remote.remoteCommand)
        answers[remote.name] = try Self.removal(at: RemoteTarget(remote: remote, options: common))
      } catch { answers[remote.name] = .unanswered((error as? Failure)?.message ?? "\(error)") }
    }
    return answers
  }

  /// The command without options: a thief of the key would leave out that the server may only append. If the key is
  /// bound to a command, sshd(8) runs that one in any case.
  static func unrestricted(_ command: String) -> String {
    let words = command.split(separator: " ")
    guard let verb = words.firstIndex(of: "serve") else { return RemoteConfiguration().remoteCommand }
    return words[...verb].joined(separator: " ")
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
