/// What an `rsnapshot.conf` says, as rsnapshot(1) 1.4 reads it: the statements of the file and of those that it
/// includes, in their order, each with its place and found right.
public struct RsnapshotConfiguration: Sendable, Equatable {
  /// Where a statement stands.
  public struct Origin: Sendable, Equatable {
    public var file: String
    /// From 1; the first of a statement that goes on in further lines.
    public var line: Int
    /// As it counts: what goes on in further lines is joined by tabs.
    public var text: String

    /// The file and the line.
    public var place: String { "\(file):\(line)" }
  }

  struct Statement: Sendable, Equatable {
    var name: String
    /// One to three; the third is all that is left of the line.
    var values: [String]
    var origin: Origin

    var value: String { values[0] }
  }

  private(set) var statements: [Statement] = []

  /// Reads a file; the first thing that rsnapshot itself would reject is thrown, with its place.
  ///
  /// Whether programs, sources and the root exist is not asked: the file may be that of another machine.
  public init(path: [UInt8], files: RsnapshotFiles) throws(RsnapshotError) {
    var reader = RsnapshotReader(files: files)
    try reader.read(path, includedBy: nil)
    let name = files.name(path)
    for (parameters, what) in [
      (["config_version"], "config_version"), (["cmd_rsync"], "cmd_rsync"), (["snapshot_root"], "snapshot_root"),
      (["retain", "interval"], "retain"), (["backup", "backup_script", "backup_exec"], "backup"),
    ] where !reader.statements.contains(where: { parameters.contains($0.name) }) {
      throw RsnapshotError(file: name, message: "\"\(what)\" is missing; rsnapshot takes no configuration without it")
    }
    statements = reader.statements
    let levels = statements.filter { $0.name == "retain" || $0.name == "interval" }
    if levels.count > 1, Int(levels[0].values[1]) == 1 {
      throw RsnapshotError(levels[0].origin, "the first of several levels should keep more than 1")
    }
  }
}

/// The files that a configuration is read from and speaks of.
public struct RsnapshotFiles {
  /// What a person reads for a path.
  public var name: ([UInt8]) -> String
  /// The content; throws what a person reads after "cannot read FILE".
  public var read: ([UInt8]) throws -> [UInt8]
  /// True for what is there and is no directory.
  public var isFile: ([UInt8]) -> Bool

  public init(
    name: @escaping ([UInt8]) -> String, read: @escaping ([UInt8]) throws -> [UInt8],
    isFile: @escaping ([UInt8]) -> Bool
  ) {
    self.name = name
    self.read = read
    self.isFile = isFile
  }
}

/// What is wrong with an `rsnapshot.conf`, and where.
public struct RsnapshotError: Error, Sendable, Equatable, CustomStringConvertible {
  public var file: String
  /// From 1; `nil` where the fault has no one place.
  public var line: Int?
  public var message: String

  init(file: String, line: Int? = nil, message: String) {
    self.file = file
    self.line = line
    self.message = message
  }

  init(_ origin: RsnapshotConfiguration.Origin, _ message: String) {
    self.init(file: origin.file, line: origin.line, message: message)
  }

  public var description: String { "\(file)\(line.map { ":\($0)" } ?? ""): \(message)" }
}
