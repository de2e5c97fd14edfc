import TestSupport
import Testing

/// A repository, and sources in frozen snapshots on a btrfs of their own. Needs root.
final class FreezeWorld {
  let world: World
  let disk: LoopFileSystem
  /// Its programs come first in `PATH`.
  let programs: Tree
  /// The lines that the programs of the tests wrote.
  var log: [String] {
    get throws { try programs.exists("log") ? programs.text("log").split(separator: "\n").map(String.init) : [] }
  }

  init(_ type: String = "btrfs", mebibytes: Int = 400) throws {
    world = try World()
    disk = try LoopFileSystem(type, mebibytes: mebibytes, at: world.directory.path / "disk")
    programs = try Tree(making: world.directory.path / "programs")
  }

  func subvolume(_ name: ByteString) throws -> Tree {
    try tool("btrfs", ["-q", "subvolume", "create", disk.tree.root / name])
    return Tree(disk.tree.root / name)
  }

  /// The subvolumes of the disk. A removed frozen snapshot is none of them.
  func subvolumes() throws -> [String] {
    let text = String(decoding: try tool("btrfs", ["subvolume", "list", disk.tree.root]), as: UTF8.self)
    return text.split(separator: "\n").compactMap { $0.split(separator: " ").last.map(String.init) }
  }

  /// Writes a program of the shell.
  func makeProgram(_ name: ByteString, _ text: String) throws {
    try programs.write(name, "#!/bin/sh\nlog=\(programs.root)/log\n\(text)\n", mode: 0o755)
  }

  /// Each source is the lines of its table.
  func configure(_ sources: [String], repository: ByteString? = nil, rest: String = "") throws {
    let tables = sources.map { "[[source]]\n\($0)\n" }.joined()
    try Tree(world.directory.path).write(
      "c.toml", "repository = \"\(repository ?? world.repository.root)\"\n\(tables)\(rest)\n")
  }

  static func table(_ source: ByteString, _ freeze: String = "freeze = \"btrfs\"") -> String {
    "path = \"\(source)\"\n\(freeze)"
  }

  var configuration: ByteString { world.directory.path / "c.toml" }

  private var path: [String: String] { ["PATH": "\(programs.root):/usr/sbin:/usr/bin:/sbin:/bin"] }

  func run(_ arguments: [ByteString]) throws -> CommandResult {
    try world.treering(arguments + ["-c", configuration], inRepository: false, environment: path)
  }

  func start(_ arguments: [ByteString]) throws -> RunningCommand {
    try RunningCommand(try treeringBinary(), arguments + ["-c", configuration], environment: path)
  }

  /// Takes a snapshot of the configured sources.
  @discardableResult
  func snapshot(status: Int32 = 0, at location: SourceLocation = #_sourceLocation) throws -> SnapshotAnswer {
    let result = try run(["snapshot", "--json"])
    #expect(result.status == status, "\(result.errorText)", sourceLocation: location)
    return try result.decoded()
  }

  /// Requires that no frozen snapshot and no record is left.
  func expectNothingLeft(
    _ subvolumes: [String] = [], at location: SourceLocation = #_sourceLocation
  ) throws {
    #expect(try self.subvolumes() == subvolumes, sourceLocation: location)
    #expect(try disk.tree.names().allSatisfy { !$0.hasPrefix(".treering-") }, sourceLocation: location)
    #expect(!world.repository.exists(".treering/frozen"), sourceLocation: location)
  }
}
