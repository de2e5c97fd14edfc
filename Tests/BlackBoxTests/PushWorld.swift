import Foundation
import TestSupport
import Testing

/// The document of `push --json`.
struct PushAnswer: Decodable {
  let remote: String
  let snapshot: String
  let base: String?
  let result: String
  let bytesSent: Int
  let bytesReceived: Int
  let bytesOfTree: Int
  let entriesChanged: Int
  let filesLinked: Int
  let filesCopied: Int
  let newestThere: String?
}

/// A world whose snapshots are pushed to another repository, where a server is started by what stands for ssh(1): a
/// script that gives the command to a shell, or a real one.
///
/// Every push is followed by a proof that the snapshots which both repositories had before it are what they were.
final class PushWorld {
  let world: World
  /// The other repository.
  let far: Tree
  /// Where the other one is, and a few scripts.
  let place: Tree
  /// What `--ssh` gets; empty where the remote is a path.
  var ssh: String
  /// What the remote is called.
  var address: ByteString
  var provesUnchanged = true
  private var day = 0
  private let program: ByteString

  /// With `initialized` the other repository is made.
  init(_ purpose: String = "push", initialized: Bool = true, far elsewhere: ByteString? = nil) throws {
    world = try World(purpose)
    world.provesOlderUnchanged = false
    program = try treeringBinary()
    place = try Tree(making: world.directory.path / "far")
    far = Tree(elsewhere ?? place.root / "repository")
    try place.write("ssh", Self.standIn, mode: 0o755)
    try place.write("cut", Self.cutter, mode: 0o755)
    ssh = "\(place.root)/ssh"
    address = "ssh://far" + far.root
    if initialized { try tool(program, ["init", far.root]) }
  }

  /// What ssh(1) would do on the other machine with its last argument.
  static let standIn = """
    #!/bin/sh
    for last; do :; done
    exec sh -c "$last"

    """

  /// Starts a command, passes on so many bytes, and then ends as if the line had been cut: `close` lets the other
  /// end see the end of what came, `kill` ends it at once. `tell` says how many bytes came in all.
  private static let cutter = """
    #!/usr/bin/python3
    import os, signal, subprocess, sys
    limit, how, said = int(sys.argv[1]), sys.argv[2], sys.argv[3]
    child = subprocess.Popen(sys.argv[4:], stdin=subprocess.PIPE, bufsize=0)
    passed = 0
    while passed < limit:
        data = os.read(0, min(65536, limit - passed))
        if not data:
            break
        rest = memoryview(data)
        while rest:
            rest = rest[child.stdin.write(rest):]
        passed += len(data)
    with open(said, 'w') as file:
        file.write(str(passed))
    if how == 'kill' and passed >= limit:
        child.send_signal(signal.SIGKILL)
    if how == 'stop' and passed >= limit:
        child.send_signal(signal.SIGSTOP)
        signal.pause()
    child.stdin.close()
    status = child.wait()
    sys.exit(255 if passed >= limit else status)

    """

  /// A command for `--ssh` that passes on only the first bytes.
  func cut(after byteCount: Int, _ how: String = "close") -> String {
    "\(place.root)/cut \(byteCount) \(how) \(place.root)/passed \(ssh)"
  }

  /// How many bytes the last one that was cut passed on.
  func passed() throws -> Int { Int(try place.text("passed")) ?? -1 }

  /// The address in the form in which answers have it.
  var shownAddress: String { ssh.isEmpty ? far.root.text : address.text }

  // MARK: Pushing

  func words(
    _ arguments: [ByteString] = [], ssh other: String? = nil, to address: ByteString? = nil,
    remoteCommand: String? = nil
  ) -> [ByteString] {
    let ssh = other ?? ssh
    let words = ["push", address ?? self.address] + arguments + ["-r", world.repository.root]
    if ssh.isEmpty { return words }
    return words + ["--ssh", ByteString(ssh), "--remote-command", ByteString(remoteCommand ?? "\(program) serve")]
  }

  /// Runs push to its end.
  func run(
    _ arguments: [ByteString] = [], ssh: String? = nil, to address: ByteString? = nil, remoteCommand: String? = nil,
    environment: [String: String] = [:], at location: SourceLocation = #_sourceLocation
  ) throws -> CommandResult {
    let before = try fingerprints()
    let result = try runCommand(
      program, words(arguments, ssh: ssh, to: address, remoteCommand: remoteCommand), in: world.directory.path,
      environment: environment)
    try expectUnchanged(before, at: location)
    return result
  }

  func start(
    _ arguments: [ByteString] = [], ssh: String? = nil, to address: ByteString? = nil, remoteCommand: String? = nil
  ) throws -> RunningCommand {
    try RunningCommand(
      program, words(arguments, ssh: ssh, to: address, remoteCommand: remoteCommand), in: world.directory.path)
  }

  /// Pushes, which must succeed, and returns its answer.
  @discardableResult
  func push(
    _ arguments: [ByteString] = [], ssh: String? = nil, to address: ByteString? = nil, warns: Bool = false,
    remoteCommand: String? = nil, at location: SourceLocation = #_sourceLocation
  ) throws -> PushAnswer {
    let result = try run(
      arguments + ["--json"], ssh: ssh, to: address, remoteCommand: remoteCommand, at: location)
    #expect(
      result.status == (result.errorText.contains("\"level\":\"warning\"") ? 1 : 0), "\(result.errorText)",
      sourceLocation: location)
    // A small tree looks soon as if most of it were gone.
    let held = result.errorLines.filter { $0.contains("rotation is held in") }
    if !held.isEmpty {
      _ = try there(["release"])
      if far.exists(".treering/held") { _ = try there(["release"] + far.names(".treering/held")) }
    }
    #expect((result.errorLines.count == held.count) != warns, "\(result.errorText)", sourceLocation: location)
    return try result.decoded()
  }

  /// Pushes, which must fail with this status and one line that names the remote and says all of these.
  @discardableResult
  func expectFailure(
    _ status: Int32, saying words: String..., arguments: [ByteString] = [], ssh: String? = nil,
    to address: ByteString? = nil, remoteCommand: String? = nil, lines: Int = 1,
    at location: SourceLocation = #_sourceLocation
  ) throws -> CommandResult {
    let names = try names(far)
    let result = try run(arguments, ssh: ssh, to: address, remoteCommand: remoteCommand, at: location)
    #expect(result.status == status, "\(result.errorText)", sourceLocation: location)
    #expect(result.outputText == "", sourceLocation: location)
    #expect(result.errorLines.count == lines, "\(result.errorText)", sourceLocation: location)
    let last = result.errorLines.last ?? ""
    #expect(last.hasPrefix("treering: "), "\(result.errorText)", sourceLocation: location)
    let shown = (address ?? self.address).text
    #expect(last.contains(shown), "\(result.errorText)", sourceLocation: location)
    for word in words { #expect(result.errorText.contains(word), "\(result.errorText)", sourceLocation: location) }
    #expect(try self.names(far) == names, "a snapshot appeared", sourceLocation: location)
    return result
  }

  /// Takes a snapshot of the source; each is one of a later day, so that none has to wait for its second.
  @discardableResult
  func snapshot(_ options: [ByteString] = [], at location: SourceLocation = #_sourceLocation) throws -> SnapshotAnswer {
    try world.settle()
    day += 1
    let result = try here(["snapshot", world.source.root, "--json"] + options)
    #expect(result.status == 0, "\(result.errorText)", sourceLocation: location)
    return try result.decoded()
  }

  /// Runs the program on the repository here, at the time of the last snapshot.
  func here(_ arguments: [ByteString]) throws -> CommandResult {
    let time = ByteString(String(format: "20%02d-%02d-%02d 12:00:00", 30 + day / 336, day / 28 % 12 + 1, day % 28 + 1))
    return try runCommand(
      "faketime", ["-f", time, program] + arguments + ["-r", world.repository.root], in: world.directory.path,
      environment: fakedClock)
  }

  /// Runs the program on the other repository.
  func there(_ arguments: [ByteString]) throws -> CommandResult {
    try runCommand(program, arguments + ["-r", far.root], in: world.directory.path)
  }

  /// Holds the other repository as if something were at work there; returns what ends that.
  func lock() throws -> () throws -> Void {
    let file = far.root / ".treering/lock"
    let holder = try RunningCommand("flock", ["--no-fork", "--exclusive", file, "sleep", "1000"])
    try waitUntil("it is locked") { try runCommand("flock", ["-n", file, "true"]).status != 0 }
    return {
      holder.signal(SIGKILL)
      _ = try holder.wait()
    }
  }

  // MARK: Looking

  /// The dated directories of a repository, by name.
  func names(_ repository: Tree) throws -> [ByteString] {
    guard repository.exists("") else { return [] }
    return try repository.names().filter { $0.hasPrefix("20") && $0.bytes.last == UInt8(ascii: "Z") }
  }

  func fingerprints() throws -> [ByteString: Fingerprint] {
    guard provesUnchanged else { return [:] }
    var prints: [ByteString: Fingerprint] = [:]
    for repository in [world.repository, far] {
      for name in try names(repository) { prints[repository.root / name] = try Fingerprint(repository.root / name) }
    }
    return prints
  }

  func expectUnchanged(_ before: [ByteString: Fingerprint], at location: SourceLocation = #_sourceLocation) throws {
    for (path, fingerprint) in before.sorted(by: { $0.key < $1.key }) {
      let now = try Fingerprint(path)
      #expect(fingerprint.differences(to: now) == [], "\(path) has changed", sourceLocation: location)
    }
  }

  /// In what the other repository's snapshot differs from the one here: all but the times of the directories above
  /// the sources' paths, which treering makes.
  func different(_ name: ByteString) throws -> [String] {
    var lines: [String] = []
    let (own, other) = (Tree(world.repository.root / name), Tree(far.root / name))
    guard try own.names() == other.names() else { return ["\(name): other labels"] }
    for label in try own.names() {
      guard try own.names(label) == other.names(label) else { return ["\(name)/\(label): other sources"] }
      for path in try own.names(label) {
        lines += try differences(own.root / label / path, other.root / label / path).map { "\(name): \($0)" }
      }
    }
    return lines
  }

  /// Requires that the other repository has these snapshots, as they are here, by every oracle, and is sound.
  func expectSame(
    _ names: [ByteString]? = nil, isVerified: Bool = true, at location: SourceLocation = #_sourceLocation
  ) throws {
    for name in try names ?? self.names(far) {
      #expect(try different(name) == [], sourceLocation: location)
    }
    try expectSound(isVerified: isVerified, at: location)
  }

  /// Requires that nothing of a push is left, what is listed is there, and all is whole.
  func expectSound(isVerified: Bool = true, at location: SourceLocation = #_sourceLocation) throws {
    let list = try there(["list", "--json"]).decoded([ListAnswer].self)
    #expect(try list.map(\.name).sorted() == names(far).map(\.text), sourceLocation: location)
    if isVerified {
      let verified = try there(["verify"])
      #expect(verified.status == 0, "\(verified.outputText)\(verified.errorText)", sourceLocation: location)
    }
    #expect(try far.names(".treering/pending") == [], sourceLocation: location)
    #expect(try far.names(".treering/trash") == [], sourceLocation: location)
  }

  /// Waits until something holds.
  func waitUntil(
    _ what: String, seconds: Double = 180, location: SourceLocation = #_sourceLocation, _ holds: () throws -> Bool
  ) throws {
    let deadline = Date().addingTimeInterval(seconds)
    while try !holds() {
      try #require(Date() < deadline, "\(what) in time", sourceLocation: location)
      Thread.sleep(forTimeInterval: 0.01)
    }
  }
}

/// Only what asks for the time of day is told another one.
let fakedClock = ["NO_FAKE_STAT": "1", "FAKETIME_DONT_FAKE_MONOTONIC": "1", "TZ": "UTC"]

extension Tree {
  /// Writes a file that cannot be compressed, the same for the same seed.
  func writeNoise(_ path: ByteString, _ byteCount: Int, seed: Int = 1) throws {
    let script =
      "import random, sys\nr = random.Random(int(sys.argv[3]))\nf = open(sys.argv[1], 'wb')\n"
      + "left = int(sys.argv[2])\nwhile left:\n  n = min(left, 1 << 20); f.write(r.randbytes(n)); left -= n\n"
    try tool("python3", ["-c", ByteString(script), root / path, "\(byteCount)", "\(seed)"])
  }
}
