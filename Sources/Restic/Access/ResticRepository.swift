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
  /// Limits the reading of blobs.
  let readLimiter: SharedRateLimiter?
  /// True if this program removes nothing there, also no lock file.
  public let isAppendOnly: Bool

  /// The first trees that were read. A look at one file reads those on its way several times.
  let firstTrees = Mutex<(trees: [Digest: [UInt8]], byteCount: Int)>(([:], 0))
  private static let mostTreeBytes = 1 << 20

  func keep(tree: Digest, _ plain: [UInt8]) {
    firstTrees.withLock {
      guard $0.byteCount + plain.count <= Self.mostTreeBytes, $0.trees.updateValue(plain, forKey: tree) == nil else {
        return
      }
      $0.byteCount += plain.count
    }
  }

  /// The repository's ID, for caches.
  public var id: Digest { config.id }
  public var displayName: String { store.displayName }

  private init(
    _ store: any ObjectStore, key: MasterKey, keyID: Digest, config: RepositoryConfig, isAppendOnly: Bool = false,
    readBytesPerSecond: UInt64? = nil
  ) {
    (self.store, self.key, self.keyID, self.config) = (store, key, keyID, config)
    self.isAppendOnly = isAppendOnly
    readLimiter = readBytesPerSecond.map { SharedRateLimiter(bytesPerSecond: $0) }
  }

  /// Opens a repository with one of its passwords. At most `readBytesPerSecond` bytes of blobs are read in a second.
  public static func open(
    _ store: any ObjectStore, password: [UInt8], isAppendOnly: Bool = false, readBytesPerSecond: UInt64? = nil
  ) throws -> ResticRepository {
    try open(store, isAppendOnly: isAppendOnly, readBytesPerSecond: readBytesPerSecond) {
      try findKey(in: store, password: password)
    }
  }

  /// Opens a repository. `findKey` is called if there is one, and returns the master key and its file.
  static func open(
    _ store: any ObjectStore, isAppendOnly: Bool = false, readBytesPerSecond: UInt64? = nil,
    findKey: () throws -> (MasterKey, Digest)
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
    let (key, keyID) = try findKey()
    do {
      guard let opened = key.sealer().open(sealed) else {
        guard keyID == exportedKeyID else { throw ResticError("its code is wrong") }
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
      store, key: key, keyID: keyID, config: config, isAppendOnly: isAppendOnly, readBytesPerSecond: readBytesPerSecond)
  }

  /// The ID of a key that came from no key file.
  static let exportedKeyID = Digest(words: (0, 0, 0, 0))

  private static let configBytes = 1 << 16

  /// The most key files that are tried. Each costs a part of a second.
  private static let mostKeys = 100

  private static func findKey(in store: any ObjectStore, password: [UInt8]) throws -> (MasterKey, Digest) {
    var damaged: (any Error)?
    let files = try store.list(.keys).sorted { $0.id.bytes.lexicographicallyPrecedes($1.id.bytes) }
    guard files.count <= mostKeys else {
      throw Failure(.damaged, "\(store.displayName) has \(files.count) keys, and not at most \(mostKeys)")
    }
    for (id, _) in files {
      let name = ObjectName(.keys, id)
      do {
        guard let json = try store.read(name, limit: KeyFile.mostBytes) else { continue }
        if let key = try KeyFile(json: json).open(password: password) { return (key, id) }
        guard SHA256().digest(of: json) == id else { throw ResticError("its content does not fit its name") }
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
      return ResticRepository(store, key: key, keyID: keyID, config: config)
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

  /// The plain text of an index, a snapshot or a lock; `nil` if there is no such file.
  func load(_ name: ObjectName) throws -> [UInt8]? {
    do {
      guard let sealed = try store.read(name, limit: Self.mostFileBytes) else { return nil }
      guard SHA256().digest(of: sealed) == name.id else { throw ResticError("its content does not fit its name") }
      guard let opened = key.sealer().open(sealed) else { throw ResticError("its code is wrong") }
      return try UnpackedText.decoded(opened)
    } catch { throw damage(of: name, because: error) }
  }

  /// Writes a file and returns its ID.
  @discardableResult
  func save(_ kind: ObjectKind, _ json: [UInt8]) throws -> Digest {
    let sealed = key.sealer().seal(UnpackedText.encoded(json, with: Compressor()))
    let id = SHA256().digest(of: sealed)
    try store.write(ObjectName(kind, id), sealed)
    return id
  }

  // MARK: Snapshots

  /// A file below `snapshots/`, and the reason if it cannot be read.
  public struct FoundSnapshot: Sendable {
    public let id: Digest
    public let snapshot: Result<SnapshotFile, Failure>
  }

  /// All snapshots, in the order of their IDs. One that is removed meanwhile is left out.
  public func snapshotFiles() throws -> [FoundSnapshot] {
    let ids = try store.list(.snapshots).map(\.id).sorted { $0.bytes.lexicographicallyPrecedes($1.bytes) }
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
