internal import Settings

/// The facts from which a recovery plan is made. A value of `nil` was not measured.
///
/// All times are seconds since 1970. No fact is a secret.
struct PlanFacts {
  struct Source {
    var path: String
    /// The patterns of excluded entries.
    var exclude: [String] = []
    /// The label of the host that the source is on; `nil` for this machine.
    var host: String?

    /// The source as the operator names it.
    var title: String { (host.map { "\($0):" } ?? "") + path }
    /// The path as `restore` takes it.
    var stored: String { (host ?? "") + path }
    /// True if it has the settings of the machine, such as fstab.
    var hasSettings: Bool { host == nil && (path == "/" || path == "/etc") }
  }

  struct Database {
    /// Without its password.
    var settings: DatabaseConfiguration
    /// The databases in the newest dump, with the names of their files; empty if there is no dump.
    var contents: [(file: String, name: String)] = []
    /// True if the directory of its archived logs is in a source.
    var hasLogsInSource = false

    var name: String { settings.name }
  }

  /// The last drill of a sample from a copy.
  struct Drill {
    var time: Int64
    var hasFailed: Bool
    var files: Int
    var bytes: UInt64
    /// `nil` if it failed.
    var seconds: Double?
  }

  /// The time that a source or a database took in the last drill that restored it.
  struct Restored: Equatable {
    var time: Int64
    var seconds: Double
  }

  struct Copy {
    enum Kind {
      /// The repository itself, a repository of treering, or one of restic's format.
      case repository, plain, encrypted
    }
    enum Login { case s3, rest }

    var kind: Kind
    var name: String
    /// The address for `-r`, and further options that it needs.
    var address: String
    var options: [String] = []
    /// The address for restic, and options that it needs.
    var resticAddress = ""
    var resticOptions: [String] = []
    /// The login that its server wants.
    var login: Login?
    var region, location: String?
    /// `nil` for this machine.
    var host: String?
    /// The mounted device and its place, for a copy on this machine in another file system than that of the root.
    var mount: (device: String, point: String)?
    /// True for a copy on this machine in the file system of the root.
    var isOnSystemDisk = false
    var newest, verified: Int64?
    var damaged = 0
    /// The last drill of a sample from this copy.
    var drill: Drill?
    /// The last drill of each service from this copy; no time of the recovery if that was not measured.
    var services: [(name: String, time: Int64, hasFailed: Bool, seconds: Double?)] = []
    /// By the path of the source, as `restore` takes it, or by `database:` and the name.
    var restored: [String: Restored] = [:]
    /// The files that the lost machine had for the way to this copy.
    var files: [String] = []

    init(_ kind: Kind, named name: String, at address: String) {
      (self.kind, self.name, self.address) = (kind, name, address)
    }
  }

  /// A moment at which the document was printed or tested.
  struct Record {
    var time: Int64
    /// The digest that the document had then.
    var digest: String
    /// The name of the tester.
    var by: String?
  }

  var host: String
  var now: Int64
  var version: String
  /// The name of the machine's system, such as `Debian GNU/Linux 12 (bookworm)`.
  var system: String?
  var configuration, repository, label: String
  var plan = PlanConfiguration()
  var sources: [Source] = []
  var databases: [Database] = []
  var copies: [Copy] = []
  /// Things that are in no source, as sentences.
  var blindSpots: [String] = []
  /// A verification or drill is outdated after so many seconds.
  var freshWithin: Int64 = 90 * 86_400
  var printed, tested: Record?
}
