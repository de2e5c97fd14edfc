internal import Catalog
internal import Posix
internal import Repository

/// The repository of a new snapshot, its limits, and the receivers of the run's messages and counts.
struct BuildContext: Sendable {
  let repository: Repository
  let capabilities: Capabilities
  let space: SpaceGuard
  let progress: Progress
  let monitor: any Monitor
  /// True if root stores the entries here, with all their values.
  var isRoot = CurrentProcess.effectiveUser == 0

  func warn(at path: [UInt8], _ message: String) {
    progress.warnings.count()
    monitor.warn(Warning(path: path, message: message))
  }

  /// Handles an entry that the repository refused.
  ///
  /// Without room, or with a failing disk, the run ends. Otherwise the entry is named and left out.
  func storingFailed(_ what: String, at path: [UInt8], because error: Errno, isName: Bool = false) throws(Failure) {
    let endsRun = isName ? endsRunForName(error) : error.endsRun
    if endsRun { throw Failure.writing(what, at: path, because: error) }
    warn(
      at: path,
      error == .noSpace
        ? "cannot be stored in the repository: its directory there can take no more names"
        : "cannot be stored in the repository: \(error)")
  }

  /// True if a name could not be made and the next name would fail too.
  ///
  /// A directory with a full index (ext4) reports no space on a disk that has room. Then only that directory fails.
  func endsRunForName(_ error: Errno) -> Bool {
    error.endsRun && !(error == .noSpace && repository.fileSystem.acceptsAnotherFile())
  }
}

/// One thread's tools for building a snapshot from any origin.
final class BuildTools {
  let writer: FrameWriter
  let hasher = SHA256()
  let reader: FileReader
  /// The names of the stored directory from which the current directory is linked.
  var storedListing = DirectoryListing()
  private var encoders: [RecordEncoder] = []

  init(writer: FrameWriter, reader: FileReader) { (self.writer, self.reader) = (writer, reader) }

  func takeEncoder() -> RecordEncoder { encoders.popLast() ?? RecordEncoder() }

  func giveBack(_ encoder: RecordEncoder) {
    if !encoder.isOversized && encoders.count < 64 { encoders.append(encoder) }
  }
}

extension StorageFlags {
  /// The flags of values that a stored inode lacks.
  static let lacks: StorageFlags = [
    .notStored, .ownerNotStored, .attributesNotStored, .timeNotStored, .modeNotStored, .refusedToRoot,
  ]

  /// True if root may store the values that an ordinary user could not.
  func isWorthRetrying(asRoot isRoot: Bool) -> Bool { isRoot && isCatalogOnly && !contains(.refusedToRoot) }

  /// The flags, with a mark if root itself could not store the values.
  func refused(toRoot isRoot: Bool) -> StorageFlags { isRoot && isCatalogOnly ? union(.refusedToRoot) : self }

  /// True if the stored inode alone would not restore the entry.
  var isCatalogOnly: Bool { !isDisjoint(with: [.notStored, .ownerNotStored, .attributesNotStored, .modeNotStored]) }
}
