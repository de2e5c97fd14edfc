internal import Model
internal import Settings

/// The `treering.toml` that corresponds to an `rsnapshot.conf`, with notes on the settings without an equivalent.
public struct RsnapshotTranslation: Sendable {
  /// A setting without an equivalent, with advice.
  public struct NotCarriedOver: Sendable, Equatable {
    public var file: String
    public var line: Int
    /// The statement.
    public var text: String
    public var why: String
  }

  /// The configuration with comments; `NOT CARRIED OVER` marks each missing setting.
  public let text: String
  public let notCarriedOver: [NotCarriedOver]

  /// `name` is the file's display name; `files` gives access to files of patterns.
  public init(of configuration: RsnapshotConfiguration, name: String, files: RsnapshotFiles) throws(RsnapshotError) {
    let statements = configuration.statements
    var notes = RsnapshotNotes()
    let top = try Self.top(of: statements, files: files, notes: &notes)
    let retention = rsnapshotRetention(of: statements, notes: &notes)
    var sources = RsnapshotSources(statements: statements, files: files)
    let tables = try sources.tables(notes: &notes)
    let hooks = rsnapshotHooks(of: statements, scripts: sources.scripts)
    var lines = TOMLText.comment(
      """
      treering.toml, made of \(name) by: treering import rsnapshot
      Check it with: treering config check
      """)
    if !notes.list.isEmpty { lines += TOMLText.comment("What has no equivalent is marked NOT CARRIED OVER.") }
    lines += top
    if sources.label != "localhost" { lines += ["", "label = " + TOMLText.string(sources.label)] }
    for section in [retention] + tables + [hooks] where !section.isEmpty { lines += [""] + section }
    lines += [""]
    lines += TOMLText.comment(
      """
      There is more: keep_spare, minimum_free, exclude_caches, guards against disasters, whom to tell, metrics.
      All keys, with what they are for, are printed by: treering config example
      """)
    text = lines.joined(separator: "\n") + "\n"
    notCarriedOver = notes.list
    do { _ = try Configuration(text: text) } catch {
      throw RsnapshotError(file: name, message: "what was made of it is no configuration: \(error)")
    }
  }

  /// The lines before the tables.
  private static func top(
    of statements: [RsnapshotConfiguration.Statement], files: RsnapshotFiles, notes: inout RsnapshotNotes
  ) throws(RsnapshotError) -> [String] {
    var lines: [String] = []
    var unneeded: [String] = []
    let remotes = statements.filter { $0.name == "backup" }.map { RsnapshotSource.remote(of: $0.value) }
    let carried =
      (remotes.contains(.shell) ? ["cmd_ssh", "ssh_args"] : [])
      + (remotes.contains(.volume) ? ["linux_lvm_snapshotsize"] : [])
    for statement in statements
    where RsnapshotConfiguration.Statement.unneeded.contains(statement.name) && !unneeded.contains(statement.name)
      && !carried.contains(statement.name)
    {
      unneeded.append(statement.name)
    }
    if !unneeded.isEmpty { lines += TOMLText.comment("Not needed: \(unneeded.joined(separator: ", ")).") }
    for statement in statements where statement.includedCommand != nil {
      lines += notes.add(
        statement.origin, why: "treering runs no program to be configured: run it yourself, and import what it prints")
    }
    for unknown in try statements.arguments(before: statements.count, files: files).unknown {
      lines += notes.add(unknown)
    }
    guard let root = statements.last(where: { $0.name == "snapshot_root" }) else { return lines }
    let path = "/" + (cleanComponents(of: root.value) + ["treering"]).joined(separator: "/")
    lines += [""]
    lines += TOMLText.comment(
      """
      \(root.origin.place): on the file system of rsnapshot's snapshots, beside them.
      Make it with: treering init \(path)
      """)
    return lines + ["repository = " + TOMLText.string(path)]
  }
}

/// The settings that are not carried over, in the order of discovery.
struct RsnapshotNotes {
  private(set) var list: [RsnapshotTranslation.NotCarriedOver] = []

  /// Returns the comment for the setting's place; empty if the same comment exists.
  mutating func add(_ origin: RsnapshotConfiguration.Origin, why: String) -> [String] {
    let note = RsnapshotTranslation.NotCarriedOver(file: origin.file, line: origin.line, text: origin.text, why: why)
    guard !list.contains(note) else { return [] }
    list.append(note)
    return TOMLText.comment("NOT CARRIED OVER: \(origin.place): \(origin.text)\n  \(why)")
  }

  mutating func add(_ unknown: RsyncArguments.Unknown) -> [String] {
    add(unknown.origin, why: "treering has nothing for \(unknown.argument)")
  }
}

/// Splits a path into components, without empty ones and `.`.
func cleanComponents(of path: String) -> [String] {
  TreePath(parsing: path.utf8).map { String(decoding: $0, as: UTF8.self) }
}
