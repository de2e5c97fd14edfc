/// Constants and limits of the protocol in `man/treering-replication.7`.
enum Wire {
  static let magic = Array("treering".utf8)
  static let frameBytes = 128 << 10
  /// The base-2 logarithm of the zstd window's size. Client and server both allocate a window.
  static let windowLog: Int32 = 23
  static let pathComponents = 4096
  static let nameBytes = 255

  // Texts.
  static let snapshotNameBytes = 64
  static let identifierBytes = 64
  static let programBytes = 256
  static let locationBytes = 256
  static let repositoryPathBytes = 1 << 14
  /// The most bytes of a sentence for a person that a sender writes; a receiver takes `sentenceBytes`.
  static let sentSentenceBytes = 4000
  static let sentenceBytes = 1 << 14
  /// The most bytes of a reason that a client takes.
  static let reasonBytes = 4096

  // Lists.
  static let candidates = 1000
  static let sources = 1000
  static let sets = 16
  static let verifiedSnapshots = 1 << 16
  /// The most snapshots that a request for their space names: their names fit in a frame.
  static let measuredSnapshots = 4096
  static let partialFiles = 64
  /// The most digests of parts that a server may have.
  static let knownParts = 1 << 30
  /// The most notes that a server sends, and that a client takes.
  static let sentNotes = 1000
  static let notes = 10_000
  /// The most bytes of the reports about one source, with their paths.
  static let reportBytes = 1 << 20

  // Parts of a snapshot.
  static let recordBytes = 256 << 20
  /// The most signatures that are requested and have not arrived.
  static let signatures = 256
  static let signatureBytes = 64 << 20
  /// The most bytes of received frames, and the most frames, that wait for their reader.
  static let waitingBytes = 16 << 20
  static let waitingFrames = 4096

  // Logs.
  static let logBytes: UInt64 = 2 << 30
  static let logPieceBytes = 64 << 10
}

struct ProtocolVersion: Sendable {
  /// The oldest and the newest version that this program speaks.
  static let spoken: ClosedRange<UInt64> = 1...6

  let number: UInt64

  /// Version 2 adds digests of sparse files in records, and zeros among instructions.
  var hasSparseFiles: Bool { number >= 2 }
  /// Version 2 adds `needs` and `room`.
  var hasSpaceCheck: Bool { number >= 2 }
  /// Version 2 adds a list of files that were cut off. A server of version 1 keeps one, until another file arrives.
  var hasPartialFileList: Bool { number >= 2 }
  /// Version 2 adds a part and a rate to `verify`.
  var hasPartialVerification: Bool { number >= 2 }
  /// Version 2 adds notes before `accept`.
  var hasEarlyNotes: Bool { number >= 2 }
  /// Version 3 adds the archived logs of databases.
  var hasLogs: Bool { number >= 3 }
  /// Version 4 adds hints about the source.
  var hasSourceHints: Bool { number >= 4 }
  /// Version 5 adds the measurement of space.
  var hasSpaceMeasurement: Bool { number >= 5 }
  /// Version 6 adds the progress of a verification to `alive`.
  var hasVerificationProgress: Bool { number >= 6 }
}
