public import Model

/// The outcome of a snapshot.
public enum Outcome: UInt8, Sendable {
  /// The snapshot has every entry.
  case complete = 0
  /// Some entries could not be read, or changed while they were read.
  case warnings = 1
  /// The run stopped early. Such a snapshot is never published; only the next run uses it.
  case unfinished = 2

  public var word: String {
    switch self {
    case .complete: "complete"
    case .warnings: "warnings"
    case .unfinished: "unfinished"
    }
  }
}

/// A catalog's description of its snapshot as a whole: the content of the trailer.
public struct CatalogSummary: Sendable {
  public var root: Subtree
  /// The number of the snapshot in its repository, by arrival: 1 for the first, then one more for each.
  public var sequence: UInt64 = 0
  public var started = Timestamp(seconds: 0, nanoseconds: 0)
  public var finished = Timestamp(seconds: 0, nanoseconds: 0)
  /// The time of reception by the clock of the receiving repository; `nil` in the repository that took the snapshot.
  public var received: Timestamp?
  /// The time that placed a received snapshot among those of its client; `nil` if it is `started`.
  ///
  /// It is later than `started` if the clock of the client was set back before.
  public var placed: Timestamp?
  /// True if retention goes by the client's time of a received snapshot, because its server was not append-only.
  public var isDatedByClient = false
  public var outcome = Outcome.complete
  public var files: UInt64 = 0
  public var directories: UInt64 = 0
  public var filesLinked: UInt64 = 0
  public var filesCopied: UInt64 = 0
  public var bytesCopied: UInt64 = 0
  public var warnings: UInt64 = 0
  public var label: [UInt8] = []
  /// Absolute paths, as they appear below the label.
  public var sources: [[UInt8]] = []
  /// Requested sources that did not exist; the snapshot has nothing of them.
  public var absentSources: [[UInt8]] = []
  /// Sources of other labels, as paths from the snapshot's root: `databases/shop`, or `web01/etc` of an adopted tree.
  public var otherSources: [[UInt8]] = []
  /// The databases that were to be dumped. Each one that is not left out is an `otherSource`, too.
  public var databases: [DatabaseRecord] = []
  /// The file systems of the sources.
  public var mounts: [MountRecord] = []
  /// The ID of the repository to which the stored inode numbers belong.
  public var repositoryID: [UInt8] = []
  /// `f_fsid` of the repository's file system; the stored inode numbers are valid only if it is the same.
  public var fileSystemID: UInt64 = 0
  public var program: [UInt8] = []

  public init(root: Subtree) { self.root = root }

  /// The time at which the snapshot was taken. A client's time is believed only until the reception.
  public var taken: Timestamp { received.map { min($0, placed ?? started) } ?? started }

  /// The form on the wire; `init(encoded:)` reads it.
  public var encoded: [UInt8] { encode(tableOffset: 0, frameCount: 0) }

  /// Reads the result of `encoded`; places in it mean nothing.
  public init(encoded bytes: [UInt8]) throws(CatalogError) { self = try Self.decode(bytes).summary }

  private enum Tag: UInt16 {
    case rootPlace = 1
    case rootDigest, totals, sequence, started, finished, outcome, counts, copied, label, source
    case repository, fileSystem, program, mount, received, absentSource, otherSource, stored, database, placed
    case datedByClient
  }

  /// Writes fields as tag, length and value; a reader skips unknown tags.
  func encode(tableOffset: UInt64, frameCount: UInt32) -> [UInt8] {
    var buffer = ByteBuffer()
    buffer.append(tableOffset)
    buffer.append(frameCount)
    func field(_ tag: Tag, body: (inout ByteBuffer) -> Void) {
      var value = ByteBuffer()
      body(&value)
      buffer.append(tag.rawValue)
      buffer.append(UInt32(value.count))
      buffer.append(value.bytes)
    }
    func numbers(_ tag: Tag, _ values: UInt64...) { field(tag) { for value in values { $0.append(value) } } }
    field(.rootPlace) {
      $0.append(root.place.frame)
      $0.append(root.place.offset)
    }
    field(.rootDigest) { $0.append(root.digest) }
    numbers(.totals, root.totals.entries, root.totals.bytes)
    if let stored = root.stored { numbers(.stored, stored.names, stored.directoryBlocks) }
    numbers(.sequence, sequence)
    field(.started) { $0.append(started) }
    field(.finished) { $0.append(finished) }
    if let received { field(.received) { $0.append(received) } }
    if let placed { field(.placed) { $0.append(placed) } }
    if isDatedByClient { field(.datedByClient) { _ in } }
    field(.outcome) { $0.append(outcome.rawValue) }
    numbers(.counts, files, directories, warnings)
    numbers(.copied, filesLinked, filesCopied, bytesCopied)
    field(.label) { $0.append(label.span) }
    for source in sources { field(.source) { $0.append(source.span) } }
    for source in absentSources { field(.absentSource) { $0.append(source.span) } }
    for source in otherSources { field(.otherSource) { $0.append(source.span) } }
    for database in databases { field(.database) { database.encode(to: &$0) } }
    field(.repository) { $0.append(repositoryID.span) }
    numbers(.fileSystem, fileSystemID)
    field(.program) { $0.append(program.span) }
    for mount in mounts {
      field(.mount) {
        $0.append(mount.type)
        $0.append(mount.number)
        $0.append(mount.volume)
        $0.append(mount.path.span)
      }
    }
    return [UInt8](buffer.bytes)
  }

  typealias Decoded = (summary: CatalogSummary, tableOffset: UInt64, frameCount: UInt32)

  static func decode(_ bytes: [UInt8]) throws(CatalogError) -> Decoded {
    try bytes.reading { raw throws(CatalogError) in try decode(raw) }
  }

  /// More than any file system can hold. A sum over the largest possible number of snapshots does not overflow.
  private static let mostCounted: UInt64 = 1 << 48
  private static let mostBytesCopied: UInt64 = 1 << 60

  /// Checks every value's range: no computation can overflow, and RFC 3339 can write the times.
  private func check() throws(CatalogError) {
    let counts = [root.totals.entries, files, directories, warnings, filesLinked, filesCopied]
    guard counts.allSatisfy({ $0 <= Self.mostCounted }), bytesCopied <= Self.mostBytesCopied,
      sequence <= UInt64(Int64.max)
    else { throw CatalogError("the trailer has a number that is too large") }
    guard
      [started, finished, received ?? started, placed ?? started].allSatisfy({
        CalendarTime.seconds.contains($0.seconds)
      })
    else { throw CatalogError("the trailer has a time outside the years 0 to 9999") }
  }

  private static func decode(_ raw: UnsafeRawBufferPointer) throws(CatalogError) -> Decoded {
    var cursor = ByteCursor(raw, in: 0..<raw.count)
    let tableOffset: UInt64 = try cursor.integer()
    let frameCount: UInt32 = try cursor.integer()
    var place: Place?
    var digest: Digest?
    var totals = Totals()
    var stored: StoredSums?
    var summary = CatalogSummary(root: Subtree(digest: .ofNothing, place: Place(frame: 0, offset: 0), totals: totals))
    while cursor.left > 0 {
      let tag = Tag(rawValue: try cursor.integer())
      let range = try cursor.take(Int(try cursor.integer(UInt32.self)))
      var value = ByteCursor(raw, in: range)
      switch tag {
      case .rootPlace: place = Place(frame: try value.integer(), offset: try value.integer())
      case .rootDigest: digest = try value.digest()
      case .totals: totals = Totals(entries: try value.integer(), bytes: try value.integer())
      case .stored: stored = StoredSums(names: try value.integer(), directoryBlocks: try value.integer())
      case let tag?: try summary.take(tag, from: &value, bytes: Array(raw[range]))
      case nil: break
      }
    }
    guard let place, let digest else { throw CatalogError("the trailer names no root") }
    summary.root = Subtree(digest: digest, place: place, totals: totals, stored: stored)
    try summary.check()
    return (summary, tableOffset, frameCount)
  }

  /// Takes the value of a field that does not describe the root.
  private mutating func take(_ tag: Tag, from value: inout ByteCursor, bytes: [UInt8]) throws(CatalogError) {
    switch tag {
    case .rootPlace, .rootDigest, .totals, .stored: break
    case .sequence: sequence = try value.integer()
    case .started: started = try Timestamp(from: &value)
    case .finished: finished = try Timestamp(from: &value)
    case .received: received = try Timestamp(from: &value)
    case .placed: placed = try Timestamp(from: &value)
    case .datedByClient: isDatedByClient = true
    case .outcome:
      guard let known = Outcome(rawValue: try value.integer())
      else { throw CatalogError("the trailer names an unknown outcome") }
      outcome = known
    case .counts:
      files = try value.integer()
      directories = try value.integer()
      warnings = try value.integer()
    case .copied:
      filesLinked = try value.integer()
      filesCopied = try value.integer()
      bytesCopied = try value.integer()
    case .label: label = bytes
    case .source: sources.append(bytes)
    case .absentSource: absentSources.append(bytes)
    case .otherSource: otherSources.append(bytes)
    case .database: databases.append(try DatabaseRecord(from: &value))
    case .repository: repositoryID = bytes
    case .fileSystem: fileSystemID = try value.integer()
    case .program: program = bytes
    case .mount:
      mounts.append(
        MountRecord(
          path: Array(bytes.dropFirst(24)), type: try value.integer(), number: try value.integer(),
          volume: try value.integer()))
    }
  }
}
