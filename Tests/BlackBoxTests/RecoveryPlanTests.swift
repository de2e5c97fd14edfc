import Foundation
import TestSupport
import Testing

/// The plan is written, kept in every copy, and carried out as printed.
@Suite("recovery-plan", .waits)
struct RecoveryPlanTests {
  private let push: PushWorld
  private var world: World { push.world }
  private var place: ByteString { push.place.root }
  private var kept: ByteString { place / "state/treering-plan" }
  private var configuration: ByteString { place / "c.toml" }
  private let password = "correct horse battery"

  init() throws {
    push = try PushWorld("plan")
    push.provesUnchanged = false
    push.world.provesOlderUnchanged = false
    let source = push.world.source
    try source.makeDirectory("notes", mode: 0o750)
    try source.write("notes/plan it's.txt", "text", mode: 0o640)
    try source.write("notes/other", "more")
    try source.link("notes/other", as: "hard")
    try source.makeSymbolicLink("link", to: "notes/other")
    try source.setOwner("notes/other", user: 1234, group: 1234)
    try source.setACL("notes/other", "u:1235:r")
    try source.setTime("notes", seconds: 1_600_000_000, nanoseconds: 5)
    try push.place.makeDirectory("state")
    try push.place.makeDirectory("db")
    try tool("sqlite3", [push.place.root / "db/notes.db", "CREATE TABLE t (i); INSERT INTO t VALUES (42)"])
    try push.place.write("password", password + "\n", mode: 0o600)
    let made = try runCommand(
      try treeringBinary(),
      ["init", "-r", "restic:" + push.place.root / "vault", "--password-file", push.place.root / "password"])
    #expect(made.status == 0, "\(made.errorText)")
    try configure("[plan]\ndirectory = \"\(kept)\"\nkeys = \"The red envelope\"")
  }

  private func configure(_ plan: String) throws {
    try push.place.write(
      "c.toml",
      """
      repository = "\(world.repository.root)"
      [[source]]
      path = "\(world.source.root)"
      exclude = ["*.tmp"]
      [[database]]
      name = "notes"
      kind = "sqlite"
      path = "\(place)/db/notes.db"
      [retention]
      keep_last = 9
      [remote.disk]
      url = "\(push.far.root)"
      [remote.vault]
      url = "restic:\(place)/vault"
      password_file = "\(place)/password"
      \(plan)
      """)
  }

  @discardableResult
  private func treering(
    _ words: [ByteString], status: Int32 = 0, at location: SourceLocation = #_sourceLocation
  ) throws -> CommandResult {
    let result = try runCommand(try treeringBinary(), words + ["-c", configuration], in: place)
    #expect(result.status == status, "\(result.outputText) \(result.errorText)", sourceLocation: location)
    return result
  }

  private func plan() throws -> String { try treering(["recovery-plan"]).outputText }

  // MARK: The document

  @Test("it names what is not stated and not measured, the owner's words, and no secret")
  func words() throws {
    try treering(["run"])
    var text = try plan()
    #expect(text.contains("The red envelope") && !text.contains(password))
    #expect(text.contains("**NOT STATED**: the owner says it with contacts in the table [plan]."))
    #expect(text.contains("**NOT MEASURED**: no drill has restored from this copy"))
    #expect(text.contains("\(world.source.root): \\*.tmp"))
    try configure(
      """
      [plan]
      directory = "\(kept)"
      order = ["database:notes", "Point the name shop.example.org to it", "/nowhere"]
      contacts = ["Ann, 030 1234", "The provider"]
      """)
    text = try plan()
    #expect(text.contains("1. The database notes (sqlite)\n2. Point the name shop.example.org to it\n3. /"))
    #expect(text.contains("- Ann, 030 1234\n- The provider"))
    #expect(text.contains("**NOT STATED**: order in [plan] names /nowhere, which is in no backup."))
    try treering(["drill", "--files", "5", "--work-dir", place])
    text = try plan()
    #expect(text.contains(/The drill of a sample of [0-9-]+ restored [0-9]+ file/))
    #expect(!text.contains("no drill has restored"))
  }

  @Test("the page for paper fetches nothing and has no script; addresses have codes if qrencode is there")
  func page() throws {
    try treering(["run"])
    try treering(["recovery-plan", "--html", place / "plan.html"])
    let page = try push.place.text("plan.html")
    #expect(page.hasPrefix("<!DOCTYPE html>") && page.contains("<html lang=\"en\">") && page.contains("@media print"))
    #expect(page.contains("<h2 class=\"page\">Recovery from vault</h2>"))
    for part in ["<script", "src=", "href=", "url(", password] { #expect(!page.contains(part), "\(part)") }
    let codes = page.matches(of: /aria-label="QR code of the address"/).count
    #expect(codes == (try runCommand("sh", ["-c", "command -v qrencode"]).status == 0 ? 3 : 0))
  }

  // MARK: The kept document

  @Test("run keeps it in every snapshot, leads to it at the top of each repository, and writes it only after a change")
  func keeping() throws {
    try treering(["run"])
    for top in [world.repository, push.far] {
      let text = try top.text("RECOVERY.md")
      #expect(text.hasPrefix("# Recovery plan of ") && text.contains("The red envelope"))
    }
    let target = try tool("readlink", [world.repository.root / "RECOVERY.md"])
    #expect(String(decoding: target, as: UTF8.self).hasPrefix("20"))
    let found = try runCommand(
      "restic",
      [
        "-r", place / "vault", "--no-cache", "--password-file", place / "password", "dump", "latest",
        kept / "RECOVERY.md",
      ])
    #expect(found.outputText.contains("The red envelope"))

    // The second plan knows the first snapshot.
    try treering(["run"])
    // In a mount namespace of its own, where the file systems of other tests neither come nor go.
    let twice = "for run in 1 2; do \"$0\" run -c \"$1\" >&2 || exit; stat -c %i \"$2\"; done"
    let stored = world.repository.root / "latest/localhost" + kept / "RECOVERY.md"
    let inodes = try tool(
      "unshare", ["--mount", "sh", "-c", ByteString(twice), try treeringBinary(), configuration, stored])
    let lines = String(decoding: inodes, as: UTF8.self).split(separator: "\n")
    #expect(lines.count == 2 && lines.first == lines.last, "\(lines)")
    try configure("[plan]\ndirectory = \"\(kept)\"\nkeys = \"The blue envelope\"")
    try treering(["run"])
    for top in [world.repository, push.far] { #expect(try top.text("RECOVERY.md").contains("The blue envelope")) }
    for command: ByteString in ["verify", "list"] { try treering([command]) }
    try tool(try treeringBinary(), ["verify", "-r", push.far.root])
    // The snapshots with it expire, and so does the link.
    try treering(["rotate", "--keep-last", "1"])
    #expect(try world.repository.text("RECOVERY.md").contains("The blue envelope"))
  }

  @Test("an own file of that name stays, and a directory that cannot be made is a warning")
  func obstacles() throws {
    try world.repository.write("RECOVERY.md", "mine")
    try treering(["run"])
    #expect(try world.repository.text("RECOVERY.md") == "mine")
    try configure("[plan]\ndirectory = \"\(place)/missing/treering-plan\"")
    let result = try treering(["run", "--now"], status: 1)
    #expect(result.errorText.contains("cannot write the recovery plan in \(place)/missing/treering-plan"))
    #expect(try world.snapshotNames().count == 2)
    try configure("[plan]\ndirectory = \"\(place)/plan\"")
    let refused = try treering(["run"], status: 2)
    #expect(refused.errorText.contains("\"directory\" should end with /treering-plan"))
  }

  private struct Audited: Decodable {
    struct Finding: Decodable {
      let topic: String
      let state: String
      let fact: String
      let remedy: String?
    }
    let findings: [Finding]
  }

  private func findings(_ state: String) throws -> [String] {
    let answer: Audited = try treering(["audit", "--json"], status: 1).decoded()
    return answer.findings.filter { $0.topic == "recovery_plan" && $0.state == state }.map(\.fact)
  }

  @Test("audit asks for a test and for paper, and tells of a change since then")
  func audit() throws {
    try treering(["run"])
    #expect(
      try findings("short") == [
        "no test of the recovery plan is recorded",
        "the recovery plan is not on paper, and vault cannot be read without it",
      ])
    try treering(["recovery-plan", "--printed"])
    try treering(["recovery-plan", "--tested-by", "Ann Miller"])
    #expect(try findings("short") == [])
    #expect(try findings("well") == ["the recovery plan was tested by Ann Miller", "the recovery plan is on paper"])
    #expect(try plan().contains("The commands were tested on "))
    // A drill is no change of the instructions, and neither is a record a run.
    try treering(["drill", "--files", "5", "--work-dir", place])
    #expect(try findings("short") == [])
    #expect(try treering(["status"]).errorText == "")
    try configure("[plan]\ndirectory = \"\(kept)\"")
    #expect(
      try findings("short") == [
        "the recovery plan does not say where the password of vault is",
        "the recovery plan changed since it was tested by Ann Miller", "the recovery plan changed since it was printed",
      ])
    #expect(try plan().contains("**OUTDATED**: the plan changed since the test on "))
    try configure("")
    #expect(try findings("unknown") == ["runs keep no recovery plan"])
  }

  // MARK: The commands

  private func expectRecovered(_ root: Tree, at location: SourceLocation = #_sourceLocation) throws {
    #expect(try differences(world.source.root, root.root + world.source.root) == [], sourceLocation: location)
    let rows = try tool("sqlite3", [root.root + place / "db/notes.db", "SELECT i FROM t"])
    #expect(String(decoding: rows, as: UTF8.self) == "42\n", sourceLocation: location)
  }

  @Test(
    "its commands, as printed, bring everything back from each copy, onto a system without any file of this one",
    arguments: [
      ("With treering", "disk", "repository"), ("Without treering", "disk", "repository"),
      ("With treering", "vault", "vault"), ("With restic alone", "vault", "vault"),
    ])
  func recovery(_ way: String, from copy: String, at directory: String) throws {
    try treering(["run"])
    let text = planCommands(["The way to \(copy)", "\(way), from \(copy)"], of: try plan())
    #expect(text.contains("\(world.source.root)"))
    var fresh = FreshSystem(in: push.place)
    fresh.copy = place / ByteString(directory)
    let root = try fresh.carryOut(text, input: "password")
    if way == "Without treering" {
      // A dump needs its own program.
      #expect(try differences(world.source.root, root.root + world.source.root) == [])
    } else {
      try expectRecovered(root)
    }
  }

  @Test("its commands load databases into real servers, in which they are lost")
  func servers() throws {
    let (postgreSQL, mariaDB) = (try PostgreSQLServer(), try MariaDBServer())
    let table = "CREATE TABLE t (i INT); INSERT INTO t VALUES (42);"
    try postgreSQL.make("my shop", ByteString(table))
    try mariaDB.make("wiki", table)
    // As on a new Debian.
    try mariaDB.query(
      "CREATE OR REPLACE USER root@localhost IDENTIFIED VIA unix_socket; GRANT ALL ON *.* TO root@localhost")
    try configure(
      """
      [plan]
      directory = "\(kept)"
      [[database]]
      name = "pg"
      kind = "postgresql"
      user = "postgres"
      socket = "\(postgreSQL.directory)"
      port = \(postgreSQL.port)
      databases = ["my shop"]
      [[database]]
      name = "maria"
      kind = "mysql"
      socket = "\(mariaDB.socket)"
      databases = ["wiki"]
      """)
    try treering(["run"])
    let plan = try plan()
    // The directories that the commands use are others here.
    let script = """
      for directory in /root /var/tmp; do mount -t tmpfs tmpfs $directory; done
      PATH=$1:$PATH exec sh -e commands
      """
    for (way, copy) in [("With treering", "disk"), ("With treering", "vault"), ("With restic alone", "vault")] {
      try postgreSQL.query("DROP DATABASE \"my shop\"")
      try mariaDB.query("DROP DATABASE wiki")
      try tool("rm", ["-r", world.source.root])
      try push.place.write("commands", planCommands(["The way to \(copy)", "\(way), from \(copy)"], of: plan))
      let result = try runCommand(
        "unshare", ["--mount", "sh", "-ec", ByteString(script), "sh", try treeringBinary().parent], in: place,
        input: place / "password")
      #expect(result.status == 0, "\(way), \(copy): \(result.outputText)\n\(result.errorText)")
      #expect(try postgreSQL.query("SELECT i FROM t", in: "my shop") == "42")
      #expect(try mariaDB.query("SELECT i FROM wiki.t") == "42")
      #expect(try world.source.text("hard") == "more")
    }
  }
}
