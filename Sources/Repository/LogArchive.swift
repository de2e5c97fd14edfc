internal import Catalog
public import Model
public import Posix
public import Retention

/// A directory of log files, such as the segments of a write-ahead log. A stored file never changes.
///
/// The file of a name is a zstd frame, and a skippable frame with the size and the SHA-256 of the plain bytes (RFC
/// 8878). So zstd(1) reads it, too.
public struct LogArchive: Sendable {
  /// The path as given, for messages.
  public let path: [UInt8]
  let directory: Directory
  /// The owner of the directory, who must be able to continue whichever user stored a file.
  private let owner: ControlOwner

  private static let suffix = Array(".zst".utf8)
  private static let temporary = Array(".new".utf8)
  private static let lockName = Array(".lock".utf8)

  /// Opens the directory that the operator named. It must exist, because a missing disk must not be replaced.
  public init(at path: [UInt8]) throws(Failure) {
    do { try self.init(Directory(try Descriptor.open(path: path, [.read, .directory])), path: path) } catch {
      if let failure = error as? Failure { throw failure }
      throw Failure(
        .failed, "cannot open the archive \(displayName(path)): \(error)", path: path,
        hint: (error as? Errno)?.meansAbsence == true
          ? "is its disk mounted? A new archive is made with: install -d -m 700 -o ACCOUNT \(displayName(path))" : nil)
    }
  }

  /// An archive in an open directory, which no other account may enter.
  public init(_ directory: Directory, path: [UInt8]) throws(Failure) {
    (self.directory, self.path) = (directory, path)
    let status: FileStatus
    let hasACL: Bool
    do {
      (status, hasACL) = (try directory.descriptor.status(), try directory.descriptor.hasAccessACL())
    } catch { throw .writing("look at the archive", at: path, because: error) }
    owner = ControlOwner(user: status.user, group: status.group)
    guard status.permissions & 0o077 == 0, !hasACL else {
      throw Failure(
        .refused, "other accounts may enter the archive \(displayName(path)), and logs hold all data", path: path,
        hint: "make it private: chmod 700 \(displayName(path))")
    }
  }

  /// True for the name of a log: letters, digits, `.`, `_` and `-`, with a letter or digit first.
  public static func isName(_ name: [UInt8]) -> Bool {
    guard let first = name.first, name.count <= 200 else { return false }
    return isAlphanumeric(first) && name.allSatisfy { isAlphanumeric($0) || "._-".utf8.contains($0) }
  }

  // MARK: Looking

  /// The names of all logs, in the order of their bytes.
  public func names() throws(Failure) -> [[UInt8]] {
    do {
      // A listing moves the position of its descriptor.
      let names = try Directory(try directory.descriptor.reopenDirectory()).names()
      let suffix = Self.suffix
      return names.compactMap { name in
        guard name.suffix(suffix.count).elementsEqual(suffix) else { return nil }
        let log = Array(name.dropLast(suffix.count))
        return Self.isName(log) ? log : nil
      }.sorted { $0.lexicographicallyPrecedes($1) }
    } catch { throw .writing("read the archive", at: path, because: error) }
  }

  /// The facts of a stored log, from its end; the content is not read. `nil` if there is no such log.
  public func facts(of name: [UInt8]) throws(Failure) -> LogFacts? {
    guard let file = try openStored(name) else { return nil }
    return try file.facts
  }

  /// The time at which a log was stored. `nil` if there is no such log.
  public func storedTime(of name: [UInt8]) throws(Failure) -> Timestamp? {
    do { return try directory.descriptor.statusIfPresent(of: fileName(of: name).span)?.modified } catch {
      throw .writing("look at", at: path(of: name), because: error)
    }
  }

  /// Notes that nothing is to be stored after a log: its `storedTime` becomes now.
  public func confirm(_ name: [UInt8]) throws(Failure) {
    try check(name)
    do { try directory.descriptor.open(fileName(of: name).span, .read).setModificationTime(Clock.now()) } catch {
      throw .writing("note the time of", at: path(of: name), because: error)
    }
  }

  /// Passes on the plain bytes of a log. False if there is no such log.
  ///
  /// Throws `damaged` if the bytes are not those that were stored. The receiver may have got them by then, so it must
  /// wait for the end before it uses them.
  public func read(
    _ name: [UInt8], into receiver: (UnsafeRawBufferPointer) throws -> Void
  ) throws(Failure) -> Bool {
    guard let file = try openStored(name) else { return false }
    try file.read(into: receiver)
    return true
  }

  /// Passes on the file of a log as it is stored. False if there is no such log.
  public func readStored(
    _ name: [UInt8], into receiver: (UnsafeRawBufferPointer) throws -> Void
  ) throws(Failure) -> Bool {
    guard let file = try openStored(name) else { return false }
    do { try file.file.descriptor.forEachPiece(upTo: file.size, body: receiver) } catch {
      throw .writing("read", at: path(of: name), because: error)
    }
    return true
  }

  /// Puts the plain bytes of a log at a path of the operator, whole and durable. False if there is no such log.
  ///
  /// An existing file is replaced.
  public func fetch(_ name: [UInt8], to path: [UInt8]) throws(Failure) -> Bool {
    guard let file = try openStored(name) else { return false }
    try file.put(at: path)
    return true
  }

  /// The first plain bytes of a log, without a check of the rest. `nil` if there is no such log.
  public func head(of name: [UInt8], byteCount: Int) throws(Failure) -> [UInt8]? {
    var head: [UInt8] = []
    do {
      let isThere = try read(name) { piece in
        head += piece.prefix(byteCount - head.count)
        if head.count == byteCount { throw Errno.fileTooLarge }
      }
      return isThere ? head : nil
    } catch {
      guard head.count == byteCount else { throw error }
      return head
    }
  }

  private func openStored(_ name: [UInt8]) throws(Failure) -> StoredLog? {
    try check(name)
    do {
      return try StoredLog(try directory.descriptor.openToRead(fileName(of: name).span), path: path(of: name))
    } catch {
      if let error = error as? Errno, error == .noSuchEntry { return nil }
      throw .writing("read", at: path(of: name), because: error)
    }
  }

  private func check(_ name: [UInt8]) throws(Failure) {
    guard Self.isName(name) else { throw Failure(.usage, "\"\(displayName(name))\" is not the name of a log") }
  }

  private func fileName(of name: [UInt8]) -> [UInt8] { name + Self.suffix }
  private func path(of name: [UInt8]) -> [UInt8] { path + [slash] + fileName(of: name) }

  // MARK: Storing

  public enum Outcome: Sendable, Equatable {
    case stored
    /// The archive had the same content already.
    case present
  }

  /// Stores an open file under a name. It is durable when the call returns.
  ///
  /// A log of this name with other content is refused. Another process may be storing; the call waits for it.
  public func store(
    _ source: SharedFile, as name: [UInt8], waitingSeconds: Double = .infinity
  ) throws(Failure) -> Outcome {
    try store(name, waitingSeconds: waitingSeconds) { present in
      let (hasher, size) = (SHA256(), try source.descriptor.status().size)
      guard present == nil else {
        try source.descriptor.forEachPiece(upTo: size) { hasher.update($0) }
        return LogFacts(byteCount: size, digest: hasher.finish())
      }
      try check(
        SystemIdentifier(segment: source.descriptor.read(at: 0, count: SystemIdentifier.segmentHeadBytes)), of: name)
      return try add(name) { file in
        let output = StreamCompressor(level: 3, windowLog: 21) { try file.descriptor.write($0) }
        try source.descriptor.forEachPiece(upTo: size) {
          hasher.update($0)
          try output.write($0)
        }
        try output.finish()
        let facts = LogFacts(byteCount: size, digest: hasher.finish())
        try file.descriptor.write(facts.trailer)
        return facts
      }
    }
  }

  /// Stores the bytes of `readStored`, which `send` passes to its argument. Damaged bytes are refused.
  public func storeAsStored(
    _ name: [UInt8], from send: (_ sink: (UnsafeRawBufferPointer) throws -> Void) throws -> Void
  ) throws(Failure) -> Outcome {
    try store(name, waitingSeconds: 60) { present in
      // The present log is compared by its facts, which a stored file has at its end.
      try add(name, publishes: present == nil) { file in
        try send { try file.descriptor.write($0) }
        let stored = try StoredLog(try file.descriptor.duplicate(), path: path(of: name))
        var head: [UInt8] = []
        try stored.read { if head.isEmpty { head = Array($0.prefix(SystemIdentifier.segmentHeadBytes)) } }
        try check(SystemIdentifier(segment: head), of: name)
        return try stored.facts
      }
    }
  }

  /// Lets `add` return the facts of the new content, and compares them with those of the present log.
  private func store(
    _ name: [UInt8], waitingSeconds: Double, add: (_ present: LogFacts?) throws -> LogFacts
  ) throws(Failure) -> Outcome {
    try check(name)
    do {
      let lock = try lock(waitingSeconds: waitingSeconds)
      return try withExtendedLifetime(lock) {
        guard let present = try openStored(name) else {
          _ = try add(nil)
          return .stored
        }
        guard try add(try present.facts) == present.facts else {
          throw Failure(
            .refused, "the archive \(displayName(path)) has another \(displayName(name)) already", path: path(of: name),
            hint: "do two servers use one archive, or two recoveries of one server? Give each its own")
        }
        // The content must be what its digest says, and on the disk, before the server forgets its own.
        try present.read { _ in }
        try present.file.descriptor.synchronize()
        try directory.descriptor.synchronize()
        return .present
      }
    } catch {
      var failure = Failure.writing("store", at: path(of: name), because: error)
      if failure.kind == .noSpace { failure.hint = "free some space on the archive's file system" }
      throw failure
    }
  }

  // MARK: The server

  private static let systemName = Array(".system".utf8)

  /// The server whose write-ahead log this is; `nil` as long as it has no segment.
  public func systemIdentifier() throws(Failure) -> SystemIdentifier? {
    let text: [UInt8]
    do { text = try directory.descriptor.openToRead(Self.systemName.span).readToEnd(limit: 64) } catch {
      guard error == .noSuchEntry else { throw .writing("read", at: path + [slash] + Self.systemName, because: error) }
      return nil
    }
    guard let found = SystemIdentifier(String(decoding: text, as: UTF8.self).prefix { $0 != "\n" }) else {
      throw Failure(
        .damaged, "\(displayName(path))/.system is damaged", hint: "remove it: it is made again with the next segment")
    }
    return found
  }

  /// Refuses a segment of another server than those before. The caller holds the lock.
  private func check(_ found: SystemIdentifier?, of name: [UInt8]) throws {
    guard let found, LogFile(name, segmentBytes: 1 << 20)?.isOfLog == true else { return }
    if let known = try systemIdentifier() {
      guard known != found else { return }
      throw Failure(
        .refused,
        "the archive \(displayName(path)) has the log of another server: its system identifier is \(known), and that of "
          + "\(displayName(name)) is \(found)", path: path,
        hint: "give a server that initdb made anew an archive of its own")
    }
    try write(Array("\(found)\n".utf8), as: Self.systemName)
  }

  // MARK: The repository

  private static let repositoryName = Array(".repository".utf8)

  /// True if the dumps of a repository decide which logs are needed. The archive keeps the ID of the first one that
  /// asked: without the dumps of that one, another would remove what they need.
  public func isKept(for repository: [UInt8]) throws(Failure) -> Bool {
    let held: SharedFile
    do { held = try lock(waitingSeconds: 10) } catch { throw .writing("lock", at: path, because: error) }
    defer { withExtendedLifetime(held) {} }
    do {
      let known = try directory.descriptor.openToRead(Self.repositoryName.span).readToEnd(limit: 64)
      return known.prefix { $0 != UInt8(ascii: "\n") }.elementsEqual(repository)
    } catch {
      guard error == .noSuchEntry
      else { throw .writing("read", at: path + [slash] + Self.repositoryName, because: error) }
    }
    do { try write(repository + [UInt8(ascii: "\n")], as: Self.repositoryName) } catch {
      throw .writing("note the repository in the archive", at: path, because: error)
    }
    return true
  }

  /// Writes a small file of the archive itself, whole and durable.
  private func write(_ text: [UInt8], as name: [UInt8]) throws {
    let temporary = TemporaryFile(named: name + Self.temporary, in: directory)
    try temporary.write { file in
      try owner.give(file.descriptor)
      try file.descriptor.write(text)
    } publish: { () throws(Errno) in
      try directory.descriptor.rename(temporary.name.span, to: directory.descriptor, as: name.span, replacing: true)
    }
  }

  /// Writes a temporary file, and gives it its name when it is durable. The caller holds the lock.
  private func add(
    _ name: [UInt8], publishes: Bool = true, write: (SharedFile) throws -> LogFacts
  ) throws -> LogFacts {
    let temporary = TemporaryFile(named: Self.temporary, in: directory)
    return try temporary.write { file in
      try owner.give(file.descriptor)
      return try write(file)
    } publish: { () throws(Errno) in
      if !publishes { return try temporary.remove() }
      let name = fileName(of: name)
      try directory.descriptor.rename(temporary.name.span, to: directory.descriptor, as: name.span)
    }
  }

  /// The lock of all writers of this archive. The end of the process releases it, too.
  private func lock(waitingSeconds: Double) throws -> SharedFile {
    let file = try openLock()
    let start = Clock.monotonic()
    while true {
      do {
        try file.lockExclusively()
        return SharedFile(file)
      } catch {
        guard error == .wouldBlock else { throw error }
        if let signal = CurrentProcess.rememberedSignal { throw Failure(.interrupted(signal: signal), "interrupted") }
        guard Clock.monotonic() - start < waitingSeconds
        else { throw Failure(.locked, "another process stores into the archive \(displayName(path))", path: path) }
        CurrentProcess.sleep(milliseconds: 20)
      }
    }
  }

  private func openLock() throws(Errno) -> Descriptor {
    let (name, flags) = (Self.lockName, OpenFlags([.readWrite, .nonBlocking]))
    do { return try directory.descriptor.open(name.span, flags) } catch {
      guard error == .noSuchEntry else { throw error }
    }
    do {
      let file = try directory.descriptor.open(name.span, [flags, .create, .exclusive], mode: 0o600)
      try owner.give(file)
      return file
    } catch {
      // Another process was faster.
      guard error == .exists else { throw error }
      return try directory.descriptor.open(name.span, flags)
    }
  }

  // MARK: Removal

  /// Removes logs. A missing one is no error.
  public func remove(_ names: [[UInt8]]) throws(Failure) {
    for name in names {
      try check(name)
      do { try directory.descriptor.unlink(fileName(of: name).span) } catch {
        guard error == .noSuchEntry else { throw .writing("remove", at: path(of: name), because: error) }
      }
    }
    guard !names.isEmpty else { return }
    do { try directory.descriptor.synchronize() } catch {
      throw .writing("remove logs of the archive", at: path, because: error)
    }
  }
}
