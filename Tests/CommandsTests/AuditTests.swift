import Testing

@testable import Commands

/// The rules of the audit, without a machine.
@Suite struct AuditTests {
  private static let now: Int64 = 1_800_000_000
  private static let day: Int64 = 86_400

  /// Three copies on three media, one elsewhere; nothing falls short.
  private func good() -> AuditFacts {
    var facts = AuditFacts(of: "/r", at: Self.now)
    facts.location = "office"
    var original = AuditFacts.Copy(.original, named: "this machine")
    original.disks = ["sda"]
    var own = AuditFacts.Copy(.repository, named: "/r")
    own.disks = ["sdb"]
    own.location = "office"
    (own.newest, own.verified, own.verify, own.refresh) = (Self.now - 3600, Self.now - Self.day, "verify", "run")
    var nas = AuditFacts.Copy(.remote, named: "nas")
    (nas.host, nas.location, nas.rpo) = ("nas.example", "Berlin", 8 * Self.day)
    (nas.newest, nas.verified) = (Self.now - Self.day, Self.now - 2 * Self.day)
    (nas.verify, nas.refresh) = ("verify -r nas", "push nas")
    facts.copies = [original, own, nas]
    var subject = AuditFacts.Subject(.source, named: "/home")
    (subject.newest, subject.rpo) = (Self.now - 3600, 7200)
    (subject.worstGap, subject.worstGapEnd) = (3700, Self.now - 3600)
    facts.subjects = [subject]
    facts.jobs = ["/etc/cron.d/treering"]
    facts.lastRun = AuditFacts.Run(time: Self.now - 3600, starter: .cron, noticed: true)
    facts.notifies = true
    facts.oldest = Self.now - 100 * Self.day
    return facts
  }

  private func shortFacts(_ facts: AuditFacts) -> [String] { Audit(of: facts).short.map(\.fact) }

  @Test("three copies on two media with one elsewhere are well")
  func well() {
    let audit = Audit(of: good())
    #expect(audit.isWell, "\(audit.short)")
    #expect(audit.copies == ["this machine", "/r", "nas"] && audit.media == 3 && audit.offSite == ["nas"])
  }

  @Test("every finding that falls short has a remedy, and every finding has a source")
  func remedies() {
    var facts = AuditFacts(of: "/r", at: Self.now)
    facts.copies = [.init(.original, named: "a"), .init(.repository, named: "b"), .init(.sync, named: "c")]
    facts.subjects = [.init(.database, named: "shop")]
    facts.rotationObstacle = "the clock is wrong"
    facts.fullAt = Self.now + Self.day
    facts.blindSpots = [
      .init(.fileSystem, at: "/data"), .init(.home, at: "/home/ann"), .init(.server(kind: "mysql"), at: "port 3306"),
      .init(.dataDirectory(kind: "mysql"), at: "/var/lib/mysql"), .init(.unreadable(runs: 3), at: "/etc/x"),
    ]
    facts.copies[1].refresh = "run"
    let audit = Audit(of: facts)
    #expect(audit.short.count > 12)
    for finding in audit.findings { #expect(!finding.source.isEmpty && !finding.fact.isEmpty) }
    for finding in audit.short { #expect(finding.remedy?.isEmpty == false, "\(finding)") }
  }

  struct Change: CustomTestStringConvertible {
    let testDescription: String
    /// Words of the one finding about copies.
    let fact: String
    let change: @Sendable (inout AuditFacts.Copy) -> Void
  }

  @Test(
    "a copy that is old, incomplete, damaged or unverified does not count",
    arguments: [
      Change(testDescription: "old", fact: "9 d 0 h old, and should be at most 8 d 0 h") {
        $0.newest = Self.now - 9 * Self.day
      },
      Change(testDescription: "empty", fact: "has no snapshot") { $0.newest = nil },
      Change(testDescription: "incomplete", fact: "lacks /srv") { $0.lacks = ["/srv"] },
      Change(testDescription: "damaged", fact: "2 snapshots are damaged") { $0.damaged = 2 },
      Change(testDescription: "never verified", fact: "never verified as a whole") { $0.verified = nil },
      Change(testDescription: "verified long ago", fact: "should be every 90 d") {
        $0.verified = Self.now - 91 * Self.day
      },
      Change(testDescription: "from the future", fact: "from the future") { $0.newest = Self.now + 10 },
    ])
  func copies(_ change: Change) {
    var facts = good()
    change.change(&facts.copies[2])
    let audit = Audit(of: facts)
    #expect(audit.copies == ["this machine", "/r"] && audit.offSite.isEmpty)
    #expect(audit.short.first?.fact.contains(change.fact) == true, "\(audit.short)")
    #expect(audit.short.contains { $0.fact == "2 copies count, 3 wanted" })
  }

  @Test("copies that share a disk are one medium, also by way of a third; a host is one, and unknown disks are none")
  func media() {
    func copy(_ name: String, disks: Set<String> = [], host: String? = nil) -> AuditFacts.Copy {
      var copy = AuditFacts.Copy(.remote, named: name)
      (copy.disks, copy.host) = (disks, host)
      return copy
    }
    let raid = [copy("a", disks: ["sda"]), copy("b", disks: ["sdb"]), copy("c", disks: ["sda", "sdb"])]
    #expect(Audit.media(below: raid).map(Set.init) == [["a", "b", "c"]])
    let hosts = [
      copy("a", host: "nas"), copy("b", host: "nas"), copy("c", host: "other"), copy("d", disks: ["sda"]), copy("e"),
    ]
    #expect(Audit.media(below: hosts).count == 3)
    var facts = good()
    facts.copies[1].disks = ["sda"]
    #expect(shortFacts(facts) == ["this machine and /r share a disk: one medium"])
  }

  @Test("a copy is elsewhere if it is on another host and the owner states another place")
  func offSite() {
    var facts = good()
    facts.copies[2].location = "office"
    #expect(shortFacts(facts) == ["no copy that counts is elsewhere, 1 wanted"])
    facts.copies[2].location = nil
    let audit = Audit(of: facts)
    #expect(audit.findings.contains { $0.state == .unknown && $0.remedy == "set location in [remote.nas]" })
    facts.location = nil
    #expect(Audit(of: facts).findings.contains { $0.remedy == "set location in [audit] and [remote.nas]" })
  }

  @Test("the worst gap counts up to now, and only in the last days")
  func gaps() {
    func gap(_ hoursAgo: [Int64], days: Int64 = 30) -> (gap: Int64?, end: Int64?) {
      var subject = AuditFacts.Subject(.source, named: "/home")
      subject.measure(hoursAgo.map { Self.now - $0 * 3600 }, at: Self.now, days: days)
      return (subject.worstGap.map { $0 / 3600 }, subject.worstGapEnd.map { (Self.now - $0) / 3600 })
    }
    #expect(gap([10, 8, 7, 1]) == (6, 1))
    #expect(gap([3, 2]) == (2, 0))
    #expect(gap([]) == (nil, nil))
    // A gap that began before the days and ended in them counts whole.
    #expect(gap([100, 20, 10], days: 1) == (80, 20))
    #expect(gap([100, 50, 30, 10], days: 1) == (20, 10))
    var facts = good()
    (facts.subjects[0].worstGap, facts.subjects[0].worstGapEnd) = (7300, Self.now)
    #expect(shortFacts(facts).first?.hasSuffix("it goes on") == true)
    facts.subjects[0].rpo = nil
    #expect(Audit(of: facts).isWell)
  }

  @Test(
    "drills: the slowest of the last recoveries is compared with the objective; a drill may fail, be late or missing")
  func drills() {
    var facts = good()
    func short(_ edit: (inout AuditFacts.Rehearsal) -> Void) -> [String] {
      var drill = AuditFacts.Rehearsal(name: "shop")
      drill.last = AuditFacts.Drill(time: Self.now - 20 * Self.day, hasFailed: false, elapsedSeconds: 300)
      (drill.recoverySeconds, drill.rto, drill.every) = ([100, 250, 200], 300, 30 * Self.day)
      edit(&drill)
      facts.rehearsals = [drill]
      return shortFacts(facts)
    }
    #expect(short { _ in } == [])
    #expect(short { $0.rto = 240 } == ["the recovery shop takes at least 4 min 10 s of at most 4 min 0 s"])
    #expect(short { $0.rto = nil } == [])
    #expect(short { $0.last?.hasFailed = true } == ["the drill shop failed"])
    #expect(short { $0.last?.time = Self.now - 37 * Self.day } == [])
    #expect(
      short { $0.last?.time = Self.now - 38 * Self.day } == ["the drill shop is late; it should be done every 30 d 0 h"]
    )
    #expect(short { $0.last = nil } == ["the drill shop was never done"])
    // No run starts it, so it is not missing.
    #expect(short { ($0.last, $0.every) = (nil, nil) } == [])
  }

  @Test("automation: a job, its starter, notices, expiry and a disk that is nearly full")
  func automation() {
    var facts = good()
    facts.jobs = []
    #expect(shortFacts(facts) == ["no job starts treering run"])
    facts = good()
    facts.lastRun?.starter = .terminal
    #expect(shortFacts(facts).first?.hasSuffix("was started by hand") == true)
    facts.lastRun = nil
    #expect(shortFacts(facts) == ["nothing ever ran"])
    facts = good()
    facts.lastRun?.noticed = false
    #expect(shortFacts(facts) == ["the last notice was not delivered"])
    facts = good()
    facts.fullAt = Self.now + 40 * Self.day
    #expect(Audit(of: facts).isWell)
    facts.fullAt = Self.now + 20 * Self.day
    #expect(!Audit(of: facts).isWell)
  }

  @Test("the listening sockets of proc(5) name the servers")
  func sockets() {
    let unix = """
      Num       RefCount Protocol Flags    Type St Inode Path
      0000000000000000: 00000002 00000000 00010000 0001 01 11111 /run/postgresql/.s.PGSQL.5432
      0000000000000000: 00000003 00000000 00000000 0001 03 22222 /run/mysqld/mysqld.sock
      0000000000000000: 00000002 00000000 00010000 0001 01 33333 @abstract
      0000000000000000: 00000002 00000000 00010000 0001 01 44444 /run/my sql/mysqld.sock
      """
    let tcp = """
        sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
         0: 0100007F:18EB 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 1 1
         1: 0100007F:1538 0100007F:0CEA 01 00000000:00000000 00:00000000 00000000     0        0 1 1
      """
    let sockets = ListeningSockets(unix: Array(unix.utf8), tcp: Array(tcp.utf8))
    #expect(sockets.paths == ["/run/postgresql/.s.PGSQL.5432", "/run/my sql/mysqld.sock"])
    #expect(sockets.ports == [6379])
    let servers = BlindSpotSearch.servers(in: sockets)
    #expect(servers.map(\.kind) == ["postgresql", "mysql", "command"])
    #expect(servers.map(\.place) == ["/run/postgresql/.s.PGSQL.5432", "/run/my sql/mysqld.sock", "port 6379"])
  }
}
