/// The facts of a report. All times are seconds since 1970. A value of `nil` was not measured.
struct ReportFacts {
  /// A line of the history that is no audit, drill or record.
  struct Run {
    var time: Int64
    var command: String
    var exitStatus: Int32
    var error: String?
    var elapsedSeconds: Double?
    var snapshot: String?
    var filesCopied: UInt64 = 0
    var bytesCopied: UInt64 = 0
  }

  struct Snapshot {
    var name: String
    var time: Int64
    var filesCopied, bytesCopied: UInt64
    /// The bytes of each source, and of the dump of each database.
    var sizes: [String: UInt64] = [:]
  }

  struct Drill {
    var time: Int64
    var name, result: String
    var elapsedSeconds: Double
    /// The seconds from the connection to the last file and database, by copy; `nil` if it failed before.
    var copies: [(name: String, seconds: Double?)]
  }

  struct Copy {
    var name: String
    var newest: Int64?
    /// Everything in it was verified at this time or later.
    var verified: Int64?
    var partVerified: Int64?
  }

  var host, repository: String
  var begin, now: Int64
  var runs: [Run] = []
  var snapshots: [Snapshot] = []
  /// The times of the members of each set that has some.
  var sets: [(name: String, times: [Int64])] = []
  var bytesFree, bytesTotal: UInt64?
  var bytesCopiedPerDay: UInt64 = 0
  var copies: [Copy] = []
  /// The parts of the repository that were verified in time, and all parts; `nil` if no part ever was.
  var parts: (verified: Int, all: Int)?
  var verifyWithin: Int64 = 90 * 86_400
  var drills: [Drill] = []
  var audit: Audit

  init(of repository: String, on host: String, since begin: Int64, at now: Int64, audit: Audit) {
    (self.repository, self.host, self.begin, self.now, self.audit) = (repository, host, begin, now, audit)
  }
}
