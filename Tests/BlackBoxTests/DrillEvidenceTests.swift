import Foundation
import TestSupport
import Testing

/// Drills of an ordinary user, drills that were killed or kept, and the evidence that they leave.
@Suite("drill: confinement, leftovers and evidence", .serialized, .waitsFirst)
struct DrillEvidenceTests {
  private let world: World
  private let work: Tree
  private var configuration: ByteString { world.directory.path / "c.toml" }

  init() throws {
    world = try World("evidence")
    world.provesOlderUnchanged = false
    work = try Tree(making: world.directory.path / "work")
    try world.source.write("file", "text")
    try configure()
  }

  private func configure(_ tables: String = "") throws {
    try Tree(world.directory.path).write(
      "c.toml",
      """
      repository = "\(world.repository.root)"
      [[source]]
      path = "\(world.source.root)"
      [retention]
      keep_last = 9
      \(tables)
      """, mode: 0o644)
  }

  @discardableResult
  private func treering(
    _ words: [ByteString], status: Int32 = 0, at location: SourceLocation = #_sourceLocation
  ) throws -> CommandResult {
    let result = try world.treering(words + ["-c", configuration], inRepository: false, at: location)
    #expect(result.status == status, "\(result.outputText) \(result.errorText)", sourceLocation: location)
    return result
  }

  @Test("a dump that an ordinary user loads starts programs that reach nothing of this machine")
  func ordinaryUser() throws {
    let server = try PostgreSQLServer.shared()
    let outside = try Tree(making: world.directory.path / "outside")
    try server.makeHostile("hostileuser", reaching: outside)
    try configure(
      """
      [[database]]
      name = "pg"
      kind = "postgresql"
      socket = "\(server.directory)"
      port = \(server.port)
      user = "postgres"
      databases = ["hostileuser"]
      """)
    try treering(["run", "--now"])
    try tool("chmod", ["711", world.directory.path])
    for path in [world.repository.root, work.root] { try tool("chown", ["-R", "65534:65534", path]) }
    let result = try world.treeringAsOrdinaryUser(["drill", "--files", "0", "--json", "--work-dir", work.root])
    let drill: DrillDocument = try result.decoded()
    #expect(drill.copies[0].databases.map(\.result) == ["loaded"], "\(drill.copies[0]) \(result.errorText)")
    #expect(try outside.names() == [])
    #expect(try work.names() == [])

    // Where it can make no namespaces, such as in a chroot, nothing is loaded.
    let root = try Tree(making: world.directory.path / "chroot")
    let confined = try runCommand(
      "unshare",
      [
        "--mount", "sh", "-ec",
        "mount --rbind / \"$0\"; exec chroot --userspec=65534:65534 \"$0\" \"$@\"", root.root,
        world.directory.path / "treering", "drill", "--files", "0", "--json", "--work-dir", work.root, "-r",
        world.repository.root,
      ], in: world.directory.path)
    let refused: DrillDocument = try confined.decoded()
    let database = try #require(refused.copies[0].databases.first)
    #expect(database.result == "not_tested" && database.message?.contains("nothing would confine them") == true)
    #expect(try outside.names() == [])
    #expect(try work.names() == [])
  }

  @Test("a kept sample stays with its databases, and the page names the directory")
  func kept() throws {
    try tool("sqlite3", [world.directory.path / "notes.db", "CREATE TABLE t (i)"])
    try configure("[[database]]\nname = \"notes\"\nkind = \"sqlite\"\npath = \"\(world.directory.path)/notes.db\"")
    try treering(["run", "--now"])
    let page = try treering(["drill", "--files", "5", "--keep", "--work-dir", work.root]).outputText
    let name = try #require(work.names().first)
    #expect(name.text.hasPrefix("treering-kept-") && page.contains("kept in \(work.root)/\(name)"), "\(page)")
    #expect(try work.text(name / "files/0" + world.source.root / "file") == "text")
    #expect(try work.names(name / "databases") == ["database-0"])
    #expect(try work.names(name / "databases/database-0") != [])
    // No later drill removes it.
    try treering(["drill", "--files", "5", "--work-dir", work.root])
    #expect(try work.names() == [name])
  }

  private struct Evidence: Decodable {
    struct Copy: Decodable {
      struct Path: Decodable {
        let path: String
        let snapshot: String
        let seconds: Double?
      }
      let repositoryId: String?
      let paths: [Path]?
      let openSeconds: Double?
      let restoreSeconds: Double?
    }
    let host: String?
    let programVersion: String?
    let copies: [Copy]
  }

  private func evidence(_ words: [ByteString]) throws -> Evidence {
    let decoder = JSONDecoder()
    decoder.keyDecodingStrategy = .convertFromSnakeCase
    return try decoder.decode(Evidence.self, from: Data(treering(["drill", "show", "--json"] + words).output))
  }

  @Test("the evidence names the machine, the version, the repository and the restored paths with their times")
  func evidence() throws {
    try configure("[[drill]]\nname = \"files\"\nrestore = [\"\(world.source.root)\"]")
    try treering(["run", "--now"])
    try treering(["drill", "files", "--work-dir", work.root])
    try treering(["drill", "--files", "5", "--work-dir", work.root])
    let host = String(decoding: try tool("hostname", []), as: UTF8.self).trimmingCharacters(in: .whitespacesAndNewlines)
    let snapshot = "\(try world.snapshotNames()[0])"
    let id = try world.repository.text(".treering/repository.toml")
    for (name, isWhole) in [("files", true), ("sample", false)] {
      let found = try evidence([ByteString(name)])
      let copy = found.copies[0]
      #expect(found.host == host && found.programVersion?.isEmpty == false)
      #expect(id.contains(try #require(copy.repositoryId)))
      let first = try #require(copy.paths?.first)
      #expect(first.path.hasPrefix(world.source.root.text) && first.snapshot == snapshot)
      #expect((first.seconds != nil) == isWhole && copy.openSeconds != nil && copy.restoreSeconds != nil)
    }
    // The plan has the time of the source, and a drill that failed has none.
    let plan = try treering(["recovery-plan"]).outputText
    #expect(plan.contains(/In the drill of [0-9-]+ it took [0-9]/) && plan.contains("The drill files of "), "\(plan)")
    try configure("[[drill]]\nname = \"files\"\nrestore = [\"/nowhere\"]")
    try treering(["drill", "files", "--work-dir", work.root], status: 3)
    let failed = try evidence(["files"]).copies[0]
    #expect(failed.openSeconds == nil && failed.restoreSeconds == nil)
    let report = try treering(["report"]).outputLines.last { $0.contains("Z  files ") && $0.contains("failed") }
    #expect(report?.hasSuffix("not measured") == true, "\(report ?? "")")
    #expect(try treering(["recovery-plan"]).outputText.contains("**FAILED**: drill files of"))
  }

  @Test("a killed drill's directory, its group and its processes are gone after the next one, wherever it was")
  func killed() throws {
    try configure(
      """
      [[drill]]
      name = "long"
      restore = ["\(world.source.root)"]
      start = ["/bin/sleep", "600"]
      check = [["/bin/false"]]
      """)
    try treering(["run", "--now"])
    let drill = try RunningCommand(
      try treeringBinary(), ["drill", "long", "-c", configuration, "--work-dir", work.root])
    let name = try poll { try work.names().first }
    let group = { try runCommand("find", ["/sys/fs/cgroup", "-name", name]).outputLines }
    _ = try poll { try group().isEmpty ? nil : true }
    drill.signal(SIGKILL)
    _ = try drill.wait()
    let other = try Tree(making: world.directory.path / "other")
    try treering(["drill", "--files", "1", "--work-dir", other.root])
    #expect(try work.names() == [])
    #expect(try other.names() == [])
    #expect(try group() == [])
    let markers = try runCommand("find", ["/var/tmp", "-lname", work.root]).outputLines
    #expect(markers == [])
  }

  private func poll<Value>(_ attempt: () throws -> Value?) throws -> Value {
    for _ in 0..<600 {
      if let value = try attempt() { return value }
      usleep(100_000)
    }
    throw TestSupportError("nothing came")
  }

  @Test("a line of a newer version is left out, with one warning")
  func newerLines() throws {
    try treering(["run", "--now"])
    try treering(["drill", "--files", "1", "--work-dir", work.root])
    let line = try #require(try world.repository.text(".treering/history.jsonl").split(separator: "\n").last)
    let newer = line.replacingOccurrences(of: "\"version\":1,", with: "\"version\":99,")
    try #require(newer != line)
    try world.repository.append(".treering/history.jsonl", newer + "\n" + newer + "\n")
    let list = try treering(["drill", "list"])
    #expect(list.outputLines.count == 2)
    #expect(list.errorText.contains("2 lines of the history are of a newer treering, and left out"))
    let audit = try treering(["audit"], status: 1)
    #expect(audit.errorText.ranges(of: "newer treering").count == 1)
  }
}
