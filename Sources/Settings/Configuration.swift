public import Model
public import Retention

/// The content of `treering.toml`; `man/treering.toml.5` describes it.
public struct Configuration: Sendable, Equatable {
  /// A directory to back up, with its exclusions. `host` names another machine that it is on.
  public struct Source: Sendable, Equatable {
    public var path = ""
    /// The host that the source is fetched from; `nil` for a source of this machine.
    public var host: Host?
    /// The source may be absent without a warning, until `rpoSeconds` have passed.
    public var isOptional = false
    /// The greatest age of the newest good snapshot. `nil` means the value of `[objectives]`, or no limit for an
    /// optional source.
    public var rpoSeconds: Int64?
    /// Patterns of gitignore(5).
    public var exclude: [String] = []
    /// The line number of each pattern in `exclude`.
    public var excludeLines: [Int] = []
    /// Files with gitignore(5) patterns.
    public var excludeFrom: [String] = []
    public var oneFileSystem = false
    public var excludeCaches = false
    public var excludeIfPresent: [String] = []
    public var excludeNodump = false
    /// In bytes; larger files are left out.
    public var maxFileSize: UInt64?
    /// The source is read in a snapshot of its volume or file system.
    public var freeze: Freeze?
    /// `nil` for a tenth of the volume.
    public var freezeSize: FreezeSize?
    /// The line number in the file, from 1.
    public var line = 0

    public init() {}
  }

  /// One of several repositories, with its configuration.
  public struct NamedConfiguration: Sendable, Equatable {
    /// The name on the command line.
    public var name = ""
    public var settings = Configuration()
    /// The line number in the file, from 1.
    public var line = 0
  }

  /// The limits of a run of several repositories.
  public struct Hosts: Sendable, Equatable {
    /// The number of repositories that are worked on at once.
    public var atOnce = 2
    /// While the load is higher, no run starts beside another.
    public var maxLoad: Double?
    /// The runs start within so much time.
    public var staggerSeconds: Int64 = 0
    /// A run that takes longer is told to end.
    public var timeoutSeconds: Int64 = 86_400

    public init() {}
  }

  /// A program to run before or after a run.
  public struct Hook: Sendable, Equatable {
    /// The program's absolute path, and its arguments.
    public var command: [String] = []
    public var timeoutSeconds: Int64 = 600
    /// The run fails if the hook fails.
    public var isRequired = false
    public var line = 0
  }

  public var repository: String?
  /// The repositories of a file for several, in its order. Such a file has no sources of its own.
  public var repositories: [NamedConfiguration] = []
  public var hosts = Hosts()
  /// Other machines push to the repository, and runs take no snapshots.
  public var receives = false
  public var label = Name.localhost
  public var changeDetection = "ctime"
  public var threads: Int?
  public var keepSpare = true
  public var retention = RetentionPolicy.standard
  public var minimumFree: MinimumFree?
  public var sources: [Source] = []
  /// A share from 0 to 1, like `changedLimit`.
  public var goneLimit = 0.5
  public var changedLimit = 0.5
  public var hooksBefore: [Hook] = []
  public var hooksAfter: [Hook] = []
  /// The greatest age of the newest good snapshot.
  public var rpoSeconds: Int64?

  /// The verification that runs do; `nil` for none.
  public struct Verification: Sendable, Equatable {
    /// One part is verified in each period of this length.
    public var everySeconds: Int64
    /// The number of parts.
    public var parts: Int
    /// In bytes per second.
    public var limitRate: UInt64?

    public init(everySeconds: Int64 = 86_400, parts: Int = 30) {
      (self.everySeconds, self.parts) = (everySeconds, parts)
    }
  }

  public var verification: Verification?

  /// The expectations of `audit`.
  public struct Audit: Sendable, Equatable {
    /// The place of this machine in the owner's words.
    public var location: String?
    /// The greatest age of a verification of everything.
    public var verifyWithinSeconds: Int64 = 90 * 86_400
    /// A file is named after so many runs that could not read it.
    public var unreadableRuns = 3
    /// The greatest share of the entries that exclusions may leave out, from 0 to 1.
    public var excludedLimit = 0.3
    /// The file systems, directories and sockets that no audit names. All that is below a path is ignored, too.
    public var ignore: [String] = []

    public init() {}
  }

  public var audit = Audit()

  /// A plain copy that another program keeps, such as a mirror by rsync(1).
  public struct Sync: Sendable, Equatable {
    public var name = ""
    public var location: String?
  }

  public var syncs: [Sync] = []
  /// `nil` if runs keep no recovery plan.
  public var plan: PlanConfiguration?

  /// The file in which Prometheus' node exporter finds the figures of a run.
  public var metricsTextfile: String?

  /// A server to notify of each run.
  public struct Address: Sendable, Equatable {
    public var url = ""
    /// Headers of a webhook: lines such as `Authorization: Bearer …`.
    public var headers: [String] = []
    /// Only failures and warnings are reported.
    public var onlyFailures = false
  }

  public var healthchecks: Address?
  /// Healthchecks counts a run with warnings as a success.
  public var warningsAreSuccess = false
  public var webhook: Address?
  /// A program to notify.
  public var notifyCommand: Hook?
  public var notifyCommandOnlyFailures = false
  /// A mail about runs, with the report.
  public struct Mail: Sendable, Equatable {
    public enum Occasion: String, Sendable, CaseIterable { case failure, weekly, always }

    public var to: [String] = []
    public var on = Occasion.failure

    public init() {}
  }

  public var mail: Mail?
  /// The time limit for one notification, for all attempts together.
  public var notifySeconds: Int64 = 30

  /// The databases to dump, in the order of the file.
  public var databases: [DatabaseConfiguration] = []
  /// The WordPress sites, in the order of the file.
  public var sites: [WordPressConfiguration] = []
  /// The remotes for pushes, in the order of the file.
  public var remotes: [RemoteConfiguration] = []
  /// The databases whose archived logs go to no remote, though there is one.
  public var databasesWithoutPushedLogs: [DatabaseConfiguration] {
    remotes.isEmpty || remotes.contains(where: \.logs) ? [] : databases.filter { $0.archive != nil }
  }
  /// The rehearsed recoveries, in the order of the file.
  public var drills: [DrillConfiguration] = []

  public init() {}
}
