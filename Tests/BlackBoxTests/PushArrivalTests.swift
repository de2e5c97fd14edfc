import Foundation
import TestSupport
import Testing

/// The steps after a snapshot has been published: whatever fails there is no failure of the push, and the next one
/// finishes it.
@Suite("push: after the publication")
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
      remoteCommand: "strace -f -qq -o /dev/null -e trace=symlink,symlinkat -e inject=symlink,symlinkat:signal=SIGKILL:when=2 "
        + "\(try treeringBinary()) serve")
    #expect(result.status == 7, "\(result.errorText)")
    #expect(push.far.exists(name) || push.far.exists(".treering/pending/" + name), "it was published")
    #expect(push.far.exists(".treering/rotation-held"))
    #expect(try latest(push) != name)
  }

  @Test("a server that is killed before `latest`: the next push finishes, and so does a rotation", arguments: ["push", "rotate"])
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

  @Test("what came looks like a disaster: it is held by whoever looks at it, and says so", arguments: ["push", "rotate"])
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
