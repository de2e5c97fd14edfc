internal import Catalog
public import Model
internal import Posix
public import Repository

/// One password of a repository: a file below `keys/`.
public struct RepositoryKey: Sendable {
  public let id: Digest
  public let created: Timestamp
  /// The user and the machine that added it.
  public let user: [UInt8]
  public let host: [UInt8]
}

extension ResticRepository {
  /// All keys, the oldest first. A damaged one has no facts, and is left out with the reason.
  public func keys() throws -> (keys: [RepositoryKey], damaged: [Failure]) {
    var (keys, damaged): ([RepositoryKey], [Failure]) = ([], [])
    for (id, _) in try store.list(.keys) {
      let name = ObjectName(.keys, id)
      do {
        guard let json = try store.read(name, limit: KeyFile.mostBytes) else { continue }
        let file = try KeyFile(json: json)
        keys.append(RepositoryKey(id: id, created: file.created, user: file.user, host: file.host))
      } catch {
        let failure = damage(of: name, because: error)
        guard failure.kind == .damaged else { throw failure }
        damaged.append(failure)
      }
    }
    return (keys.sorted { ($0.created, $0.id.description) < ($1.created, $1.id.description) }, damaged)
  }

  /// Adds a password. The new key is read back and opened before the call returns.
  public func addKey(password: [UInt8], host: [UInt8], at time: Timestamp) throws -> Digest {
    let lock = try RepositoryLock(self)
    defer { lock.release() }
    return try addKey(password: password, host: host, at: time, confirming: lock)
  }

  private func addKey(
    password: [UInt8], host: [UInt8], at time: Timestamp, confirming lock: RepositoryLock
  ) throws -> Digest {
    do {
      let user = Array(accountName(ofUser: CurrentProcess.effectiveUser).utf8)
      let json = try KeyFile(of: key, password: password, user: user, host: host, at: time).json
      let name = ObjectName(.keys, SHA256().digest(of: json))
      try lock.confirm()
      try store.write(name, json)
      guard let written = try store.read(name, limit: KeyFile.mostBytes),
        let opened = try KeyFile(json: written).open(password: password), opened.json == key.json
      else { throw ResticError("the key that was written does not open; the old ones still do") }
      return name.id
    } catch { throw error as? Failure ?? Failure(.failed, "cannot add a key to \(displayName): \(error)") }
  }

  /// Removes a password, but not the one that opened the repository.
  public func removeKey(_ id: Digest) throws {
    guard id != keyID else {
      throw Failure(
        .refused, "the key \(id.short) is the one that opened \(displayName)",
        hint: "open the repository with another password, or use: treering key change")
    }
    let lock = try RepositoryLock(self, isExclusive: true)
    defer { lock.release() }
    try lock.confirm()
    try store.remove(ObjectName(.keys, id))
  }

  /// Replaces the password that opened the repository. The old one works until the new one does.
  public func changePassword(to password: [UInt8], host: [UInt8], at time: Timestamp) throws -> Digest {
    let lock = try RepositoryLock(self, isExclusive: true)
    defer { lock.release() }
    let added = try addKey(password: password, host: host, at: time, confirming: lock)
    try store.remove(ObjectName(.keys, keyID))
    return added
  }

  /// The master key, in the JSON document that restic seals in key files. It opens everything, without a password.
  public var exportedKey: [UInt8] { key.json }

  /// Opens a repository with its exported master key.
  public static func open(
    _ store: any ObjectStore, exportedKey text: [UInt8], isAppendOnly: Bool = false
  ) throws -> ResticRepository {
    let key: MasterKey
    do { key = try MasterKey(json: text) } catch {
      throw Failure(.usage, "the exported key cannot be used: \(error)")
    }
    return try open(store, isAppendOnly: isAppendOnly) { OpenedKey(key: key, id: exportedKeyID) }
  }
}

extension Digest {
  /// The start of an ID, as restic prints it.
  public var short: String { String(description.prefix(8)) }
}
