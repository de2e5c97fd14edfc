import TestSupport
import Testing

/// A world with another host: a real sshd, and a directory that is fetched from it.
final class FetchWorld {
  let world: World
  /// The directory of the host.
  let host: Tree
  let server: SSHServer
  private let files: Tree
  /// The key `fetch` of the tables.
  let program: String

  init(_ purpose: String = "fetch", by program: String = "rsync") throws {
    self.program = program
    world = try World(purpose)
    server = try SSHServer()
    files = Tree(world.directory.path)
    host = try Tree(making: world.directory.path / "host")
  }

  /// The table of a source of the host; `keys` are further lines.
  func table(_ path: ByteString? = nil, label: String = "web01", host: String = "root@127.0.0.1", keys: String = "")
    -> String
  {
    """
    [[source]]
    host = "\(host)"
    label = "\(label)"
    path = '''\(path ?? self.host.root)'''
    ssh = "\(server.sshCommand)"
    fetch = "\(program)"
    treering = ["env", "XDG_CACHE_HOME=\(cache)", "treering"]
    \(keys)

    """
  }

  /// The table with another command in the place of the host's treering.
  func table(running program: ByteString, by fetcher: String = "treering") -> String {
    table().replacing("fetch = \"treering\"", with: "fetch = \"\(fetcher)\"")
      .replacing("[\"env\", \"XDG_CACHE_HOME=\(cache)\", \"treering\"]", with: "[\"\(program)\"]")
  }

  /// Lets a moment pass, so that a later walk trusts the files of the host.
  func settle() throws { try tool("sleep", ["0.1"]) }

  /// The cache of the host's treering.
  var cache: ByteString { files.root / "host-cache" }

  /// The table of the source of this machine.
  var ownTable: String { "[[source]]\npath = \"\(world.source.root)\"\n" }

  /// Writes the configuration. Without tables it has the directory of the host alone.
  func configure(_ tables: String..., top: String = "") throws {
    let text = (tables.isEmpty ? [table()] : tables).joined()
    try files.write(
      "c.toml", "repository = \"\(world.repository.root)\"\n\(top)\n[retention]\nhourly = 24\n\(text)", mode: 0o600)
  }

  /// Runs a command with the configuration, and requires its status.
  @discardableResult
  func treering(
    _ words: ByteString..., status: Int32 = 0, at location: SourceLocation = #_sourceLocation
  ) throws -> CommandResult {
    let result = try world.treering(words + ["-c", files.root / "c.toml"], inRepository: false, at: location)
    #expect(result.status == status, "\(result.errorText)\(result.outputText)", sourceLocation: location)
    return result
  }

  /// Takes a snapshot of all sources.
  @discardableResult
  func snapshot(status: Int32 = 0, at location: SourceLocation = #_sourceLocation) throws -> SnapshotAnswer {
    let result = try treering("snapshot", "--json", status: status, at: location)
    return try result.decoded()
  }

  /// Where a snapshot has a directory of the host.
  func tree(of snapshot: SnapshotAnswer, _ path: ByteString? = nil, label: ByteString = "web01") -> Tree {
    Tree(world.repository.root / snapshot.name / label / (path ?? host.root))
  }

  /// Requires that a snapshot has what the host has, by every oracle.
  func expectFaithful(_ snapshot: SnapshotAnswer, at location: SourceLocation = #_sourceLocation) throws {
    #expect(try differences(host.root, tree(of: snapshot).root) == [], sourceLocation: location)
    let verified = try world.treering(["verify"])
    #expect(verified.status == 0, "\(verified.errorText)", sourceLocation: location)
  }

  /// A program on the host that stands for rsync(1); `$@` are its arguments.
  func program(_ script: String) throws -> ByteString {
    try files.write("stand-in", "#!/bin/bash\n\(script)\n", mode: 0o755)
    return files.root / "stand-in"
  }

  /// A program that runs another one, and breaks off after some bytes of its output.
  func program(cutting words: [String], after byteCount: Int) throws -> ByteString {
    try program(
      """
      exec python3 -c "
      import os, subprocess, sys
      words = [\(words.map { "'\($0)'" }.joined(separator: ", "))]
      child = subprocess.Popen(words + sys.argv[1:], stdout=subprocess.PIPE)
      rest = \(byteCount)
      while rest > 0:
          data = child.stdout.read1(min(65536, rest))
          if not data:
              break
          os.write(1, data)
          rest -= len(data)
      child.kill()
      " "$@"
      """)
  }

  // MARK: Ordinary users

  /// Gives an ordinary user the program, an ssh that runs the command here, and a configuration with a repository `own/r`.
  func equipOrdinaryUser(keys: String = "") throws {
    try tool("install", ["-m", "755", try treeringBinary(), files.root / "treering"])
    try files.write(
      "local", "#!/bin/sh\nwhile [ \"$1\" != web01 ]; do shift; done; shift; exec sh -c \"$*\"\n", mode: 0o755)
    try files.makeDirectory("own", mode: 0o755)
    try files.write(
      "own.toml",
      """
      repository = "\(files.root)/own/r"
      [retention]
      hourly = 24
      [[source]]
      host = "web01"
      label = "web01"
      path = "\(host.root)"
      ssh = "\(files.root)/local"
      \(keys)

      """, mode: 0o644)
  }

  /// Runs the program as the ordinary user.
  @discardableResult
  func runAsOrdinaryUser(
    _ words: [ByteString], at location: SourceLocation = #_sourceLocation
  ) throws -> CommandResult {
    let result = try runCommand(
      "setpriv", ["--reuid", "65534", "--regid", "65534", "--clear-groups", files.root / "treering"] + words)
    #expect(result.status == 0, "\(result.errorText)", sourceLocation: location)
    return result
  }
}
