import Foundation
import Settings
import Testing

@testable import Commands

/// The report as a function of its facts.
@Suite("report of facts") struct ReportFactsTests {
  private static let now: Int64 = 1_800_000_000
  private static let day: Int64 = 86_400

  private func facts() -> ReportFacts {
    ReportFacts(
      of: "/r", on: "web01", since: Self.now - 3 * Self.day, at: Self.now,
      audit: Audit(of: AuditFacts(of: "/r", at: Self.now)))
  }

  private func run(_ age: Int64, status: Int32 = 0, error: String? = nil, snapshot: String? = nil) -> ReportFacts.Run {
    ReportFacts.Run(
      time: Self.now - age, command: "run", exitStatus: status, error: error, elapsedSeconds: Double(age),
      snapshot: snapshot, filesCopied: 2, bytesCopied: 1000)
  }

  @Test("nothing is invented: without facts the page says that nothing was measured")
  func empty() {
    let text = BackupReport(of: facts()).lines.joined(separator: "\n")
    for part in [
      "no run\n", "SOURCES\nnot measured", "not measured: the size of the disk", "not measured: no part",
      "DRILLS\nnot measured",
    ] {
      #expect(text.contains(part), "\(part)")
    }
  }

  @Test("runs are counted by their result; those before the period are left out")
  func runs() {
    var facts = facts()
    facts.runs = [run(4 * Self.day), run(60), run(50, status: 1, error: "one"), run(40, status: 7, error: "two")]
    let report = BackupReport(of: facts)
    #expect(report.runs == .init(total: 3, done: 1, warnings: 1, failed: 1, longestSeconds: 60))
    #expect(report.troubles.map(\.error) == ["one", "two"])
    #expect(report.days.map(\.runs) == [0, 0, 0, 3] && report.days.last?.failed == 1)
  }

  @Test("an expired snapshot counts by its line, and one that exists counts once")
  func changes() {
    var facts = facts()
    facts.runs = [run(60, snapshot: "gone"), run(50, snapshot: "there")]
    facts.snapshots = [.init(name: "there", time: Self.now - 50, filesCopied: 5, bytesCopied: 100)]
    let day = BackupReport(of: facts).days.last
    #expect(day?.snapshots == 2 && day?.filesCopied == 7 && day?.bytesCopied == 1100)
  }

  @Test("a source grows by the bytes a day between its first and last snapshot, and it may shrink")
  func growth() {
    var facts = facts()
    func snapshot(_ age: Int64, _ sizes: [String: UInt64]) -> ReportFacts.Snapshot {
      .init(name: "\(age)", time: Self.now - age, filesCopied: 0, bytesCopied: 0, sizes: sizes)
    }
    facts.snapshots = [
      snapshot(2 * Self.day, ["/a": 100, "/b": 300]), snapshot(0, ["/a": 300, "/b": 100, "/c": 1]),
    ]
    let report = BackupReport(of: facts)
    #expect(report.sources.map(\.source) == ["/a", "/b", "/c"])
    #expect(report.sources.map(\.growthBytesPerDay) == [100, -100, nil])
    #expect(report.sourceRows[1...].map { $0[2] } == ["+100 B", "-100 B", "not measured"])
  }

  @Test("a verification that is too old does not count, and the disk has a day")
  func copies() {
    var facts = facts()
    facts.copies = [.init(name: "a", newest: Self.now, verified: Self.now - 91 * Self.day), .init(name: "b")]
    facts.parts = (2, 30)
    (facts.bytesFree, facts.bytesTotal, facts.bytesCopiedPerDay) = (1000, 5000, 100)
    let report = BackupReport(of: facts)
    #expect(report.copies.map(\.isVerified) == [false, false])
    #expect(report.copyRows[1][2].hasSuffix("(too old)") && report.copyRows[2][2] == "not measured")
    #expect(report.coverageSentence == "2 of 30 parts of the repository were verified in time")
    #expect(report.disk.fullOn?.seconds == Self.now + 10 * Self.day)
  }

  @Test("the page has a description for each picture, no script, and nothing to fetch")
  func page() {
    var facts = facts()
    facts.snapshots = [
      .init(name: "x", time: Self.now, filesCopied: 0, bytesCopied: 7, sizes: ["/<b>&": 100])
    ]
    facts.sets = [("daily", [Self.now - Self.day, Self.now])]
    facts.drills = [
      .init(time: Self.now, name: "sample", result: "passed", elapsedSeconds: 3, copies: [("nas", 2), ("/r", 1)])
    ]
    let page = BackupReport(of: facts).html
    #expect(page.matches(of: /<svg viewBox="0 0 440 200" role="img"/).count == 4)
    #expect(page.matches(of: /<desc id/).count == 4 && page.contains("/&lt;b&gt;&amp;"))
    for part in ["<script", "src=", "href=", "url(", "<b>"] { #expect(!page.contains(part), "\(part)") }
  }

  @Test("a drill that failed has no time, neither in the table nor in the chart")
  func failedDrill() {
    var facts = facts()
    facts.drills = [
      .init(
        time: Self.now, name: "sample", result: "failed", elapsedSeconds: 3, copies: [("nas", 2), ("away", nil)])
    ]
    let report = BackupReport(of: facts)
    #expect(report.drillRows[1][4] == "nas 2.0 s, away not measured")
    #expect(report.html.contains("sample from nas") && !report.html.contains("sample from away"))
  }

  @Test("more series than a chart has lines get more charts, and none is left out")
  func manySeries() {
    var facts = facts()
    let sizes = Dictionary(uniqueKeysWithValues: (1...9).map { ("/source\($0)", UInt64($0)) })
    facts.snapshots = [.init(name: "x", time: Self.now, filesCopied: 0, bytesCopied: 0, sizes: sizes)]
    let page = BackupReport(of: facts).html
    for number in 1...3 { #expect(page.contains("<figcaption>Size of sources (\(number) of 3)</figcaption>")) }
    for source in sizes.keys { #expect(page.contains("\(source)</li>") || page.contains("\(source) "), "\(source)") }
    let identifiers = page.matches(of: /<title id="([^"]+)"/).map { String($0.1) }
    #expect(Set(identifiers).count == identifiers.count)
  }

  // MARK: Mail

  @Test("a mail is due after a failure, once a week, or always")
  func due() {
    typealias Case = (on: Configuration.Mail.Occasion, status: Int32, last: Int64?, isDue: Bool)
    let (done, warnings, failed) = (Int32(0), Int32(1), Int32(3))
    let sixDays = Self.now - 6 * Self.day
    let week = Self.now - 7 * Self.day
    var cases: [Case] = [(.failure, done, nil, false), (.failure, warnings, nil, true), (.failure, failed, 0, true)]
    cases += [(.always, done, Self.now, true), (.weekly, done, nil, true), (.weekly, done, sixDays, false)]
    cases += [(.weekly, done, week, true), (.weekly, failed, Self.now, true)]
    for (on, status, last, expected) in cases {
      var mail = Configuration.Mail()
      mail.on = on
      #expect(
        mail.isDue(after: .init(code: status), last: last, at: Self.now) == expected, "\(on) \(status) \(last ?? 0)")
    }
  }

  @Test("a mail has a head, an empty line and the body; a subject beyond ASCII is encoded")
  func message() {
    let mail = MailMessage(to: ["a@example.org", "root"], subject: "größer", lines: ["one", "two"])
    #expect(mail.text.hasPrefix("To: a@example.org, root\nSubject: =?utf-8?B?Z3LDtsOfZXI=?=\nMIME-Version: 1.0\n"))
    #expect(mail.text.hasSuffix("\n\none\ntwo\n"))
    // RFC 2047: at most 75 bytes a word, and whole characters.
    let long = String(repeating: "aé€😀", count: 30)
    let words = MailMessage.encoded(long).split(separator: "\n ")
    #expect(words.count > 5 && words.allSatisfy { $0.utf8.count <= 75 })
    let decoded = words.compactMap { Data(base64Encoded: String($0.dropFirst(10).dropLast(2))) }.map {
      String(data: $0, encoding: .utf8)
    }
    #expect(decoded.compactMap(\.self).joined() == long && decoded.count == words.count)
  }
}
