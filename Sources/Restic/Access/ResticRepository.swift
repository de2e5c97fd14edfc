internal import Catalog
public import Model
internal import Posix
public import Repository
internal import Synchronization

/// An open repository of restic's format, version 2.
public final class ResticRepository: Sendable {
  public let store: any ObjectStore
  /// The key file that the password opened.
  public let keyID: Digest
  let key: MasterKey
  let config: RepositoryConfig
  /// True if this program removes nothing there, also no lock file.
  public let isAppendOnly: Bool

  let windows: PackWindows
  private let cache: ObjectCache?
  /// The snapshots that were listed together with the keys, until they are asked for.
  private let listedSnapshots: Mutex<[Digest]?>

  /// The repository's ID, for caches.
  public var id: Digest { config.id }
  public var displayName: String { store.displayName }

  private init(
    _ store: any ObjectStore, key: OpenedKey, config: RepositoryConfig, isAppendOnly: Bool = false,
    readBytesPerSecond: UInt64? = nil, cache: ObjectCache? = nil
  ) {
    (self.store, self.key, keyID, self.config) = (store, key.key, key.id, config)
    (self.isAppendOnly, self.cache) = (isAppendOnly, cache)
    listedSnapshots = Mutex(key.snapshots)
    windows = PackWindows(store, limiter: readBytesPerSecond.map { SharedRateLimiter(bytesPerSecond: $0) })
  }

  /// Opens a repository with one of its passwords. At most `readBytesPerSecond` bytes of blobs are read in a second.
  ///
  /// Without a cache, every file is read from the store itself.
  public static func open(
    _ store: any ObjectStore, password: [UInt8], isAppendOnly: Bool = false, readBytesPerSecond: UInt64? = nil,
    cache: ObjectCache? = nil
  ) throws -> ResticRepository {
    let cached = CachedKey(in: cache, password: password)
    return try open(store, isAppendOnly: isAppendOnly, readBytesPerSecond: readBytesPerSecond, cache: cache) {
      try findKey(in: store, cache: cache, cached: cached, password: password)
    }
  }

  /// The master key, the file that had it, and the snapshots if they were listed with it.
  struct OpenedKey {
    let key: MasterKey
    let id: Digest
    var snapshots: [Digest]?
  }

  /// Opens a repository. `findKey` is called if there is one, and returns the master key and its file.
  static func open(
    _ store: any ObjectStore, isAppendOnly: Bool = false, readBytesPerSecond: UInt64? = nil,
    cache: ObjectCache? = nil, findKey: () throws -> OpenedKey
  ) throws -> ResticRepository {
    let text: [UInt8]
    let config: RepositoryConfig
    let sealed: [UInt8]
    do { sealed = try store.read(.config, limit: configBytes) ?? [] } catch {
      throw damage(of: .config, in: store, because: error)
    }
    guard !sealed.isEmpty else {
      throw Failure(
        .usage, "\(store.displayName) is not a repository of restic: it has no file config",
        hint: "a new one is made with: treering init -r \(store.displayName)")
    }
    let key = try findKey()
    do {
      guard let opened = key.key.sealer().open(sealed) else {
        guard key.id == exportedKeyID else { throw ResticError("its code is wrong") }
        throw Failure(.usage, "the exported key is not that of \(store.displayName), or its file config is damaged")
      }
      text = try UnpackedText.decoded(opened)
      config = try RepositoryConfig(json: text)
    } catch { throw damage(of: .config, in: store, because: error) }
    guard config.version == 2 else {
      throw Failure(
        .usage, "the repository \(store.displayName) has version \(config.version), and treering knows version 2",
        hint: config.version == 1 ? "upgrade it with: restic migrate upgrade_repo_v2" : "use a newer treering")
    }
    return ResticRepository(
      store, key: key, config: config, isAppendOnly: isAppendOnly, readBytesPerSecond: readBytesPerSecond, cache: cache)
  }

  /// The ID of a key that came from no key file.
  static let exportedKeyID = Digest(words: (0, 0, 0, 0))

  private static let configBytes = 1 << 16

  /// The most key files that are tried. Each costs a part of a second.
  private static let mostKeys = 100

  private static func findKey(
    in store: any ObjectStore, cache: ObjectCache?, cached: CachedKey, password: [UInt8]
  ) throws -> OpenedKey {
    var damaged: (any Error)?
    let listed = try store.listKeysAndSnapshots()
    let keys = listed.keys.sorted { $0.bytes.lexicographicallyPrecedes($1.bytes) }
    guard keys.count <= mostKeys else {
      throw Failure(.damaged, "\(store.displayName) has \(keys.count) keys, and not at most \(mostKeys)")
    }
    cache?.retain(.keys, keys)
    if let (key, id) = cached.opened(), keys.contains(id) {
      return OpenedKey(key: key, id: id, snapshots: listed.snapshots)
    }
    for id in keys {
      let name = ObjectName(.keys, id)
      do {
        guard let json = try store.read(name, limit: KeyFile.mostBytes) else { continue }
        let isWhole = SHA256().digest(of: json) == id
        if let key = try KeyFile(json: json).open(password: password) {
          if isWhole { cache?.keep(name, json) }
          return OpenedKey(key: key, id: id, snapshots: listed.snapshots)
        }
        guard isWhole else { throw ResticError("its content does not fit its name") }
      } catch {
        // Another key file may still open.
        damaged = damage(of: name, in: store, because: error)
      }
    }
    if let damaged { throw damaged }
    throw Failure(.usage, "no key of the repository \(store.displayName) opens with this password")
  }

  /// Makes a repository in an empty store. The files that make it usable come last.
  ///
  /// With the chunker of `other`, equal contents have equal chunks in both.
  public static func create(
    in store: any ObjectStore, password: [UInt8], host: [UInt8], at time: Timestamp,
    chunkerOf other: ResticRepository? = nil
  ) throws -> ResticRepository {
    do {
      guard try store.byteCount(of: .config) == nil else {
        throw Failure(.usage, "\(store.displayName) is a repository of restic already")
      }
      var id = [UInt8](repeating: 0, count: 32)
      for (index, byte) in try CurrentProcess.randomBytes(count: 32).enumerated() { id[index] = byte }
      let key = try MasterKey.random()
      let config = RepositoryConfig(id: Digest(id)!, polynomial: try other?.config.polynomial ?? Polynomial.random())
      let user = Array(accountName(ofUser: CurrentProcess.effectiveUser).utf8)
      let json = try KeyFile(of: key, password: password, user: user, host: host, at: time).json
      let keyID = SHA256().digest(of: json)
      try store.write(ObjectName(.keys, keyID), json)
      // restic stores the configuration without compression, so that any version can tell the version.
      try store.write(.config, key.sealer().seal(config.json))
      return ResticRepository(store, key: OpenedKey(key: key, id: keyID), config: config)
    } catch {
      throw error as? Failure ?? Failure(.failed, "cannot make the repository \(store.displayName): \(error)")
    }
  }

  /// The failure of a read, which names the damaged file.
  static func damage(of name: ObjectName, in store: any ObjectStore, because error: any Error) -> Failure {
    if let failure = error as? Failure { return failure }
    return Failure(
      .damaged, "the file \(name) of \(store.displayName) is damaged: \(error)",
      hint: "see: restic check --read-data")
  }

  func damage(of name: ObjectName, because error: any Error) -> Failure {
    Self.damage(of: name, in: store, because: error)
  }

  // MARK: Files that are no packs

  /// The largest file that is read as a whole.
  private static let mostFileBytes = 1 << 28

  /// The sealed text of a file whose content fits its name; `nil` if there is no such file.
  private func sealed(_ name: ObjectName) throws -> [UInt8]? {
    if let kept = cache?.read(name, limit: Self.mostFileBytes) { return kept }
    guard let sealed = try store.read(name, limit: Self.mostFileBytes) else { return nil }
    guard SHA256().digest(of: sealed) == name.id else { throw ResticError("its content does not fit its name") }
    cache?.keep(name, sealed)
    return sealed
  }

  /// The plain text of a snapshot or a lock; `nil` if there is no such file.
  func load(_ name: ObjectName) throws -> [UInt8]? {
    do {
      guard var sealed = try self.sealed(name) else { return nil }
      return try UnpackedText.decoded(try key.sealer().opened(&sealed))
    } catch { throw damage(of: name, because: error) }
  }

  /// Reads an index piece by piece. `blob` gets each blob of a pack, and `endOfPack` then the pack's ID.
  func readIndex(
    _ id: Digest, blob: (PackedBlob) throws -> Void, endOfPack: (Digest) throws -> Void
  ) throws {
    let name = ObjectName(.index, id)
    do {
      // The index may have been replaced after it was listed; its blobs are then in the new one, or gone.
      guard var sealed = try self.sealed(name) else {
        throw Failure(
          .failed, "the file \(name) of \(displayName) has vanished", hint: "another process works there; try again")
      }
      let text = try key.sealer().opened(&sealed)
      try IndexFile.read(UnpackedText.pieces(of: text), blob: blob, endOfPack: endOfPack)
    } catch { throw damage(of: name, because: error) }
  }

  /// Writes a file and returns its ID.
  @discardableResult
  func save(_ kind: ObjectKind, _ json: [UInt8]) throws -> Digest {
    try save(kind, encoded: UnpackedText.encoded(json, with: Compressor())).id
  }

  /// Writes an index of packs.
  @discardableResult
  func saveIndex(of packs: [(id: Digest, blobs: [PackedBlob])]) throws -> (id: Digest, byteCount: Int) {
    try save(.index, encoded: UnpackedText.encoded { try IndexFile.write(packs, to: $0) })
  }

  private func save(_ kind: ObjectKind, encoded: [UInt8]) throws -> (id: Digest, byteCount: Int) {
    let sealed = key.sealer().seal(encoded)
    let name = ObjectName(kind, SHA256().digest(of: sealed))
    try store.write(name, sealed)
    cache?.keep(name, sealed)
    return (name.id, sealed.count)
  }

  /// The IDs of all indexes, with their sizes in bytes.
  func indexes() throws -> [(id: Digest, byteCount: UInt64)] {
    let listed = try store.list(.index)
    // A damaged index at the server must be noticed before more relies on it.
    cache?.retain(
      .index, listed.map(\.id),
      sizes: Dictionary(listed.map { ($0.id, $0.byteCount) }, uniquingKeysWith: { first, _ in first }))
    return listed
  }

  // MARK: Snapshots

  /// A file below `snapshots/`, and the reason if it cannot be read.
  public struct FoundSnapshot: Sendable {
    public let id: Digest
    public let snapshot: Result<SnapshotFile, Failure>
  }

  /// Lets `snapshotFiles` list the snapshots anew, as they are under a lock.
  func forgetListing() { listedSnapshots.withLock { $0 = nil } }

  /// All snapshots, in the order of their IDs. One that is removed meanwhile is left out.
  public func snapshotFiles() throws -> [FoundSnapshot] {
    let listed = listedSnapshots.withLock { listed in
      defer { listed = nil }
      return listed
    }
    let ids = try (listed ?? store.list(.snapshots).map(\.id)).sorted { $0.bytes.lexicographicallyPrecedes($1.bytes) }
    cache?.retain(.snapshots, ids)
    return try ids.compactMap { id in
      let name = ObjectName(.snapshots, id)
      do {
        guard let json = try load(name) else { return nil }
        do { return FoundSnapshot(id: id, snapshot: .success(try SnapshotFile(json: json))) } catch {
          throw damage(of: name, because: error)
        }
      } catch let failure as Failure {
        guard failure.kind == .damaged else { throw failure }
        return FoundSnapshot(id: id, snapshot: .failure(failure))
      }
    }
  }

  // MARK: Packs

  /// Reads the list of blobs at the end of a pack.
  func header(ofPack id: Digest, byteCount: UInt64) throws -> [PackedBlob] {
    let name = ObjectName(.data, id)
    do {
      let lengthBytes = UInt64(PackHeader.lengthBytes)
      guard byteCount >= lengthBytes else { throw ResticError("it is cut off") }
      let field = try store.read(name, at: byteCount - lengthBytes, count: PackHeader.lengthBytes)
      guard let field else { throw ResticError("it is missing") }
      let sealedBytes = try PackHeader.sealedBytes(lengthField: field, packBytes: byteCount)
      let start = byteCount - lengthBytes - UInt64(sealedBytes)
      guard let sealed = try store.read(name, at: start, count: sealedBytes), sealed.count == sealedBytes else {
        throw ResticError("it is cut off")
      }
      guard let header = key.sealer().open(sealed) else { throw ResticError("the code of its header is wrong") }
      return try PackHeader.decoded(header, blobBytes: start)
    } catch { throw damage(of: name, because: error) }
  }
}
