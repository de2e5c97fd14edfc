import Foundation
import TestSupport
import Testing

/// A world whose snapshots are pushed to a repository of restic's format. Stock restic checks all data at the end.
final class ResticWorld {
  let world: World
  let storage: StorageServer
  let password: ByteString
  var place: Tree { storage.files! }
  var address: ByteString { storage.address }

  init(
    madeByRestic: Bool = false, at kind: Storage = .directory, isAppendOnly: Bool = false, diskSize: ByteString? = nil
  ) throws {
    world = try World("restic")
    storage = try StorageServer(kind, in: world.directory.path, isAppendOnly: isAppendOnly, diskSize: diskSize)
    password = world.directory.path / "password"
    try Tree(world.directory.path).write("password", "correct horse\n", mode: 0o600)
    if madeByRestic {
      try restic(["init"])
    } else {
      let made = try treering(["init", "-r", address])
      #expect(made.status == 0, "\(made.errorText)")
    }
  }

  /// Runs stock restic, which must succeed.
  @discardableResult
  func restic(_ arguments: [ByteString], status: Int32 = 0) throws -> CommandResult {
    let result = try runCommand(
      "restic",
      ["-r", storage.resticAddress, "--no-cache", "--password-file", password] + storage.resticOptions + arguments,
      in: world.directory.path, environment: storage.environment)
    #expect(result.status == status, "restic \(arguments.map(\.text)): \(result.outputText) \(result.errorText)")
    return result
  }

  /// Runs treering with all that the storage needs.
  @discardableResult
  func treering(_ arguments: [ByteString], inRepository: Bool = false) throws -> CommandResult {
    try world.treering(
      arguments + ["--password-file", password] + storage.options, inRepository: inRepository,
      environment: storage.environment)
  }

  @discardableResult
  func push(_ more: [ByteString] = [], status: Int32 = 0) throws -> PushAnswer {
    let result = try treering(["push", address, "--json"] + more, inRepository: true)
    #expect(result.status == status, "\(result.errorText)")
    return try result.decoded()
  }

  /// Runs treering on the repository of restic's format.
  @discardableResult
  func there(_ arguments: [ByteString], status: Int32 = 0) throws -> CommandResult {
    let result = try treering(arguments + ["-r", address])
    #expect(result.status == status, "\(arguments.map(\.text)): \(result.outputText) \(result.errorText)")
    return result
  }

  func check() throws {
    let result = try restic(["check", "--read-data"])
    #expect(result.outputText.contains("no errors were found"), "\(result.outputText)")
  }

  /// A new directory.
  private var count = 0
  func destination() -> ByteString {
    count += 1
    return world.directory.path / "out\(count)"
  }

  /// Requires that both programs restore a snapshot as it was: a copy of the source by `cp -a`.
  func expectRestored(_ name: ByteString, is copy: ByteString, resticID: ByteString) throws {
    let own = destination()
    try there(["restore", name, "--to", own])
    #expect(try differences(copy, own / world.source.root) == [])
    let other = destination()
    try restic(["restore", resticID, "--target", other])
    // restic 0.14 makes no socket, and no link whose target is not UTF-8. It gives the attributes of a link to its
    // target.
    let plain = destination()
    try tool("cp", ["-a", copy, plain])
    try tool("find", [plain, "-type", "s", "-delete"])
    let script = """
      import os, sys
      plain, other = (os.fsencode(path) for path in sys.argv[1:])
      for directory, names, files in os.walk(plain):
        for path in (os.path.join(directory, name) for name in names + files):
          if os.path.islink(path):
            try: os.readlink(path).decode()
            except UnicodeDecodeError:
              os.unlink(path)
              os.unlink(other + path[len(plain):])
      """
    try tool("python3", ["-c", ByteString(script), plain, other / world.source.root])
    _ = try runCommand("setfattr", ["-h", "-x", "trusted.mark", plain / "link-to-file"])
    _ = try runCommand("setfattr", ["-x", "trusted.mark", other / world.source.root / "text"])
    try tool("find", [plain, "-type", "d", "-exec", "touch", "-r", copy, "{}", "+"])
    try tool("find", [other / world.source.root, "-type", "d", "-exec", "touch", "-r", copy, "{}", "+"])
    let found = try differences(plain, other / world.source.root)
    #expect(found == [], "\(found)")
  }

  func copyOfSource() throws -> ByteString {
    let copy = destination()
    try tool("cp", ["-a", world.source.root, copy])
    return copy
  }
}
