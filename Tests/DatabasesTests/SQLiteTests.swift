import Databases
import Foundation
import Model
import Posix
import Settings
import TestSupport
import Testing

@Suite("SQLite and commands") struct SQLiteTests {
  private func make(_ mode: String, _ name: ByteString = "it's a \"%?# db") throws -> (TemporaryDirectory, ByteString) {
    let place = try TemporaryDirectory("sqlite")
    let path = place.path / name
    try tool(
      "sqlite3",
      [
        path,
        ByteString("PRAGMA journal_mode = \(mode); CREATE TABLE t (a INTEGER PRIMARY KEY, b); CREATE TABLE u (n)"),
      ])
    try tool(
      "sqlite3",
      [
        path,
        "WITH RECURSIVE c(x) AS (VALUES (1) UNION ALL SELECT x + 1 FROM c WHERE x < 20000) "
          + "INSERT INTO t SELECT x, randomblob(200) FROM c",
      ])
    return (place, path)
  }

  private func table(_ path: ByteString, _ more: String = "") -> String {
    "kind = \"sqlite\"\npath = \"\(path.text.replacingOccurrences(of: "\"", with: "\\\""))\"\n" + more
  }

  @Test("a copy is whole while a writer is active", arguments: ["wal", "delete"])
  func writer(_ mode: String) throws {
    let (place, path) = try make(mode)
    let script = """
      while :; do sqlite3 -cmd '.timeout 10000' "$1" 'BEGIN; INSERT INTO u VALUES (1); UPDATE t SET b = randomblob(200)
        WHERE a % 50 = 0; INSERT INTO u VALUES (1); COMMIT' || exit; done
      """
    let writer = try RunningCommand("sh", ["-c", ByteString(script), "sh", path])
    usleep(200_000)
    let trial = try Trial(table(path))
    #expect(try trial.dump.warnings == [])
    writer.signal(SIGKILL)
    _ = try? writer.wait()
    #expect(try trial.files() == [path.lastComponent.text])
    try trial.expectPrivate()
    let copy = trial.directory.path / path.lastComponent
    #expect(try tool("sqlite3", [copy, "PRAGMA integrity_check; SELECT count(*) % 2 FROM u"]) == Array("ok\n0\n".utf8))
    withExtendedLifetime(place) {}
  }

  @Test("without WAL mode, a writer that starts each copy anew has to wait in the end")
  func busyWriter() throws {
    let (place, path) = try make("delete")
    try tool("sqlite3", [path, "INSERT INTO u SELECT randomblob(30000) FROM t LIMIT 8000"])
    let script = """
      while :; do sqlite3 -cmd '.timeout 60000' "$1" 'UPDATE t SET b = 1 WHERE a = 1' || exit; sleep 0.01; done
      """
    let writer = try RunningCommand("sh", ["-c", ByteString(script), "sh", path])
    defer { writer.signal(SIGKILL) }
    let trial = try Trial(table(path, "timeout = \"12s\"\n"))
    #expect(try trial.dump.warnings.contains { $0.contains("WAL") })
    #expect(try trial.files() == [path.lastComponent.text])
    withExtendedLifetime(place) {}
  }

  @Test("an unchanged database gives the same bytes, and is not changed")
  func unchanged() throws {
    for mode in ["wal", "delete"] {
      let (place, path) = try make(mode, "copy")
      let before = try tool("sha256sum", [path])
      let (first, second) = (try Trial(table(path)), try Trial(table(path)))
      #expect(try first.digests() == second.digests() && first.dump.warnings == [])
      #expect(try tool("sha256sum", [path]) == before)
      withExtendedLifetime(place) {}
    }
  }

  @Test("root follows no link of another user, and sqlite3 runs as the user who could exchange the file")
  func otherUsers() throws {
    let (place, path) = try make("wal", "secret.db")
    let home = place.path / "home"
    try tool("install", ["-d", "-o", "nobody", "-g", "nogroup", home])
    for (target, link) in [(path, home / "link.db"), (place.path, home / "link")] {
      try tool("ln", ["-s", target, link])
      try tool("chown", ["-h", "nobody:nogroup", link])
    }
    for link in [home / "link.db", home / "link/secret.db"] {
      let failure = try Trial(table(link)).failure.description
      #expect(failure.contains("a link of another user is not followed"), "\(failure)")
      var target = DatabaseConfiguration()
      (target.name, target.kind, target.path) = ("notes", .sqlite, link.text)
      let loader = try DumpLoader(into: target, programs: ProgramSearch(path: Array(pinnedEnvironment["PATH"]!.utf8)))
      let options = LoadOptions(moment: Timestamp(seconds: 0, nanoseconds: 0))
      #expect(throws: DumpFailure.self) { try loader.plan([link.lastComponent.bytes], options: options) }
    }
    // The operator may know better.
    #expect(throws: Never.self) { try Trial(table(home / "link.db", "user = \"root\"")).dump }
    // SQLite would make the file that this link leads to.
    let own = home / "it's own.db"
    try tool("cp", [path, own])
    try tool("chown", ["nobody:nogroup", own])
    let trial = try Trial(table(own))
    #expect(try trial.dump.warnings == [] && trial.files() == [own.lastComponent.text])
    #expect(
      try tool("sqlite3", [trial.directory.path / own.lastComponent, "SELECT count(*) FROM t"]) == Array("20000\n".utf8)
    )
    try trial.expectPrivate()
    try tool("sh", ["-c", "rm -f \"$0-wal\" \"$0-shm\"; ln -s \"$1\" \"$0-wal\"", own, place.path / "made"])
    _ = try Trial(table(own))
    #expect(!Tree(place.path).exists("made"))
    // Links of root lead on.
    try tool("ln", ["-s", place.path, place.path / "roots"])
    #expect(throws: Never.self) { try Trial(table(place.path / "roots/secret.db")).dump }
    // So does a relative one, but not to a link of another user.
    for (name, target) in [("up", "home/../secret.db"), ("self", "../\(place.path.lastComponent)/secret.db")] {
      try tool("ln", ["-s", ByteString(target), place.path / ByteString(name)])
      #expect(throws: Never.self) { try Trial(table(place.path / ByteString(name))).dump }
    }
    try tool("ln", ["-s", "home/link", place.path / "over"])
    #expect(
      try Trial(table(place.path / "over/secret.db")).failure.description
        .contains("a link of another user is not followed"))
    try tool("chmod", ["777", place.path])
    #expect(
      try Trial(table(path)).failure.description.contains("others than root can change the entries of \(place.path);"))
  }

  @Test("a load survives the leftover of a killed one, takes the place, and knows the programs that use the file")
  func load() throws {
    let (place, path) = try make("wal", "copy")
    let trial = try Trial(table(path))
    var target = DatabaseConfiguration()
    (target.name, target.kind, target.path) = ("notes", .sqlite, path.text)
    let loader = try DumpLoader(into: target, programs: ProgramSearch(path: Array(pinnedEnvironment["PATH"]!.utf8)))
    var options = LoadOptions(moment: Timestamp(seconds: 0, nanoseconds: 0))
    options.replaces = true
    func steps() throws -> [LoadStep] { try loader.plan([path.lastComponent.bytes], options: options) }
    #expect(try steps().first?.state == .occupied(connections: 0))
    // It stays open until its input ends.
    let reader = try RunningCommand("sh", ["-c", "exec sleep 60 < \"$0\"", path])
    usleep(300_000)
    #expect(try steps().first?.state == .occupied(connections: 1))
    reader.signal(SIGKILL)
    _ = try? reader.wait()
    try tool("sqlite3", [path, "DELETE FROM t"])
    try Tree(place.path).write("copy.treering-new", "half")
    let dump = try Directory(Descriptor.open(path: trial.directory.path.bytes, [.read, .directory]))
    _ = try loader.load(try steps(), from: dump, at: trial.directory.path.bytes, options: options)
    #expect(try tool("sqlite3", [path, "SELECT count(*) FROM t"]) == Array("20000\n".utf8))
    #expect(try Tree(place.path).names().filter { $0.text.hasPrefix("copy_20") && !$0.text.contains("-") }.count == 1)
    #expect(!Tree(place.path).exists("copy.treering-new"))
  }

  @Test("a database that is damaged or missing is a failure")
  func errors() throws {
    let (place, path) = try make("delete", "x.db")
    #expect(try Trial(table(place.path / "none")).failure.reason.contains("No such file or directory"))
    #expect(try Trial(table(place.path)).failure.reason.contains("is no file"))
    try tool("dd", ["if=/dev/urandom", "of=" + path, "bs=4096", "seek=20", "count=30", "conv=notrunc"])
    let failure = try Trial(table(path)).failure
    let isFound = failure.reason == "the copy has errors" || failure.reason.hasPrefix("sqlite3 ended with status")
    #expect(isFound && !failure.lastLines.isEmpty, "\(failure)")
    #expect(try Trial(table(path), path: "/nonexistent").failure.description.contains("the program sqlite3 is missing"))
  }

  private func command(_ script: String, _ more: String = "") -> String {
    "kind = \"command\"\ncommand = [\"/bin/sh\", \"-c\", '''\(script)''']\nfile = \"x.txt\"\n" + more
  }

  @Test("the output of a command is the dump")
  func commands() throws {
    let trial = try Trial(command("echo some; echo note >&2; id -un; pwd; env; ulimit -n", "user = \"nobody\""))
    #expect(try trial.dump.warnings == [])
    let text = try trial.text("x.txt")
    #expect(text.hasPrefix("some\nnobody\n/\n") && text.contains("LANG=C.UTF-8") && !text.contains("TREERING"))
    try trial.expectPrivate()
    let failure = try Trial(command("echo some; echo one >&2; echo two >&2; exit 3")).failure
    #expect(failure.reason == "sh ended with status 3" && failure.lastLines == ["one", "two"])
    #expect(try Trial(command(":")).failure.reason == "/bin/sh printed nothing")
    #expect(try Trial(command("sleep 60", "timeout = \"1s\"")).failure.reason.contains("within the 1 seconds"))
    let none = try Trial("kind = \"command\"\ncommand = \"/nonexistent\"\nfile = \"x\"").failure
    #expect(none.reason == "/nonexistent is missing, or is no program")
  }

  @Test("processes that a command leaves behind are killed")
  func leftovers() throws {
    let trial = try Trial(command("sleep 54321 & echo $!", "user = \"nobody\""))
    let text = try trial.text("x.txt")
    #expect(try trial.dump.warnings == [])
    usleep(100_000)
    // Nothing may wait for an orphan in a container, so it can stay as a zombie, without a program.
    let program = ByteString("/proc/\(text.trimmingCharacters(in: .newlines))/exe")
    #expect(try runCommand("test", ["-e", program]).status != 0)
  }
}
