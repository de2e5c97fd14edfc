internal import Model
internal import Posix
internal import Synchronization

/// One line of the journal of a restore in place.
///
/// The journal is the file `changes` of the dated directory. Each line ends with a NUL and has a sign, the state of the
/// entry, and the path. A line before each change announces it, and a second one tells that it was made.
struct RecordedChange {
  enum Sign: UInt8, Sendable {
    case added = 0x2B
    /// An entry took the place of another one, which is below `replaced`.
    case replaced = 0x4D
    /// An entry got other metadata. The former ones are below `metadata`.
    case corrected = 0x6D
    case removed = 0x2D
    /// The time of a directory before the first change in it.
    case time = 0x74
    /// The restore ended by itself: each change has its line.
    case end = 0x65
  }

  static let fileName = Array("changes".utf8)
  /// A record that is being written.
  static let newFileName = Array("changes.new".utf8)

  let sign: Sign
  /// From the destination on.
  let path: TreePath
  /// The inode after the change; zero if it is not known.
  var inode: UInt64 = 0
  /// The ctime after the change. Of an announced change it is the mtime, because the change itself sets the ctime. Of a
  /// directory it is the mtime to set, which `metadata` cannot keep.
  var changed = Timestamp(seconds: 0, nanoseconds: 0)
  /// The mtime that the announcement had.
  var modified: Timestamp?
  /// True until the change is known to be made.
  var isAnnounced = false

  init(_ sign: Sign, at path: TreePath) { (self.sign, self.path) = (sign, path) }

  init(timeOf directory: TreePath, time: Timestamp) {
    self.init(.time, at: directory)
    changed = time
  }

  /// Parses a line without its NUL; `nil` for another form.
  init?(line: ArraySlice<UInt8>) {
    let words = line.split(separator: 0x20, maxSplits: 4, omittingEmptySubsequences: false)
    guard words.count == 5, let first = words[0].first, let sign = Sign(rawValue: first),
      words[0].dropFirst().isEmpty || words[0].dropFirst().elementsEqual(Self.announcement),
      let inode = UInt64(String(decoding: words[1], as: UTF8.self)),
      let seconds = Int64(String(decoding: words[2], as: UTF8.self)),
      let nanoseconds = UInt32(String(decoding: words[3], as: UTF8.self)),
      !words[4].isEmpty || sign == .time || sign == .end
    else { return nil }
    self.init(sign, at: TreePath(parsing: words[4]))
    self.inode = inode
    changed = Timestamp(seconds: seconds, nanoseconds: nanoseconds)
    isAnnounced = words[0].count > 1
    if isAnnounced { modified = changed }
  }

  var line: [UInt8] {
    [sign.rawValue] + (isAnnounced ? Self.announcement : [])
      + Array(" \(inode) \(changed.seconds) \(changed.nanoseconds) ".utf8) + path.bytes + [0]
  }

  private static let announcement = Array("?".utf8)

}

/// A journal that was read: the last state of each change.
struct RecordedChanges {
  private(set) var changes: [TreePath: RecordedChange] = [:]
  /// The mtimes of directories before the first change in them.
  private(set) var times: [TreePath: Timestamp] = [:]
  /// False if the restore was killed.
  private(set) var isEnded = false

  /// `nil` if the journal is damaged. The last line may be incomplete, if the restore was killed or the power failed:
  /// its change was not begun.
  init?(journal: [UInt8]) {
    var latest: [UInt64: Timestamp] = [:]
    let end = journal.lastIndex(of: 0).map { $0 + 1 } ?? 0
    if let first = journal[end...].first, RecordedChange.Sign(rawValue: first) == nil { return nil }
    for line in journal[..<end].split(separator: 0) {
      guard var change = RecordedChange(line: line) else { return nil }
      switch change.sign {
      case .time: if times[change.path] == nil { times[change.path] = change.changed }
      case .end: isEnded = true
      case .added, .replaced, .corrected, .removed:
        if !change.isAnnounced {
          change.modified = changes[change.path]?.modified
          latest[change.inode] = max(latest[change.inode] ?? change.changed, change.changed)
        }
        changes[change.path] = change
      }
    }
    // A further name changes the ctime of an inode.
    changes = changes.mapValues { change in
      var change = change
      if !change.isAnnounced { change.changed = latest[change.inode]! }
      return change
    }
  }
}

/// The journal of a dated directory while it is written.
final class ChangeJournal: Sendable {
  private let file: Descriptor
  private struct State {
    var byteCount: UInt64 = 0
    /// The directories whose time the journal has.
    var directories: Set<TreePath> = []
  }
  private let state = Mutex(State())
  /// The bytes that a loss of power leaves.
  private let durable = Mutex<UInt64>(0)

  init(in directory: Directory) throws(Errno) {
    let name = RecordedChange.fileName
    file = try directory.descriptor.open(name.span, [.write, .create, .exclusive], mode: 0o600)
  }

  /// Appends a line. With `isDurable` it is on the disk at the return, before the change that it announces.
  ///
  /// A kill needs no such order: the kernel has the line.
  func append(_ change: RecordedChange, isDurable: Bool = false) throws(Errno) {
    let end = try state.withLock { state throws(Errno) in
      let line = change.line
      // A part that did not fit is overwritten by the next line.
      try file.write(line, at: state.byteCount)
      state.byteCount += UInt64(line.count)
      return state.byteCount
    }
    guard isDurable else { return }
    try durable.withLock { durable throws(Errno) in
      // The threads that waited share one call.
      guard durable < end else { return }
      let all = state.withLock { $0.byteCount }
      try file.synchronize()
      durable = all
    }
  }

  /// Notes the time of a directory before the first change in it.
  func note(_ time: Timestamp, of directory: TreePath) throws(Errno) {
    guard state.withLock({ $0.directories.insert(directory).inserted }) else { return }
    try append(RecordedChange(timeOf: directory, time: time))
  }
}
