import Foundation
import TestSupport
import Testing

/// Sources of hosts that have treering, when something is wrong: with the run, the stored files, the user, or the host.
@Suite("sources of hosts with treering, in trouble", .waits)
struct TreeringFetchSafetyTests {
  private let fetch: FetchWorld
  private var host: Tree { fetch.host }

  init() throws {
    fetch = try FetchWorld("fetch-safety", by: "treering")
    try fetch.configure()
  }

  /// The catalogs of the only receiver.
  private func received() throws -> [ByteString] {
    let receiver = try #require(try fetch.world.repository.names(".treering/hosts").first)
    return try fetch.world.repository.names(".treering/hosts" / receiver / ".treering/catalogs")
  }

  // MARK: The run

  @Test("after a refused run the source is fetched as it is then, and never shown as it was before")
  func refusedRun() throws {
    for index in 0..<40 { try host.write(ByteString("\(index)"), "content \(index)") }
    try fetch.settle()
    try fetch.snapshot()
    for name in try host.names() { try host.remove(name) }
    try host.write("new", "new")
    try fetch.settle()
    for _ in 0..<2 { try fetch.treering("snapshot", status: 4) }
    #expect(try fetch.world.snapshotNames().count == 1)
    let result = try fetch.treering("snapshot", "--json", "--accept-changes")
    try fetch.expectFaithful(result.decoded())
    let last: SnapshotAnswer = try result.decoded()
    #expect(try fetch.tree(of: last).names() == ["new"])
    try fetch.expectFaithful(fetch.snapshot())
  }

  @Test("after a run that was killed once the source had come, the source is fetched as it is then")
  func killedRun() throws {
    try host.write("file", "old")
    try fetch.settle()
    try fetch.snapshot()
    try host.write("file", "new")
    try fetch.settle()
    // Sources are frozen after the fetch.
    let files = Tree(fetch.world.directory.path)
    let killer = try fetch.program(
      """
      [ "$1" = make ] || exit 0
      p=$$
      until grep -qx treering /proc/$p/comm; do p=$(ps -o ppid= -p $p | tr -d ' '); done
      kill -9 $p
      """)
    try fetch.world.source.write("own", "own")
    try fetch.configure(fetch.ownTable + "freeze = [\"\(killer)\"]\n", fetch.table())
    let killed = try fetch.world.treering(["snapshot", "-c", files.root / "c.toml"], inRepository: false)
    #expect(killed.status == 137, "\(killed.errorText)")
    #expect(try fetch.world.snapshotNames().count == 1)
    // The frozen snapshot of the killed run is a warning.
    try fetch.configure()
    let next = try fetch.snapshot(status: 1)
    #expect(try fetch.tree(of: next).text("file") == "new")
    try fetch.expectFaithful(next)
  }

  @Test("a change beside the source, above it, is none of the source, and nothing is received")
  func changeAbove() throws {
    try host.makeDirectory("a")
    try host.write("a/file", "x")
    try fetch.settle()
    try fetch.configure(fetch.table(host.root / "a"))
    try fetch.snapshot()
    let names = try received()
    try host.write("beside", "beside")
    let next = try fetch.snapshot()
    #expect(try fetch.tree(of: next, host.root / "a").exists("file") && received() == names)
  }

  // MARK: Stored files

  @Test("a stored file that is not as its catalog has it is not linked, and comes again")
  func tamperedFiles() throws {
    for name: ByteString in ["longer", "mode", "other", "same"] { try host.writeNoise(name, 200_000) }
    try fetch.settle()
    let first = try fetch.snapshot()
    fetch.world.provesOlderUnchanged = false
    let stored = fetch.tree(of: first)
    try stored.write("longer", "something else")
    try stored.setMode("mode", 0o600)
    // Size and time stay.
    let script: ByteString = """
      touch -r "$1" "$1.t"; printf x | dd of="$1" conv=notrunc; touch -r "$1.t" "$1"; rm "$1.t"
      """
    try tool("sh", ["-ec", script, "sh", stored.root / "other"])
    try host.overwrite("other", at: 100_000, bytes: [1, 2, 3])
    try host.write("new", "new")
    try fetch.settle()
    let result = try fetch.treering("snapshot", "--json", status: 1)
    let second: SnapshotAnswer = try result.decoded()
    #expect(try differences(host.root, fetch.tree(of: second).root) == [])
    #expect(try fetch.tree(of: second).inode("same") == stored.inode("same"))
    // The warnings name the host and the snapshot.
    let text = result.errorText
    #expect(text.contains("web01\(host.root)/longer") && text.contains(first.snapshot), "\(text)")
    #expect(!text.contains("receiving machine"), "\(text)")
    let verified = try fetch.world.treering(["verify", ByteString(second.snapshot)])
    #expect(verified.status == 0, "\(verified.errorText)")
  }

  @Test(
    "a received tree that is not what the host announced is never published",
    arguments: [
      "rm $tree/file", "cp -p $tree/file $tree/x; mv $tree/x $tree/file", "ln $tree/file $tree/more",
      "mkdir $tree/more", "chmod 600 $tree/file", "touch $tree", "ln -f $0 $tree/file",
    ])
  func tamperedTree(script: String) throws {
    try host.write("file", "x", mode: 0o644)
    // A source that is frozen is frozen after the fetch.
    let program = try fetch.program(
      """
      [ "$1" = make ] || exit 0
      for tree in '\(fetch.world.repository.root)'/.treering/fetched/*/tree; do \(script); done
      exit 1
      """)
    try fetch.world.source.write("own", "own")
    try fetch.configure(fetch.ownTable + "freeze = [\"\(program)\"]\n", fetch.table())
    let result = try fetch.treering("snapshot", status: 3)
    #expect(result.errorText.contains("is not what the host sent"), "\(result.errorText)")
    #expect(try fetch.world.snapshotNames().isEmpty)
  }

  @Test("a received file that has a name outside the source is refused, unless the source had it before")
  func foreignFile() throws {
    try host.write("file", "x")
    try host.write("other", "y")
    let repository = fetch.world.repository.root
    let program = try fetch.program(
      """
      [ "$1" = make ] || exit 0
      ln '\(repository)'/.treering/fetched/*/tree/file '\(repository)/.treering/name'
      exit 1
      """)
    try fetch.world.source.write("own", "own")
    try fetch.configure(fetch.ownTable + "freeze = [\"\(program)\"]\n", fetch.table())
    let result = try fetch.treering("snapshot", status: 3)
    #expect(result.errorText.contains("is neither a file of the host nor a stored one"), "\(result.errorText)")
    #expect(try fetch.world.snapshotNames().isEmpty)
  }

  @Test("a renamed directory with all files of a source is not gone, and its files are the stored ones")
  func renamedDirectory() throws {
    try host.makeDirectory("a")
    for index in 0..<40 { try host.write("a" / ByteString("\(index)"), "content \(index)") }
    try fetch.settle()
    let first = try fetch.snapshot()
    try host.rename("a", to: "b")
    try fetch.settle()
    let second = try fetch.snapshot()
    try fetch.expectFaithful(second)
    #expect(try fetch.tree(of: first).inode("a/7") == fetch.tree(of: second).inode("b/7"))
  }

  @Test("a disk of the host that is not mounted empties nothing, whatever the share of its entries")
  func unmountedDisk() throws {
    for index in 0..<40 { try host.write(ByteString("\(index)"), "content \(index)") }
    let disk = try LoopFileSystem("ext4", mebibytes: 8, at: host.root / "disk")
    try disk.tree.write("file", "x")
    try fetch.settle()
    let first = try fetch.snapshot()
    #expect(fetch.tree(of: first).exists("disk/file"))
    try disk.unmount()
    let result = try fetch.treering("snapshot", status: 3)
    #expect(result.errorText.contains("is on another file system than in the snapshot"), "\(result.errorText)")
    #expect(try fetch.world.snapshotNames().count == 1)
    try disk.mount()
    #expect(try fetch.tree(of: fetch.snapshot()).exists("disk/file"))
    try disk.unmount()
    #expect(try fetch.treering("snapshot", "--accept-changes").status == 0)
    try fetch.snapshot()
  }

  // MARK: Ordinary users

  @Test("an ordinary user's snapshot has owners and devices in the catalog, and says so")
  func ordinaryUser() throws {
    let files = Tree(fetch.world.directory.path)
    try fetch.equipOrdinaryUser(
      keys: """
        fetch = "treering"
        treering = ["env", "XDG_CACHE_HOME=\(files.root)/own/cache", "\(files.root)/treering"]
        """)
    try host.write("own", "own", mode: 0o644)
    try host.write("roots", "roots", mode: 0o644)
    try host.makeDirectory("directory", mode: 0o755)
    try tool("chown", ["-R", "65534:65534", host.root, files.root / "own"])
    try tool("chown", ["0:0", host.root / "roots", host.root / "directory"])
    try tool("mknod", [host.root / "device", "c", "1", "3"])
    try tool("chmod", ["711", files.root])
    func run(_ command: ByteString...) throws -> CommandResult { try fetch.runAsOrdinaryUser(command) }
    try fetch.settle()
    _ = try run("init", "-r", files.root / "own/r")
    let said = try run("snapshot", "-v", "-c", files.root / "own.toml").outputText
    let words = "owner, mode, device or attributes of 3 entries are in the catalog only, because you may not set them"
    #expect(said.contains(words), "\(said)")
    func expectAll(_ result: CommandResult) throws {
      let answer: SnapshotAnswer = try result.decoded()
      #expect(answer.catalogOnly == 3)
      let list = try run("export", "-r", files.root / "own/r", ByteString(answer.snapshot), "--format", "mtree")
      let lines = list.outputText.split(separator: "\n")
      for name in ["roots", "directory", "device"] {
        #expect(lines.contains { $0.contains("/\(name) ") && $0.contains("uid=0 ") }, "\(list.outputText)")
      }
    }
    // An unchanged source keeps them, and so does a changed one.
    try expectAll(run("snapshot", "--json", "-c", files.root / "own.toml"))
    try host.write("new", "new", mode: 0o644)
    try tool("chown", ["65534:65534", host.root / "new"])
    try fetch.settle()
    try expectAll(run("snapshot", "--json", "-c", files.root / "own.toml"))
    let verified = try run("verify", "-r", files.root / "own/r")
    #expect(verified.errorText == "", "\(verified.errorText)")
  }

  // MARK: Hosts without this treering

  @Test(
    "rsync fetches where the host's treering is missing, older, or no treering at all",
    arguments: [
      "exit 127", "echo 'error: Unknown option --source' >&2; exit 2", "echo Welcome; exec cat > /dev/null",
      "printf '\\037\\000\\000\\000\\001\\002\\003\\004'; exec cat > /dev/null",
      // A hello of a version that does not exist.
      "printf '\\001\\013\\000\\000\\000treering\\143\\143\\000'; exec cat > /dev/null",
    ])
  func fallback(script: String) throws {
    try host.write("file", "x")
    try fetch.configure(fetch.table(running: try fetch.program(script), by: "auto"))
    try fetch.expectFaithful(fetch.snapshot())
    try fetch.configure(fetch.table(running: try fetch.program(script), by: "treering"))
    let result = try fetch.treering("snapshot", status: 3)
    #expect(result.errorText.contains("the host has no treering that can send it"), "\(result.errorText)")
  }

  @Test(
    "rsync fetches with a key that runs nothing else",
    arguments: ["rrsync -ro /", "rsync --server --sender -logDtpXAHSre.iLsfxCIvu --numeric-ids . HOST/"])
  func forcedRsync(command: String) throws {
    try host.write("file", "x")
    let key = try fetch.server.makeKey("forced")
    let forced = command.replacing("HOST", with: "\(host.root)")
    try fetch.server.authorize(key, for: "root", options: "restrict,command=\"\(forced)\"")
    try fetch.configure(
      fetch.table().replacing("fetch = \"treering\"", with: "fetch = \"auto\"")
        .replacing("-i \(fetch.server.key.file)", with: "-i \(key.file)"))
    try fetch.expectFaithful(fetch.snapshot())
  }

  @Test("rsync takes the place of treering for no source that asks for treering")
  func severalLacking() throws {
    for name: ByteString in ["a", "b"] {
      try host.makeDirectory(name)
      for file: ByteString in ["file", "secret"] { try host.write(name / file, "x") }
    }
    func table(_ name: ByteString) -> String {
      fetch.table(host.root / name, keys: "exclude = [\"secret\"]")
        .replacing("\"treering\"]", with: "\"/none/treering\"]")
    }
    try fetch.configure(table("a"), table("b"))
    let result = try fetch.treering("snapshot", status: 3)
    let count = result.errorText.components(separatedBy: "the host has no treering that can send it").count - 1
    #expect(count >= 2, "\(result.errorText)")
    #expect(try fetch.world.snapshotNames().isEmpty)
  }

  @Test("rsync fetches where treering cannot have its cache")
  func noCache() throws {
    try host.write("file", "x")
    try fetch.configure(
      fetch.table().replacing("fetch = \"treering\"", with: "fetch = \"auto\"")
        .replacing("XDG_CACHE_HOME=\(fetch.cache)", with: "XDG_CACHE_HOME=/proc/none"))
    try fetch.expectFaithful(fetch.snapshot())
  }

  // MARK: The host's cache

  @Test("the cache of the host is one of its user, beside those of direct snapshots, and may be lost at any time")
  func cache() throws {
    try host.write("file", "x")
    try fetch.settle()
    try fetch.snapshot()
    #expect(try Tree(fetch.cache).names("treering") == ["sources-0"])
    let names = try Tree(fetch.cache).names("treering/sources-0")
    #expect(names.count == 1 && !Tree(fetch.cache / "treering/sources-0" / names[0]).exists(".treering/history.jsonl"))
    let catalogs = try received()
    try tool("rm", ["-rf", fetch.cache])
    try fetch.expectFaithful(fetch.snapshot())
    #expect(try received() == catalogs)
  }
}
