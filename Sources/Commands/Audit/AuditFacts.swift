/// The facts that an audit judges. A value of `nil` was not measured.
///
/// All times are seconds since 1970, and all durations are in seconds.
struct AuditFacts {
  /// Something that is backed up: a source or a database.
  struct Subject {
    enum Kind: String { case source, database }

    var kind: Kind
    var name: String
    /// The time of its newest good copy in the repository.
    var newest: Int64?
    /// The objective; `nil` if the owner states none.
    var rpo: Int64?
    /// The longest time between two good copies in the examined period, up to now.
    var worstGap: Int64?
    var worstGapEnd: Int64?
    /// The begin of the time that the gaps are from: the examined period, or the first good copy after its begin.
    var measuredSince: Int64?

    init(_ kind: Kind, named name: String) { (self.kind, self.name) = (kind, name) }
  }

  /// A place that has the data.
  struct Copy {
    enum Kind: String { case original, repository, remote, sync }

    var kind: Kind
    var name: String
    /// `nil` for this machine.
    var host: String?
    /// The account at a provider; equal for remotes with the same credentials.
    var account: String?
    /// The disks below it; empty if they are not known.
    var disks: Set<String> = []
    /// The device numbers of its file systems on this machine. They show that two copies are on one file system, also
    /// where no disk is known.
    var fileSystems: Set<String> = []
    /// The place in the owner's words.
    var location: String?
    var newest: Int64?
    /// The time of the last proof that the snapshot is there, such as a push.
    var seen: Int64?
    /// True if its own list of snapshots was read now.
    var isRead = false
    var rpo: Int64?
    /// The sources and databases that its newest snapshots lack.
    var lacks: [String] = []
    /// Everything in it was verified at this time or later.
    var verified: Int64?
    /// The time of the last verification of a part.
    var partVerified: Int64?
    /// The number of snapshots that the last verification read; `nil` if it was not recorded.
    var verifiedSnapshots: Int?
    /// The program and the user of the last verification, such as `treering run as root`.
    var verifiedBy: String?
    /// The number of snapshots that are newer than the verification of everything.
    var unverified = 0
    /// The new and changed files of the newest snapshot that are not there, and their bytes; `nil` if it was not
    /// measured.
    var behind: (files: UInt64, bytes: UInt64)?
    var isEncrypted = false
    /// The last proof of a password that is kept elsewhere.
    var keyTested: Int64?
    /// The longest time between two of these proofs; `nil` if the owner states none.
    var keyTestEvery: Int64?
    /// The number of its snapshots that are known to be damaged.
    var damaged = 0
    /// The answer to the question whether this machine's key could remove data there; `nil` if it was not asked.
    var removal: Removal?
    /// The reason that it is not there now.
    var absence: String?
    /// It may be absent until its `rpo` has passed, as a disk that lies in a drawer.
    var isOptional = false
    /// The commands that make it newer and that verify it.
    var refresh = ""
    var verify = ""

    init(_ kind: Kind, named name: String) { (self.kind, self.name) = (kind, name) }
  }

  /// The answer to a probe of immutability.
  enum Removal {
    case refused, allowed
    /// There was no answer, for this reason.
    case unanswered(String)
  }

  /// A past run of the configuration.
  struct Run {
    var time: Int64
    /// `nil` if the history does not have it.
    var starter: RunStarter?
    /// False if a notice could not be delivered; `nil` if none was sent.
    var noticed: Bool?

    init(time: Int64, starter: RunStarter? = nil, noticed: Bool? = nil) {
      (self.time, self.starter, self.noticed) = (time, starter, noticed)
    }
  }

  struct Drill {
    var time: Int64
    var hasFailed: Bool
    var elapsedSeconds: Double
  }

  /// A drill of the configuration.
  struct Rehearsal {
    var name: String
    /// `nil` if none was done.
    var last: Drill?
    /// The times of the recovery in the last drills that passed.
    var recoverySeconds: [Double] = []
    var rto: Int64?
    /// The longest time between two drills; `nil` if no run starts it.
    var every: Int64?
  }

  /// The recovery plan that runs keep, and its records.
  struct Plan {
    /// See `PlanDocument.digest`.
    var digest: String
    var printed, tested: PlanFacts.Record?
    /// The remotes that cannot be read without a password.
    var encrypted: [String]
    var statesKeys: Bool
  }

  /// A thing that is in no backup, and the file, directory or socket that shows it.
  struct BlindSpot {
    enum Kind {
      case fileSystem, home
      /// A database server that runs, with its name for people and the kind for the configuration.
      case server(name: String, kind: String)
      /// The data directory of a database that is saved as plain files.
      case dataDirectory(kind: String)
      /// A file that could not be read in several runs.
      case unreadable(runs: Int)
    }

    var kind: Kind
    var path: String

    init(_ kind: Kind, at path: String) { (self.kind, self.path) = (kind, path) }
  }

  var now: Int64
  var repository: String
  /// The days that the gaps cover.
  var days: Int64 = 30
  var subjects: [Subject] = []
  var copies: [Copy] = []
  /// The place of this machine in the owner's words.
  var location: String?
  /// The greatest age of a verification of everything.
  var verifyWithin: Int64 = 90 * 86_400
  /// `nil` if none was done.
  var lastDrill: Drill?
  var rehearsals: [Rehearsal] = []
  /// The installed jobs, such as `/etc/cron.d/treering`.
  var jobs: [String] = []
  /// The time of the last run, and the starter.
  var lastRun: Run?
  /// False if the configuration has no `[notify]`.
  var notifies = false
  /// The reason that nothing expires.
  var rotationObstacle: String?
  /// The number of snapshots that the configuration keeps no longer.
  var overdue = 0
  /// The time of the last rotation that expired a snapshot.
  var lastExpiry: Int64?
  var oldest: Int64?
  /// The databases whose archived logs go to no remote.
  var unpushedLogs: [String] = []
  /// The time at which the disk is full; `nil` if it is not known or far away.
  var fullAt: Int64?
  /// `nil` if runs keep none.
  var plan: Plan?
  var blindSpots: [BlindSpot] = []
  /// The entries that rules left out of the last snapshot of a run, and the entries that it has. A directory that was
  /// left out is one entry, because it was not read. `nil` if the history does not have it.
  var excluded: (entries: UInt64, stored: UInt64)?
  /// The greatest share of entries that rules may leave out.
  var excludedLimit = 0.3
  var notMeasured: [NotMeasured] = []

  /// A fact that could not be collected, and the way to measure it.
  struct NotMeasured: Encodable {
    let fact: String
    let remedy: String
  }

  init(of repository: String, at now: Int64) { (self.repository, self.now) = (repository, now) }
}
