import Foundation
import TestSupport
import Testing

/// The steps after a snapshot has been published: whatever fails there is no failure of the push, and the next one
/// finishes it.
@Suite("push: after the publication", .waits)
struct PushArrivalTests {
  /// A world with one snapshot that was pushed, and a second one that was not.
  private func world(files: Int = 12, _ edit: (Tree) throws -> Void) throws -> (PushWorld, ByteString) {
    let push = try PushWorld("push-arrival")
    for index in 0..<files { try push.world.source.write(ByteString("z\(index)"), "\(index)") }
    try push.snapshot()
    try push.push()
    try edit(push.world.source)
    let second = try push.snapshot(["--accept-changes"])
    return (push, second.name)
  }

  private func latest(_ push: PushWorld) throws -> ByteString {
    ByteString(try tool("readlink", [push.far.root / "latest"]).dropLast())
  }

  /// Pushes to a server that is killed when it would make `latest` anew: the snapshot is there, and nothing else. The
  /// first symbolic link is that of the probe.
  private func kill(_ push: PushWorld, _ name: ByteString) throws {
    let result = try push.run(
      remoteCommand:
        "strace -f -qq -o /dev/null -e trace=symlink,symlinkat -e inject=symlink,symlinkat:signal=SIGKILL:when=2 "
        + "\(try treeringBinary()) serve")
    #expect(result.status == 7, "\(result.errorText)")
    #expect(push.far.exists(name) || push.far.exists(".treering/pending/" + name), "it was published")
    #expect(push.far.exists(".treering/rotation-held"))
    #expect(try latest(push) != name)
  }

  @Test(
    "a server that is killed before `latest`: the next push finishes, and so does a rotation",
    arguments: ["push", "rotate"])
  func killed(how: String) throws {
    let (push, name) = try world { try $0.write("new", "new") }
    try kill(push, name)
    try tool("rm", ["-r", push.far.root / "daily"])
    if how == "push" {
      #expect(try push.push().result == "there")
      #expect(try latest(push) == name)
      #expect(push.far.exists("daily"))
    }
    let rotated = try push.there(["rotate", "--keep", "daily=7"])
    #expect(rotated.status == 0, "\(rotated.errorText)")
    #expect(!push.far.exists(".treering/rotation-held"))
    try push.push()
    try push.expectSame()
  }

  @Test(
    "what came looks like a disaster: it is held by whoever looks at it, and says so", arguments: ["push", "rotate"])
  func killedDisaster(how: String) throws {
    let (push, name) = try world(files: 40) { source in
      for index in 0..<40 { try source.write(ByteString("z\(index)"), "other \(index)") }
    }
    try kill(push, name)
    if how == "push" {
      let result = try push.run()
      #expect(result.status == 1 && result.errorText.contains("have another content"), "\(result.errorText)")
    }
    let rotated = try push.there(["rotate", "--keep", "daily=7"])
    #expect(rotated.status == 4 && rotated.errorText.contains("have another content"), "\(rotated.errorText)")
  }

  @Test("files that were moved are not gone, also when another process compares")
  func killedMoved() throws {
    let (push, name) = try world(files: 40) { source in
      try source.makeDirectory("d")
      for index in 0..<40 { try tool("mv", [source.root / ByteString("z\(index)"), source.root / "d"]) }
    }
    try kill(push, name)
    try push.push()
    #expect(!push.far.exists(".treering/rotation-held"))
  }

  @Test("a comparison that fails is told, and made up for by the next push")
  func cannotCompare() throws {
    let (push, name) = try world { try $0.write("new", "new") }
    let first = try push.names(push.far)[0]
    try kill(push, name)
    let catalog = push.far.root / ".treering/catalogs" / (first + ".catalog")
    try tool("cp", ["-p", catalog, push.place.root / "kept"])
    try tool("dd", ["if=/dev/zero", "of=" + catalog, "bs=1", "seek=30", "count=60", "conv=notrunc"])
    let result = try push.run()
    #expect(result.status == 1 && result.errorText.contains("cannot be compared with \(first)"), "\(result.errorText)")
    let rotated = try push.there(["rotate", "--keep", "daily=7", "-n"])
    #expect(rotated.errorText.contains("cannot be compared"), "\(rotated.errorText)")
    try tool("cp", ["-p", push.place.root / "kept", catalog])
    try push.push()
    #expect(!push.far.exists(".treering/rotation-held"))
  }

  private func holds(_ push: PushWorld) throws -> [String] {
    guard push.far.exists(".treering/rotation-held") else { return [] }
    return try push.far.text(".treering/rotation-held").split(separator: "\n").map(String.init)
  }

  @Test("one hold on rotation ends without another's: an arrival that is all right, and a local run that is not")
  func localSuspicion() throws {
    let (push, name) = try world { try $0.write("new", "new") }
    let own = try Tree(making: push.place.root / "own")
    for index in 0..<30 { try own.write("f\(index)", "\(index)") }
    #expect(try push.there(["snapshot", own.root]).status == 0)
    try kill(push, name)
    for index in 0..<30 { try own.write("f\(index)", "encrypted \(index)") }
    try push.world.settle()
    let suspect = try push.there(["snapshot", own.root])
    #expect(suspect.status == 1 && suspect.errorText.contains("rotation is held until"), "\(suspect.errorText)")
    // The arrival was compared, and is all right.
    let held = try holds(push)
    #expect(held.count == 1 && held[0].contains("have another content"), "\(held)")
    let rotated = try push.there(["rotate", "--keep", "daily=7"])
    #expect(rotated.status == 4 && rotated.errorText.contains("have another content"), "\(rotated.errorText)")
    #expect(try push.there(["release"]).outputText.hasPrefix("rotation goes on\n"))
    #expect(try push.there(["rotate", "--keep", "daily=7"]).status == 0)
  }

  @Test("while one arrival cannot be compared, the next one is, and each is held for itself")
  func arrivalsQueue() throws {
    let (push, name) = try world(files: 40) { try $0.write("new", "new") }
    let first = try push.names(push.far)[0]
    try kill(push, name)
    let catalog = push.far.root / ".treering/catalogs" / (first + ".catalog")
    try tool("cp", ["-p", catalog, push.place.root / "kept"])
    try tool("dd", ["if=/dev/zero", "of=" + catalog, "bs=1", "seek=30", "count=60", "conv=notrunc"])
    for index in 0..<40 { try push.world.source.write(ByteString("z\(index)"), "encrypted \(index)") }
    let third = try push.snapshot(["--accept-changes"])
    let result = try push.run()
    #expect(result.status == 1, "\(result.errorText)")
    #expect(result.errorText.contains("\(name): cannot be compared with \(first)"), "\(result.errorText)")
    #expect(result.errorText.contains("have another content since the snapshot \(name)"), "\(result.errorText)")
    #expect(try holds(push).count == 2)
    try tool("cp", ["-p", push.place.root / "kept", catalog])
    let rotated = try push.there(["rotate", "--keep", "daily=7"])
    #expect(rotated.status == 4 && rotated.errorText.contains("\(third.name)"), "\(rotated.errorText)")
    #expect(try holds(push).count == 1)
  }

  @Test("an arrival, or the snapshot before it, that cannot be looked at now stays held", arguments: [0, 1])
  func cannotBeLookedAt(which: Int) throws {
    let (push, name) = try world { try $0.write("new", "new") }
    try kill(push, name)
    try push.push()
    #expect(try holds(push) == [])
    // As the server leaves it that is killed before it compares.
    try push.far.write(
      ".treering/rotation-held", "2026-01-01T00:00:00Z \(name) came with 0 moved files and has not been looked at\n")
    let rotate: [ByteString] = try [treeringBinary(), "rotate", "--keep", "daily=7", "-r", push.far.root]
    let unusable = try push.names(push.far)[which] + ".catalog"
    let refused = try runCommand(
      "strace",
      ["-f", "-qq", "-o", "/dev/null", "-P", unusable, "-e", "trace=openat", "-e", "inject=openat:error=ESTALE"]
        + rotate)
    #expect(refused.status == 4 && refused.errorText.contains("cannot be compared"), "\(refused.errorText)")
    #expect(try holds(push).count == 1)
    #expect(try push.there(["rotate", "--keep", "daily=7"]).status == 0)
    #expect(try holds(push) == [])
  }

  @Test("each source of an arrival is compared with the newest snapshot that has it")
  func eachSource() throws {
    let push = try PushWorld("push-each-source")
    let (here, other) = (push.world.source, try Tree(making: push.place.root / "other"))
    try here.write("file", "text")
    for index in 0..<40 { try other.write(ByteString("z\(index)"), "\(index)") }
    for sources in [[here.root, other.root], [here.root]] {
      try take(push, sources)
      try push.push()
    }
    for index in 0..<40 { try other.write(ByteString("z\(index)"), "encrypted \(index)") }
    try take(push, [here.root, other.root])
    let result = try push.run()
    #expect(result.status == 1 && result.errorText.contains("have another content"), "\(result.errorText)")
  }

  private func take(_ push: PushWorld, _ sources: [ByteString]) throws {
    Thread.sleep(forTimeInterval: 1.1)
    let taken = try runCommand(
      treeringBinary(), ["snapshot", "--accept-changes", "-r", push.world.repository.root] + sources)
    #expect(taken.status == 0, "\(taken.errorText)")
  }

  @Test("what cannot be remembered here is a warning: the snapshot has arrived", arguments: ["replaced", "read-only"])
  func cannotRemember(how: String) throws {
    let push = try PushWorld("push-remember")
    push.ssh = ""
    push.address = push.far.root
    try push.world.source.write("file", "text")
    let name = try push.snapshot().name
    let repository = push.world.repository
    if how == "replaced" {
      try repository.write(".treering/remotes", "no directory")
    } else {
      try tool("mount", ["--bind", "-o", "ro", repository.root, repository.root])
    }
    defer { if how == "read-only" { _ = try? tool("umount", [repository.root]) } }
    for _ in 0..<2 {
      let result = try push.run()
      #expect(result.status == 1, "\(result.errorText)")
      #expect(result.errorText.contains("has \(name), and that cannot be remembered here"), "\(result.errorText)")
    }
    try push.expectSame([name])
  }
}
