/// The content of an `rsnapshot.conf`, as rsnapshot(1) 1.4 reads it.
///
/// It has the statements of the file and of its included files, in order. Each has its place and is checked.
public struct RsnapshotConfiguration: Sendable, Equatable {
  /// The origin of a statement.
  public struct Origin: Sendable, Equatable {
    public var file: String
    /// From 1; the first line of a continued statement.
    public var line: Int
    /// The effective text; tabs join continued lines.
    public var text: String

    /// The file and the line number.
    public var place: String { "\(file):\(line)" }
  }

  struct Statement: Sendable, Equatable {
    var name: String
    /// One to three values; the third is the rest of the line.
    var values: [String]
    var origin: Origin

    var value: String { values[0] }
  }

  private(set) var statements: [Statement] = []

  /// Reads a file; throws the first error that rsnapshot itself would reject, with its place.
  ///
  /// The existence of programs, sources and the root is not checked: the file may come from another machine.
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
      throw RsnapshotError(at: levels[0].origin, message: "the first of several levels should keep more than 1")
    }
  }
}

/// Access to the files of a configuration and to the paths that it names.
public struct RsnapshotFiles {
  /// The display name of a path.
  public var name: ([UInt8]) -> String
  /// Reads a file; a thrown error is shown after "cannot read FILE".
  public var read: ([UInt8]) throws -> [UInt8]
  /// True if the path exists and is not a directory.
  public var isFile: ([UInt8]) -> Bool
  /// The mount point of a logical volume, by its group and its own name; `nil` if it is not mounted.
  public var mountPoint: (_ group: String, _ volume: String) -> String?

  public init(
    name: @escaping ([UInt8]) -> String, read: @escaping ([UInt8]) throws -> [UInt8],
    isFile: @escaping ([UInt8]) -> Bool,
    mountPoint: @escaping (_ group: String, _ volume: String) -> String? = { _, _ in nil }
  ) {
    (self.name, self.read, self.isFile, self.mountPoint) = (name, read, isFile, mountPoint)
  }
}

/// An error in an `rsnapshot.conf`, with its place.
public struct RsnapshotError: Error, Sendable, Equatable, CustomStringConvertible {
  public var file: String
  /// From 1; `nil` if the error has no single place.
  public var line: Int?
  public var message: String

  init(file: String, line: Int? = nil, message: String) {
    (self.file, self.line, self.message) = (file, line, message)
  }

  init(at origin: RsnapshotConfiguration.Origin, message: String) {
    self.init(file: origin.file, line: origin.line, message: message)
  }

  public var description: String { "\(file)\(line.map { ":\($0)" } ?? ""): \(message)" }
}
