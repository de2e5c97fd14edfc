public import Model
public import Posix
internal import Synchronization

/// An open repository: the directory that holds the snapshots, and `.treering` inside it.
public final class Repository: Sendable {
  /// The path as the operator gave it; only for messages.
  public let path: [UInt8]
  public let root: Directory
  let control: Directory
  /// 32 hexadecimal digits.
  public let id: [UInt8]
  /// Device and inode of the root. A walk of a source never descends into this directory, by any path.
  public let identity: FileStatus
  /// The owner of `.treering` and of all entries in it.
  let owner: ControlOwner
  /// True after a failed `syncfs`. From then on, not even the directories of an unpublished tree can be reused.
  let hasLostWrites = Atomic<Bool>(false)
  /// The inode of a spare that no process reads.
  let unreadSpare = Mutex<UInt64?>(nil)
  /// The tree of another repository that stands for that of a snapshot of this one.
  let shownTree = Mutex<ShownTree?>(nil)
  /// For a repository inside another, whose own guards judge what arrives here: the only path that its snapshots have.
  let innerPath = Mutex<TreePath?>(nil)
  public var onlyPath: TreePath? { innerPath.withLock { $0 } }
  /// Failures of housekeeping: deletions, and leftovers of interrupted runs. They never end a run.
  public let problems: HousekeepingProblems

  public static let controlName = Array(".treering".utf8)
  static let formatName = Array("repository.toml".utf8)
  static let lockName = Array("lock".utf8)
  static let catalogsName = Array("catalogs".utf8)
  static let pendingName = Array("pending".utf8)
  static let trashName = Array("trash".utf8)
  static let spareName = Array("spare".utf8)
  static let latestName = Array("latest".utf8)

  private init(
    path: [UInt8], root: Directory, control: Directory, id: [UInt8], identity: FileStatus, owner: FileStatus
  ) {
    self.owner = ControlOwner(user: owner.user, group: owner.group)
    (self.path, self.root, self.control) = (path, root, control)
    problems = HousekeepingProblems(path: path)
    (self.id, self.identity) = (id, identity)
  }

  /// Opens an existing repository.
  public static func open(_ path: [UInt8]) throws(Failure) -> Repository {
    do { return try find(at: path) } catch {
      var failure = error
      failure.path = path
      throw failure
    }
  }

  private static func find(at path: [UInt8]) throws(Failure) -> Repository {
    let shown = displayName(path)
    let root: Directory
    do { root = Directory(try Descriptor.open(path: path, [.read, .directory])) } catch {
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
      text = try control.descriptor.openToRead(formatName.span).readToEnd(limit: 1 << 16)
    } catch {
      if error.meansAbsence {
        if let inner = firstRepository(in: root) {
          throw Failure(
            .usage, "\(shown) is not a repository itself, but holds repositories",
            hint: "name one, such as \(displayName(path + [slash] + inner))")
        }
        throw Failure(
          .usage, "\(shown) is not a repository: it has no .treering/repository.toml",
          hint: "is its disk mounted? A directory that never was one becomes one with: treering init \(shown)")
      }
      throw Failure(.usage, "cannot open the repository \(shown): \(error)")
    }
    let format: RepositoryFormat
    do { format = try RepositoryFormat(text: text) } catch {
      throw Failure(.damaged, "\(shown)/.treering/repository.toml cannot be read: \(error)")
    }
    guard format.version <= RepositoryFormat.currentVersion else {
      throw Failure(
        .usage,
        "the repository \(shown) has format \(format.version), and this treering knows formats up "
          + "to \(RepositoryFormat.currentVersion)",
        hint: "use a newer treering")
    }
    do {
      return Repository(
        path: path, root: root, control: control, id: Array(format.id.utf8),
        identity: try root.descriptor.status(), owner: try control.descriptor.status())
    } catch { throw Failure(.usage, "cannot open the repository \(shown): \(error)") }
  }

  private static func firstRepository(in directory: Directory) -> [UInt8]? {
    let names = ((try? directory.names()) ?? []).prefix(1000)
    return names.sorted { $0.lexicographicallyPrecedes($1) }.first { name in
      let control = try? directory.directory(name.span).directory(controlName.span)
      return (try? control?.descriptor.status(of: formatName.span)) != nil
    }
  }

  /// Locks the repository for one writer. The end of the process also releases the lock.
  public func lock(command: String, at time: Timestamp) throws(Failure) -> FileLock {
    do {
      let file = try openFile(Self.lockName, in: control, flags: .readWrite)
      do { try file.lockExclusively() } catch {
        guard error == .wouldBlock else { throw error }
        let holder = (try? file.readToEnd(limit: 4096)) ?? []
        let said = holder.isEmpty ? "another process" : displayName(holder.filter { $0 != 10 })
        throw Failure(
          .locked, "the repository \(displayName(path)) is in use by \(said)", path: path, hint: "wait for it to end")
      }
      try file.setLength(0)
      // These directories are empty between runs, so the operator may have removed them.
      for name in [Self.pendingName, Self.spareName, Self.trashName] { try makeDirectory(name, in: control) }
      let since = CalendarTime(seconds: time.seconds).rfc3339
      try file.write(Array("treering \(command), process \(CurrentProcess.identifier), since \(since)\n".utf8))
      return FileLock(file: file)
    } catch { throw .writing("lock the repository", at: path, because: error) }
  }

  /// Runs `body` with the repository locked for one writer.
  ///
  /// With `waiting`, a lock held by another process is awaited. `waiting` is called repeatedly, and it ends the wait if
  /// it throws.
  public func withLock<R>(
    for command: String, at time: Timestamp, waiting: (() throws -> Void)? = nil, body: () throws -> R
  ) throws -> R {
    while true {
      let lock: FileLock
      do { lock = try self.lock(command: command, at: time) } catch {
        guard let waiting, error.kind == .locked else { throw error }
        try waiting()
        CurrentProcess.sleep(milliseconds: 100)
        continue
      }
      return try withExtendedLifetime(lock, body)
    }
  }

  /// The boot ID (or host name), device and inode of the repository. Two paths lead to one repository if these are
  /// equal.
  public var hostIdentity: [UInt8] {
    let host = CurrentProcess.bootID.isEmpty ? CurrentProcess.hostName() : CurrentProcess.bootID
    return host + Array(" \(identity.device) \(identity.inode)".utf8)
  }
}

// The parts of a repository. Each works on its own entries of `.treering`; the housekeeping `problems` are stored.
extension Repository {
  public var publication: Publication { Publication(repository: self) }
  public var retirement: Retirement { Retirement(repository: self) }
  public var retention: RepositoryRetention { RepositoryRetention(repository: self) }
  public var rotationFreeze: RotationFreeze { RotationFreeze(repository: self) }
  public var marks: SnapshotMarks { SnapshotMarks(repository: self) }
  public var locks: SnapshotLocks { SnapshotLocks(repository: self) }
  public var receivedParts: ReceivedParts { ReceivedParts(repository: self) }
  public var repairDirectory: RepairDirectory { RepairDirectory(repository: self) }
  public var pushMemory: PushMemory { PushMemory(repository: self) }
  public var history: History { History(repository: self) }
  public var verifiedParts: VerifiedParts { VerifiedParts(in: self) }
  public var fileSystem: FileSystemProbe { FileSystemProbe(repository: self) }
  public var location: RepositoryLocation { RepositoryLocation(repository: self) }
}
