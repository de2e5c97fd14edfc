import Foundation
import TestSupport
import Testing

/// The report of a real repository, as text, JSON, page and mail.
@Suite("report", .waits)
struct ReportTests {
  private let world: World
  private var configuration: ByteString { world.directory.path / "c.toml" }

  init() throws {
    world = try World("report")
    world.provesOlderUnchanged = false
    try world.source.write("file", String(repeating: "text", count: 1000))
    try configure()
  }

  private func configure(_ rest: String = "") throws {
    try Tree(world.directory.path).write(
      "c.toml",
      """
      repository = "\(world.repository.root)"
      [[source]]
      path = "\(world.source.root)"
      [retention]
      daily = 7
      keep_last = 9
      \(rest)
      """)
  }

  @discardableResult
  private func treering(
    _ words: [ByteString], status: Int32 = 0, environment: [String: String] = [:],
    at location: SourceLocation = #_sourceLocation
  ) throws -> CommandResult {
    let result = try world.treering(
      words + ["-c", configuration], inRepository: false, environment: environment, at: location)
    #expect(result.status == status, "\(result.outputText) \(result.errorText)", sourceLocation: location)
    return result
  }

  private struct Document: Decodable {
    struct Runs: Decodable {
      let total: Int
      let done: Int
      let failed: Int
    }
    struct Source: Decodable {
      struct Point: Decodable { let bytes: Int }
      let source: String
      let points: [Point]
    }
    struct Drill: Decodable { let result: String }
    let runs: Runs
    let sources: [Source]
    let snapshots: Int
    let drills: [Drill]
    let partsVerified: Int?
  }

  @Test("sources of other hosts and dumps have their sizes, too")
  func otherSources() throws {
    let fetch = try FetchWorld("report-hosts")
    try fetch.host.write("file", String(repeating: "text", count: 500))
    let database = fetch.world.directory.path / "notes.db"
    try tool("sqlite3", [database, "CREATE TABLE t (i)"])
    try fetch.configure(
      fetch.table(), fetch.ownTable, "[[database]]\nname = \"notes\"\nkind = \"sqlite\"\npath = \"\(database)\"\n")
    try fetch.snapshot()
    let report: Document = try fetch.treering("report", "--json").decoded()
    let sizes = Dictionary(uniqueKeysWithValues: report.sources.map { ($0.source, $0.points.map(\.bytes)) })
    #expect(sizes["web01:\(fetch.host.root)"] == [2000], "\(sizes)")
    #expect(sizes["database:notes"]?.count == 1 && sizes["\(fetch.world.source.root)"]?.count == 1, "\(sizes)")
  }

  @Test("it has the runs, the sizes of sources, the drills and the verification; damaged lines are skipped")
  func figures() throws {
    try treering(["run"])
    try world.source.write("more", String(repeating: "text", count: 1000))
    try treering(["run"])
    try Tree(world.directory.path).makeDirectory("work")
    try treering(["drill", "--files", "2", "--work-dir", world.directory.path / "work"])
    try world.repository.append(".treering/history.jsonl", "{\"command\":\"run\",\u{0}\nnot JSON\n{}\n")
    try tool("mv", [world.source.root, world.directory.path / "away"])
    try treering(["run"], status: 3)
    let before: Document = try treering(["report", "--json"]).decoded()
    #expect(before.partsVerified == nil)
    try treering(["verify"])
    let report: Document = try treering(["report", "--json", "--since", "2d"]).decoded()
    #expect(report.runs.total == 3 && report.runs.done == 2 && report.runs.failed == 1 && report.snapshots == 2)
    #expect(report.sources.map(\.source) == [world.source.root.text])
    #expect(report.sources.first?.points.map(\.bytes) == [4000, 8000])
    #expect(report.drills.map(\.result) == ["passed"] && report.partsVerified == 1)
    let text = try treering(["report"]).outputText
    #expect(text.contains("3 runs: 2 done, 0 with warnings, 1 failed") && text.contains("1 of 1 part of"))
    for title in ["RUNS", "CHANGES PER DAY", "SOURCES", "RETENTION", "DISK", "VERIFICATION", "DRILLS", "AUDIT"] {
      #expect(text.contains("\n\(title)\n"))
    }
  }

  @Test("a damaged catalog leaves out its own sizes, and no page")
  func damage() throws {
    for number in 0..<2 {
      try world.source.write("more\(number)", "text")
      try treering(["run", "--now"])
    }
    let first = try #require(try world.snapshotNames().first)
    try world.repository.overwrite(".treering/catalogs/" + first + ".catalog", at: 40, bytes: [9, 9, 9, 9])
    let report: Document = try treering(["report", "--json"]).decoded()
    #expect(report.sources.first?.points.count == 1)
    try treering(["recovery-plan"])
  }

  // MARK: The page

  @Test("a browser shows the pages at the width of a phone and of a screen without an overflow")
  func browser() throws {
    try treering(["run"])
    try treering(["report", "--html", world.directory.path / "report.html"])
    try treering(["recovery-plan", "--html", world.directory.path / "plan.html"])
    for page in ["report", "plan"] {
      for width in [390, 1280] {
        // The page is in a frame of this width, because the browser's own window has a least one.
        let probe = """
          <!DOCTYPE html><iframe id="f" src="\(page).html" style="width:\(width)px;height:30000px;border:0"></iframe>
          <script>onload = () => { const d = document.getElementById("f").contentDocument.documentElement;
          document.title = "width " + d.scrollWidth + " of " + d.clientWidth +
            ", headings " + d.querySelectorAll("h1").length }</script>
          """
        try Tree(world.directory.path).write("probe.html", probe)
        let result = try runCommand(
          "chromium",
          [
            "--headless", "--no-sandbox", "--disable-gpu", "--allow-file-access-from-files",
            "--user-data-dir=" + world.directory.path / "profile", "--dump-dom",
            "file://" + world.directory.path / "probe.html",
          ], environment: ["HOME": world.directory.path.text])
        #expect(
          result.outputText.contains("<title>width \(width) of \(width), headings 1</title>"),
          "\(page) at \(width): \(result.outputText.prefix(300))")
      }
    }
  }

  // MARK: Mail

  /// A sendmail that keeps what it gets.
  private func sendmail(status: Int = 0) throws -> [String: String] {
    let directory = Tree(world.directory.path)
    if !directory.exists("bin") { try directory.makeDirectory("bin") }
    let script =
      "#!/bin/sh\necho \"arguments $*\" >> '\(directory.root)/mail'\ncat >> '\(directory.root)/mail'\nexit \(status)\n"
    try directory.write("bin/sendmail", script, mode: 0o755)
    return ["PATH": "\(directory.root)/bin:/usr/sbin:/usr/bin:/sbin:/bin"]
  }

  private func mail() throws -> String {
    let directory = Tree(world.directory.path)
    guard directory.exists("mail") else { return "" }
    let text = try directory.text("mail")
    try directory.remove("mail")
    return text
  }

  @Test("a mail tells of failures, of each run, or comes once a week, with the report")
  func mails() throws {
    let environment = try sendmail()
    try configure("[notify.mail]\nto = [\"ann@example.org\", \"root\"]")
    try treering(["run"], environment: environment)
    #expect(try mail() == "")
    try configure("[notify.mail]\nto = \"root\"\non = \"always\"")
    try treering(["run", "--now"], environment: environment)
    let text = try mail()
    #expect(text.hasPrefix("arguments -i -t\nTo: root\nSubject: treering on ") && text.contains(": all is done\n"))
    #expect(text.contains("\nRUNS\n") && text.contains("\nAUDIT\n"))
    #expect(try #require(try world.runHistory().last).steps.map(\.step).contains("mail"))
    // There was a mail this week.
    try configure("[notify.mail]\nto = \"root\"\non = \"weekly\"")
    try treering(["run", "--now"], environment: environment)
    #expect(try mail() == "")
    try tool("mv", [world.source.root, world.directory.path / "away"])
    try treering(["run"], status: 3, environment: environment)
    #expect(try mail().contains(": run ended with status 3: "))
  }

  @Test("a mail that cannot be sent is a warning and in the history, and the run is well")
  func noMail() throws {
    try configure("[notify.mail]\nto = \"root\"\non = \"always\"")
    let result = try treering(["run"], environment: try sendmail(status: 75))
    #expect(result.errorText.contains("the mail could not be sent: ") && result.errorText.contains("status 75"))
    let step = try #require(try world.runHistory().last).steps.last
    #expect(step?.step == "mail" && step?.outcome == "failed")
  }
}
