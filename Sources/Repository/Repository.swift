public import Catalog
public import Posix
internal import Settings
internal import Synchronization

/// An open repository: the directory that holds the snapshots, and `.treering` inside it.
public final class Repository: Sendable {
  /// The path as the operator gave it; only for messages.
  public let path: [UInt8]
  public let root: Directory
  public let control: Directory
  /// 32 hexadecimal digits.
  public let id: [UInt8]
  /// Device and inode of the root. A walk of a source never descends into this directory, by any path.
  public let identity: FileStatus
  /// The owner of `.treering` and of all entries in it.
  public let owner: (user: UInt32, group: UInt32)
  /// True after a failed `syncfs`. From then on, not even the directories of an unpublished tree can be reused.
  let hasLostWrites = Atomic<Bool>(false)
  /// The inode of a spare that no process reads.
  let unreadSpare = Mutex<UInt64?>(nil)
  /// Failures of housekeeping: deletions, and leftovers of interrupted runs. They never end a run.
  private let troubles = Mutex<[Trouble]>([])

  public static let controlName = Array(".treering".utf8)
  static let markName = Array("repository.toml".utf8)
  static let lockName = Array("lock".utf8)
  static let catalogsName = Array("catalogs".utf8)
  static let pendingName = Array("pending".utf8)
  static let trashName = Array("trash".utf8)
  static let spareName = Array("spare".utf8)
  static let retentionName = Array("retention".utf8)
  static let latestName = Array("latest".utf8)
  static let releasedName = Array("released".utf8)
  static let rotationHoldName = Array("rotation-held".utf8)
  static let historyName = Array("history.jsonl".utf8)

  private init(
    path: [UInt8], root: Directory, control: Directory, id: [UInt8], identity: FileStatus, owner: FileStatus
  ) {
    self.owner = (owner.user, owner.group)
    self.path = path
    self.root = root
    self.control = control
    self.id = id
    self.identity = identity
  }

  /// Opens an existing repository.
  public static func open(_ path: [UInt8]) throws(Failure) -> Repository {
    let shown = displayName(path)
    let root: Directory
    do {
      root = Directory(try Descriptor.open(path: path, [.read, .directory]))
    } catch {
      let hint: String? =
        switch error {
        case .noSuchEntry: "is its disk mounted? A new repository is made with: treering init \(shown)"
        case .accessDenied where CurrentProcess.effectiveUser != 0:
          "run as the user who owns the repository, or as root"
        default: nil
        }
      throw Failure(.usage, "cannot open the repository \(shown): \(error)", hint: hint)
    }
    let text: [UInt8]
    let control: Directory
    do {
      control = try root.directory(controlName.span)
      text = try control.descriptor.openToRead(markName.span).readToEnd(limit: 1 << 16)
    } catch {
      if error == .noSuchEntry || error == .notADirectory {
        if let inner = repositoryInside(root) {
          throw Failure(
            .usage, "\(shown) is not a repository itself, but holds repositories",
            hint: "name one, such as \(displayName(path + [UInt8(ascii: "/")] + inner))")
        }
        throw Failure(
          .usage, "\(shown) is not a repository: it has no .treering/repository.toml",
          hint: "is its disk mounted? A directory that never was one becomes one with: treering init \(shown)")
      }
      throw Failure(.usage, "cannot open the repository \(shown): \(error)")
    }
    let mark: RepositoryMark
    do { mark = try RepositoryMark(text: String(decoding: text, as: UTF8.self)) } catch {
      throw Failure(.damaged, "\(shown)/.treering/repository.toml cannot be read: \(error)")
    }
    guard mark.version <= RepositoryMark.currentVersion else {
      throw Failure(
        .usage,
        "the repository \(shown) has format \(mark.version), and this treering knows formats up "
          + "to \(RepositoryMark.currentVersion)",
        hint: "use a newer treering")
    }
    do {
      return Repository(
        path: path, root: root, control: control, id: Array(mark.id.utf8),
        identity: try root.descriptor.status(), owner: try control.descriptor.status())
    } catch { throw Failure(.usage, "cannot open the repository \(shown): \(error)") }
  }

  /// The name of the first repository in a directory.
  private static func repositoryInside(_ directory: Directory) -> [UInt8]? {
    var listing = DirectoryListing()
    guard (try? listing.read(directory.descriptor.reopenDirectory())) != nil else { return nil }
    let names = listing.entries.prefix(1000).map { Array(listing.bytes[$0.range]) }
    return names.sorted { $0.lexicographicallyPrecedes($1) }.first { name in
      let control = try? directory.directory(name.span).directory(controlName.span)
      return (try? control?.descriptor.status(of: markName.span)) != nil
    }
  }

  /// Creates a repository in a new or an empty directory.
  public static func initialize(_ path: [UInt8], at time: Timestamp) throws(Failure) -> Repository {
    let shown = displayName(path)
    do {
      let (parent, name) = splitLast(path)
      let existing: Descriptor?
      var above = parent
      do {
        existing = try Descriptor.open(path: path, [.read, .directory])
        above = path + Array("/..".utf8)
      } catch {
        guard error == .noSuchEntry, !name.isEmpty else { throw error }
        existing = nil
      }
      if try isInside(try Descriptor.open(path: above, [.pathOnly, .directory])) {
        throw Failure(
          .usage, "\(shown) is in a repository, where nothing may change", hint: "name another directory")
      }
      let root: Directory
      var isNew = false
      if let existing {
        root = Directory(existing)
      } else {
        let directory = try Descriptor.open(path: parent, [.read, .directory])
        try directory.makeDirectory(name.span, mode: 0o700)
        try directory.synchronize()
        root = try Directory(directory).directory(name.span)
        isNew = true
      }
      var listing = DirectoryListing()
      try listing.read(root.descriptor)
      for entry in listing.entries {
        let name = Array(listing.bytes[entry.range])
        // A new ext4 file system has `lost+found`. A half-made repository is completed.
        if name == Array("lost+found".utf8) || name == probeName { continue }
        if name == controlName, try root.directory(name.span).descriptor.statusIfPresent(of: markName.span) == nil {
          continue
        }
        if name == controlName {
          throw Failure(.usage, "\(shown) is already a repository")
        }
        throw Failure(
          .usage, "\(shown) is not empty: it holds \(displayName(name))",
          hint: "name an empty or a new directory")
      }
      do { _ = try probe(root, path) } catch {
        if isNew, error.kind == .refused {
          try? Descriptor.open(path: parent, [.read, .directory]).removeDirectory(name.span)
        }
        throw error
      }
      try root.descriptor.setPermissions(0o700)
      try makeIfMissing(controlName, in: root.descriptor)
      let control = try root.directory(controlName.span)
      for name in [catalogsName, pendingName, spareName, trashName] {
        try makeIfMissing(name, in: control.descriptor)
      }
      let id = try CurrentProcess.randomBytes(16)
      let hex = Array("0123456789abcdef".utf8)
      let mark = RepositoryMark(
        version: RepositoryMark.currentVersion,
        id: String(decoding: id.flatMap { [hex[Int($0 >> 4)], hex[Int($0 & 15)]] }, as: UTF8.self),
        created: CalendarTime(seconds: time.seconds).rfc3339)
      // `repository.toml` is written last and atomically; before that the repository does not exist.
      let temporary = markName + Array(".new".utf8)
      let file = try control.descriptor.open(
        temporary.span, [.write, .create, .truncate], mode: 0o600)
      try file.write(Array(mark.text.utf8))
      try file.synchronize()
      try file.close()
      try control.descriptor.rename(
        temporary.span, to: control.descriptor, as: markName.span, replacing: true)
      try control.descriptor.synchronize()
      try root.descriptor.synchronize()
    } catch let failure as Failure {
      throw failure
    } catch let error as Errno {
      let hint: String? =
        error == .noSuchEntry ? "the directory above it must exist: is its disk mounted?" : nil
      var failure = Failure.writing("make the repository", path, error)
      failure.kind = error.meansNoRoom ? .noSpace : .usage
      failure.hint = hint ?? failure.hint
      throw failure
    } catch { throw Failure(.failed, "cannot make the repository \(shown): \(error)") }
    return try open(path)
  }

  private static func makeIfMissing(_ name: [UInt8], in directory: borrowing Descriptor) throws(Errno) {
    do { try directory.makeDirectory(name.span, mode: 0o700) } catch {
      guard error == .exists else { throw error }
    }
  }

  /// True if a directory is inside any repository.
  ///
  /// Both its parents and the directories above the roots of the mounts on the way count.
  public static func isInside(_ directory: borrowing Descriptor) throws(Errno) -> Bool {
    try isMarked(upFrom: directory) { isInRepository(mount: $0) ? true : nil }
  }

  /// True if a directory or one of its parents holds a repository.
  ///
  /// `leaving` is called when the way up leaves a mount. Its answer ends the search; `nil` continues it.
  static func isMarked(
    upFrom directory: borrowing Descriptor, leaving: (_ mount: UInt64) -> Bool?
  ) throws(Errno) -> Bool {
    var status = try directory.status()
    var here = Directory(try directory.reopenPath())
    while true {
      if isRepository(here) { return true }
      let above = Directory(try here.descriptor.parentDirectory())
      let next = try above.descriptor.status()
      let isTop = next.inode == status.inode && next.device == status.device
      if isTop || next.mount != status.mount, let answer = leaving(status.mount) { return answer }
      if isTop { return false }
      (status, here) = (next, above)
    }
  }

  /// True if a directory holds a repository.
  public static func isRepository(_ directory: Directory) -> Bool {
    guard let control = try? directory.directory(controlName.span) else { return false }
    return (try? control.descriptor.status(of: markName.span))?.kind == .regular
  }

  // MARK: Ownership: all files in `.treering` belong to the repository's owner

  /// True if root works in another user's repository.
  private var isOtherUsers: Bool { CurrentProcess.effectiveUser == 0 && owner.user != 0 }

  /// Gives a file that root created to the repository's owner, who must be able to continue with it.
  func giveToOwner(_ made: borrowing Descriptor) throws(Errno) {
    guard isOtherUsers else { return }
    do { try made.setOwner(user: owner.user, group: owner.group) } catch {
      // A file system that maps owners gives all files the same owner, so the error does not matter.
      guard error.meansNoPermission || error == .invalid else { throw error }
    }
  }

  /// Opens a file of `.treering` for writing, and creates it if it is missing.
  func openFile(
    _ name: [UInt8], in directory: borrowing Descriptor, _ flags: OpenFlags
  ) throws(Errno) -> Descriptor {
    if !flags.contains(.exclusive) {
      do { return try openExisting(name, in: directory, flags) } catch {
        guard error == .noSuchEntry else { throw error }
      }
    }
    let file = try directory.open(name.span, flags.union([.create, .exclusive]), mode: 0o600)
    try giveToOwner(file)
    return file
  }

  private func openExisting(
    _ name: [UInt8], in directory: borrowing Descriptor, _ flags: OpenFlags
  ) throws(Errno) -> Descriptor {
    let file = try directory.open(name.span, flags.subtracting(.truncate).union(.nonBlocking))
    if isOtherUsers {
      // The user may have made this a hard link to a file that only root may write.
      let status = try file.status()
      guard status.kind == .regular, status.linkCount == 1, status.user == owner.user || status.user == 0 else {
        throw .notPermitted
      }
    }
    if flags.contains(.truncate) { try file.setLength(0) }
    return file
  }

  /// Creates a directory of `.treering`, or a set's directory of links, if it is missing.
  func makeDirectory(_ name: [UInt8], in directory: borrowing Descriptor, mode: UInt32 = 0o700) throws(Errno) {
    do { try directory.makeDirectory(name.span, mode: mode) } catch {
      guard error == .exists else { throw error }
      return
    }
    try giveToOwner(try directory.openDirectory(name.span))
  }

  /// Notes a problem below `.treering` that must not end the run. The caller of the run reads it with `takeTroubles`.
  public func note(_ place: [[UInt8]], _ what: String, _ reason: String) {
    let place = ([path, Self.controlName] + place).joined(separator: [UInt8(ascii: "/")])
    let trouble = Trouble(path: Array(place), message: "\(what): \(reason)")
    troubles.withLock { troubles in
      if !troubles.contains(trouble) { troubles.append(trouble) }
    }
  }

  /// Notes the failure of an entire step.
  public func note(_ failure: Failure) {
    let trouble = Trouble(path: path, message: failure.description)
    troubles.withLock { troubles in
      if !troubles.contains(trouble) { troubles.append(trouble) }
    }
  }

  /// Returns and clears the noted problems. Each becomes a warning.
  public func takeTroubles() -> [Trouble] {
    troubles.withLock { troubles in
      let taken = troubles
      troubles = []
      return taken
    }
  }

  /// True if a directory is the repository or is inside it, by any path.
  public func contains(_ directory: borrowing Descriptor) throws(Errno) -> Bool {
    let mounts = innerMounts()
    var status = try directory.status()
    var above = try directory.parentDirectory()
    while true {
      if status.inode == identity.inode && status.device == identity.device { return true }
      // From the root of a bind mount, the parents are outside the repository.
      if mounts.contains(status.mount) { return true }
      let next = try above.status()
      if next.inode == status.inode && next.device == status.device { return false }
      status = next
      above = try above.parentDirectory()
    }
  }

  func directory(_ name: [UInt8]) throws(Failure) -> Directory {
    do { return try control.directory(name.span) } catch {
      throw Failure(
        .failed,
        "cannot open \(displayName(path))/.treering/\(displayName(name)): \(error)")
    }
  }

  /// Locks the repository for one writer. The end of the process also releases the lock.
  public func lock(command: String, at time: Timestamp) throws(Failure) -> RepositoryLock {
    do {
      let file = try openFile(Self.lockName, in: control.descriptor, .readWrite)
      do { try file.lockExclusively() } catch {
        guard error == .wouldBlock else { throw error }
        let holder = (try? file.readToEnd(limit: 4096)) ?? []
        let said = holder.isEmpty ? "another process" : displayName(holder.filter { $0 != 10 })
        throw Failure(
          .locked, "the repository \(displayName(path)) is in use by \(said)",
          hint: "wait for it to end")
      }
      try file.setLength(0)
      // These directories are empty between runs, so the operator may have removed them.
      for name in [Self.pendingName, Self.spareName, Self.trashName] {
        try makeDirectory(name, in: control.descriptor)
      }
      let since = CalendarTime(seconds: time.seconds).rfc3339
      try file.write(Array("treering \(command), process \(CurrentProcess.identifier), since \(since)\n".utf8))
      return RepositoryLock(file)
    } catch let failure as Failure {
      throw failure
    } catch let error as Errno {
      throw .writing("lock the repository", path, error)
    } catch { throw Failure(.failed, "cannot lock the repository: \(error)") }
  }

  /// Runs `body` with the repository locked for one writer.
  ///
  /// With `waiting`, a lock held by another process is awaited. `waiting` is called repeatedly, and it ends the wait if
  /// it throws.
  public func whileLocked<R>(
    _ command: String, at time: Timestamp, waiting: (() throws -> Void)? = nil, _ body: () throws -> R
  ) throws -> R {
    try lock(command, at: time, waiting: waiting).hold(body)
  }

  private func lock(
    _ command: String, at time: Timestamp, waiting: (() throws -> Void)?
  ) throws -> RepositoryLock {
    while true {
      do { return try lock(command: command, at: time) } catch {
        guard let waiting, error.kind == .locked else { throw error }
        try waiting()
        CurrentProcess.sleep(milliseconds: 100)
      }
    }
  }

  /// The last lines of `history.jsonl`, at most `byteCount` bytes.
  public func historyTail(byteCount: Int) throws(Failure) -> [UInt8] {
    do throws(Errno) {
      let file = try control.descriptor.openToRead(Self.historyName.span)
      let size = try file.status().size
      let start = size - min(size, UInt64(byteCount))
      let bytes = try file.read(at: start, count: byteCount)
      return start == 0 ? bytes : Array(bytes.drop { $0 != UInt8(ascii: "\n") })
    } catch {
      if error == .noSuchEntry { return [] }
      throw Failure(.failed, "cannot read \(displayName(path))/.treering/history.jsonl: \(error)")
    }
  }

  /// Appends one line to `history.jsonl`.
  public func appendHistory(_ line: String) throws(Failure) {
    do {
      let file = try openFile(Self.historyName, in: control.descriptor, [.readWrite, .append])
      let newline = UInt8(ascii: "\n")
      // A crash may have left an incomplete last line. It stays a separate line.
      let size = try file.status().size
      let isTorn = try size > 0 && file.read(at: size - 1, count: 1) != [newline]
      try file.write((isTorn ? [newline] : []) + Array(line.utf8) + [newline])
      try file.close()
    } catch { throw .writing("record the run in the history of", path, error) }
  }
}

/// A housekeeping problem in a repository, and its reason.
public struct Trouble: Sendable, Hashable, CustomStringConvertible {
  public var path: [UInt8]
  public var message: String

  public var description: String { "\(displayName(path)): \(message)" }
}

/// The lock of the process that writes to a repository.
public final class RepositoryLock: Sendable {
  private let file: Descriptor
  init(_ file: consuming Descriptor) { self.file = file }

  /// Holds the lock until the end of `body`, and not until the last reference goes away.
  public func hold<R>(_ body: () throws -> R) rethrows -> R {
    try withExtendedLifetime(self, body)
  }
}

/// Splits a path into its parent and its last component, which is empty for `/`.
public func splitLast(_ path: [UInt8]) -> (parent: [UInt8], name: [UInt8]) {
  let slash = UInt8(ascii: "/")
  var parent = Array(path.reversed().drop { $0 == slash }.reversed())
  let name = Array(parent.reversed().prefix { $0 != slash }.reversed())
  parent.removeLast(name.count)
  return (parent.isEmpty ? [path.first == slash ? slash : UInt8(ascii: ".")] : parent, name)
}
