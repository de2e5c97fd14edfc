/// What `treering.toml` says; `man/treering.toml.5` describes it.
public struct Configuration: Sendable, Equatable {
  /// A directory to back up, and what is left out of it.
  public struct Source: Sendable, Equatable {
    public var path = ""
    /// It may be absent without a warning, until `rpoSeconds` have passed.
    public var isOptional = false
    /// How old its newest good snapshot may become; without it what `[objectives]` says, unless it is optional.
    public var rpoSeconds: Int64?
    /// Patterns of gitignore(5).
    public var exclude: [String] = []
    /// The line of each of them.
    public var excludeLines: [Int] = []
    /// Files of such patterns.
    public var excludeFrom: [String] = []
    public var oneFileSystem = false
    public var excludeCaches = false
    public var excludeIfPresent: [String] = []
    public var excludeNodump = false
    /// In bytes.
    public var maxFileSize: UInt64?
    /// Where it stands in the file, from 1.
    public var line = 0
  }

  /// A program that is run before or after.
  public struct Hook: Sendable, Equatable {
    /// The program's absolute path, and its arguments.
    public var command: [String] = []
    public var timeoutSeconds: Int64 = 600
    /// Without its success the run fails.
    public var isRequired = false
    public var line = 0
  }

  /// What must stay free.
  public enum MinimumFree: Sendable, Equatable {
    /// From 0 to 1.
    case share(Double)
    case bytes(UInt64)
  }

  public struct Retention: Sendable, Equatable {
    /// By the name of the set.
    public var keep: [String: Int] = [:]
    public var keepLast = 0
    public var keepWithinSeconds: Int64?
    public var minimumFree: MinimumFree?

    public static let sets = ["hourly", "daily", "weekly", "monthly", "yearly"]
    public static let standard = Retention(
      keep: ["hourly": 24, "daily": 7, "weekly": 4, "monthly": 12, "yearly": 3])
  }

  public var repository: String?
  public var label = "localhost"
  public var changeDetection = "ctime"
  public var threads: Int?
  public var keepSpare = true
  public var retention = Retention.standard
  public var sources: [Source] = []
  /// Shares from 0 to 1.
  public var goneLimit = 0.5
  public var changedLimit = 0.5
  public var hooksBefore: [Hook] = []
  public var hooksAfter: [Hook] = []
  /// How old the newest good snapshot may become.
  public var rpoSeconds: Int64?

  /// Where Prometheus' node exporter finds the figures of a run.
  public var metricsTextfile: String?

  /// A server that is told of each run.
  public struct Address: Sendable, Equatable {
    public var url = ""
    /// Of a webhook: lines such as `Authorization: Bearer …`.
    public var headers: [String] = []
    /// Only failures are told, and warnings.
    public var onlyFailures = false
  }

  public var healthchecks: Address?
  /// A run with warnings is a good one to Healthchecks.
  public var warningsAreSuccess = false
  public var webhook: Address?
  /// A program that is told.
  public var notifyCommand: Hook?
  public var notifyCommandOnlyFailures = false
  /// What telling one of them may take, all attempts together.
  public var notifySeconds: Int64 = 30

  /// Where snapshots can be pushed to, in the order of the file.
  public var remotes: [RemoteConfiguration] = []

  public init() {}

  /// Reads a configuration; the first thing wrong with it is thrown, with its place.
  public init(text: String) throws(SettingsError) {
    self = try readConfiguration(text)
  }
}
