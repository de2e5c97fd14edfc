import Model
import Settings
import Testing

@testable import Commands
@testable import Posix

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

  @Test("every finding that is not well has a remedy, and every finding has a source")
  func remedies() {
    var facts = AuditFacts(of: "/r", at: Self.now)
    facts.copies = [.init(.original, named: "a"), .init(.repository, named: "b"), .init(.sync, named: "c")]
    facts.subjects = [.init(.database, named: "shop")]
    facts.rotationObstacle = "the clock is wrong"
    facts.fullAt = Self.now + Self.day
    facts.blindSpots = [
      .init(.fileSystem, at: "/data"), .init(.home, at: "/home/ann"),
      .init(.server(name: "MySQL", kind: "mysql"), at: "port 3306"),
      .init(.dataDirectory(kind: "mysql"), at: "/var/lib/mysql"), .init(.unreadable(runs: 3), at: "/etc/x"),
    ]
    facts.copies[1].refresh = "run"
    let audit = Audit(of: facts)
    #expect(audit.short.count > 12)
    for finding in audit.findings { #expect(!finding.source.isEmpty && !finding.fact.isEmpty) }
    facts.copies[1].removal = .unanswered("no route")
    facts.lastRun = AuditFacts.Run(time: Self.now)
    facts.notifies = true
    for finding in Audit(of: facts).findings + audit.findings where finding.state != .well {
      #expect(finding.remedy?.isEmpty == false, "\(finding)")
    }
  }

  @Test("archived logs that go to no remote fall short")
  func unpushedLogs() {
    var facts = good()
    facts.unpushedLogs = ["shop"]
    #expect(
      shortFacts(facts)
        == ["the database shop: its archived logs are lost with this machine, and all since the last push"])
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

  @Test("copies that share a disk or a host are one copy on one medium, also by way of a third")
  func media() {
    func copy(_ name: String, disks: Set<String> = [], host: String? = nil) -> AuditFacts.Copy {
      var copy = AuditFacts.Copy(.remote, named: name)
      (copy.disks, copy.host) = (disks, host)
      return copy
    }
    func groups(_ copies: [AuditFacts.Copy]) -> [[String]] {
      Audit.groups(of: copies, by: \.mediumKeys).map { $0.map(\.name) }
    }
    #expect(
      groups([copy("a", disks: ["1"]), copy("b", disks: ["2"]), copy("c", disks: ["1", "2"])]) == [["a", "b", "c"]])
    let hosts = [
      copy("a", host: "nas"), copy("b", host: "other"), copy("c", host: "nas"), copy("d", disks: ["1"]), copy("e"),
    ]
    #expect(groups(hosts) == [["a", "c"], ["b"], ["d"], ["e"]])
    var facts = good()
    facts.copies[1].disks = ["sda"]
    #expect(shortFacts(facts) == ["2 copies count, 3 wanted", "this machine and /r share a disk: one copy"])
    // Two other copies are enough.
    var other = facts.copies[2]
    (other.name, other.host) = ("other", "other.example")
    facts.copies.append(other)
    #expect(Audit(of: facts).isWell && Audit(of: facts).copies == ["this machine", "nas", "other"])
    #expect(Audit(of: facts).findings.contains { $0.fact == "this machine and /r share a disk: one copy" })
    // A disk in memory has no name, but a number.
    for index in 0..<2 { (facts.copies[index].disks, facts.copies[index].fileSystems) = ([], ["7"]) }
    #expect(Audit(of: facts).copies == ["this machine", "nas", "other"] && Audit(of: facts).media == 2)
  }

  @Test("two remotes on one host are one copy elsewhere, and so are two with one account; the page says why")
  func accounts() {
    var facts = good()
    var second = facts.copies[2]
    second.name = "nas2"
    facts.copies.append(second)
    var audit = Audit(of: facts)
    #expect(audit.offSite == ["nas"] && audit.copies == ["this machine", "/r", "nas"])
    let finding = audit.findings.first { $0.fact == "nas and nas2 are on the host nas.example: one copy" }
    #expect(finding?.source == "the addresses of the remotes")
    facts.copies[3].host = "eu.example"
    #expect(Audit(of: facts).offSite == ["nas", "nas2"])
    for index in 2..<4 { facts.copies[index].account = "keys" }
    audit = Audit(of: facts)
    #expect(audit.offSite == ["nas"] && audit.copies.count == 4)
    #expect(audit.findings.contains { $0.fact == "nas and nas2 are with one account: one copy elsewhere" })
  }

  @Test("the original of a source on another host is there; originals on several hosts are one copy")
  func hosts() {
    var facts = good()
    (facts.copies[0].name, facts.copies[0].host, facts.copies[0].disks) = ("web01", "web01", [])
    var audit = Audit(of: facts)
    #expect(audit.copies == ["web01", "/r", "nas"] && audit.offSite.isEmpty)
    #expect(audit.findings.contains { $0.remedy == "set location in the [[source]] of web01" })
    facts.copies[0].location = "Berlin"
    #expect(Audit(of: facts).offSite == ["/r"])
    facts.copies[0].location = "Paris"
    #expect(Audit(of: facts).offSite == ["/r", "nas"])
    var local = AuditFacts.Copy(.original, named: "this machine")
    local.disks = ["sda"]
    facts.copies.insert(local, at: 0)
    audit = Audit(of: facts)
    #expect(audit.copies == ["this machine", "/r", "nas"] && audit.media == 3 && audit.offSite == ["nas"])
  }

  @Test("a page names the extent and the author of a verification, newer snapshots, and the data that a copy lacks")
  func verification() {
    var facts = good()
    func fact() -> String? { Audit(of: facts).findings.first { $0.fact.hasPrefix("nas: newest") }?.fact }
    let day = dayText(Self.now - 2 * Self.day)
    #expect(fact() == "nas: newest 1 d 0 h old, all verified since \(day)")
    (facts.copies[2].verifiedSnapshots, facts.copies[2].verifiedBy) = (3, "treering verify as ann")
    (facts.copies[2].unverified, facts.copies[2].behind) = (1, (2, 5_000_000))
    #expect(
      fact()
        == "nas: newest 1 d 0 h old; it lacks 2 new or changed files (\(byteText(5_000_000))), 3 snapshots verified "
        + "since \(day) by treering verify as ann, and 1 newer one is not verified")
  }

  @Test("a remote that is not there does not count, unless it may be absent")
  func absence() {
    var facts = good()
    facts.copies[2].absence = "/mnt/nas has no repository"
    #expect(Audit(of: facts).copies == ["this machine", "/r"])
    #expect(shortFacts(facts).first == "nas: it is absent: /mnt/nas has no repository")
    facts.copies[2].isOptional = true
    #expect(Audit(of: facts).isWell)
    facts.copies[2].rpo = 3600
    #expect(!Audit(of: facts).isWell)
  }

  @Test("an encrypted remote tells when its password was proved; that may be late")
  func keys() {
    var facts = good()
    func line() -> Finding? {
      Audit(of: facts).findings.first { $0.fact.hasPrefix("nas: ") && $0.fact.contains("encrypt") }
    }
    #expect(line()?.state == .well && line()?.fact.contains("not encrypted") == true)
    facts.copies[2].isEncrypted = true
    #expect(line()?.state == .unknown && line()?.remedy == "treering key test -r nas")
    facts.copies[2].keyTestEvery = 90 * Self.day
    #expect(line()?.state == .short)
    facts.copies[2].keyTested = Self.now - 89 * Self.day
    #expect(line()?.state == .well && line()?.time == Self.now - 89 * Self.day)
    facts.copies[2].keyTested = Self.now - 91 * Self.day
    #expect(line()?.state == .short)
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
    var young = AuditFacts.Subject(.source, named: "/home")
    young.measure([Self.now - 8], at: Self.now, days: 30)
    #expect(young.measuredSince == Self.now - 8)
    young.measure([Self.now - 40 * Self.day, Self.now - 8], at: Self.now, days: 30)
    #expect(young.measuredSince == nil)
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
    facts = good()
    (facts.overdue, facts.lastExpiry) = (2, Self.now - Self.day)
    let day = dayText(Self.now - Self.day)
    #expect(
      shortFacts(facts) == [
        "2 snapshots are kept longer than [retention] says; the last that expired did so on \(day)"
      ])
    facts = good()
    facts.lastRun?.noticed = nil
    #expect(Audit(of: facts).findings.contains { $0.fact == "the last run has no record of a notice" })
  }

  @Test("exclusions may leave out a share of the entries, and this is a lower bound")
  func exclusions() {
    var facts = good()
    facts.excluded = (3, 7)
    #expect(Audit(of: facts).isWell)
    facts.excluded = (31, 69)
    #expect(shortFacts(facts) == ["exclusions leave out at least 31 % of the entries, 31 of 100"])
    facts.excludedLimit = 0.5
    #expect(Audit(of: facts).isWell)
  }

  @Test(
    "a job runs treering with this configuration",
    arguments: [
      ("7 * * * * root treering run", false), ("7 * * * * root /usr/bin/treering run -c /etc/own.toml", true),
      ("7 * * * * root treering run -c /etc/other.toml", false),
      ("treering run --config=/etc/own.toml >/dev/null", true),
      ("cd /; treering -v run -q -c '/etc/own.toml'; true", true), ("  # treering run -c /etc/own.toml", false),
      ("treering list -c /etc/own.toml > \"/var/log/treering run\"", false),
      ("treering status; run -c /etc/own.toml", false), ("run treering -c /etc/own.toml", false),
      ("ExecStart=/usr/bin/treering run --config \"/etc/own.toml\"", true),
    ])
  func jobs(line: String, isJob: Bool) {
    let found = Crontab.runs(in: Array(line.utf8), of: Array("/etc/own.toml".utf8))
    #expect(found.isEmpty != isJob)
  }

  @Test("a probe asks for a server without options")
  func commands() {
    #expect(AuditCollection.unrestricted("/opt/treering serve --append-only") == "/opt/treering serve")
    #expect(AuditCollection.unrestricted("sudo -n treering serve") == "sudo -n treering serve")
    #expect(AuditCollection.unrestricted("/usr/local/bin/backup") == "treering serve")
  }

  @Test("file systems with data are blind spots by device and subvolume; those of the kernel are none")
  func mounts() {
    let text = """
      1 0 8:1 / / rw - ext4 /dev/sda1 rw
      2 1 0:5 / /proc rw - proc proc rw
      3 1 0:6 / /run rw - tmpfs tmpfs rw
      4 1 0:30 /@home /home rw - btrfs /dev/sdb rw
      5 1 0:30 /@data /data rw - btrfs /dev/sdb rw
      6 1 0:40 / /net rw - nfs4 nas:/export rw
      7 1 0:41 / /cloud rw - fuse.sshfs ann@nas: rw
      8 1 0:42 / /run/user/1/gvfs rw - fuse.gvfsd-fuse gvfsd-fuse rw
      9 1 0:43 / /tank rw - zfs tank rw
      10 1 8:1 /srv /export rw - ext4 /dev/sda1 rw
      11 1 7:0 / /snap/x rw - squashfs /dev/loop0 ro
      """
    let lines = MountLine.all(in: Array(text.utf8)).filter(BlindSpotSearch.hasData)
    // The subvolumes of btrfs have numbers of their own.
    let mounts = lines.map {
      BlindSpotSearch.Mounted(line: $0, device: $0.type == Array("btrfs".utf8) ? 1000 + $0.id : $0.deviceNumber!)
    }
    func spots(_ sources: [(String, Bool)]) -> [String] {
      BlindSpotSearch.uncovered(mounts, sources: sources.map { (Array($0.0.utf8), $0.1) }, except: [])
        .map { String(decoding: $0, as: UTF8.self) }
    }
    #expect(spots([("/home", false)]) == ["/", "/data", "/net", "/cloud", "/tank"])
    #expect(spots([("/", true)]) == ["/home", "/data", "/net", "/cloud", "/tank"])
    #expect(spots([("/srv/www", false), ("/data", true), ("/net/a", false)]) == ["/home", "/cloud", "/tank"])
    #expect(spots([("/", false)]) == [])
    let top = MountLine.all(in: Array("12 1 0:30 / /mnt/top rw - btrfs /dev/sdb rw".utf8))
    let more = mounts + top.map { BlindSpotSearch.Mounted(line: $0, device: 999) }
    let found = BlindSpotSearch.uncovered(more, sources: [(Array("/mnt/top".utf8), false)], except: [])
    #expect(found.map { String(decoding: $0, as: UTF8.self) } == ["/", "/net", "/cloud", "/tank"])
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
    let servers = DatabaseServers.unsaved(in: sockets, by: [])
    #expect(
      servers.map(\.path) == ["/run/postgresql/.s.PGSQL.5432", "/run/my sql/mysqld.sock", "port 6379"])
  }

  @Test("a [[database]] is for the server whose socket or port it names, and for no other")
  func servers() {
    var sockets = ListeningSockets(unix: [], tcp: [])
    sockets.paths = ["/var/run/postgresql/.s.PGSQL.5432", "/srv/pg/.s.PGSQL.5432", "/run/mysqld/mysqld.sock"]
    sockets.ports = [5432, 3306, 6379]
    func left(_ edits: [(inout DatabaseConfiguration) -> Void]) -> [String] {
      DatabaseServers.unsaved(
        in: sockets,
        by: edits.map { edit in
          var database = DatabaseConfiguration()
          edit(&database)
          return database
        }
      ).map(\.path)
    }
    let (system, own) = ("/run/postgresql/.s.PGSQL.5432", "/srv/pg/.s.PGSQL.5432")
    let (mysql, redis) = ("/run/mysqld/mysqld.sock", "port 6379")
    #expect(left([]) == [system, own, mysql, redis])
    #expect(left([{ $0.socket = "/srv/pg" }]) == [system, mysql, redis])
    #expect(left([{ ($0.socket, $0.port) = ("/srv/pg", 5433) }]) == [system, own, mysql, redis])
    #expect(left([{ _ in }]) == [own, mysql, redis])
    #expect(left([{ $0.host = "db.example" }, { $0.kind = .pgbackrest }]) == [own, mysql, redis])
    #expect(left([{ ($0.kind, $0.host) = (.mysql, "127.0.0.1") }]) == [system, own, redis])
    #expect(left([{ ($0.kind, $0.command) = (.command, ["/usr/bin/slapcat"]) }]) == [system, own, mysql, redis])
    #expect(
      left([{ ($0.kind, $0.command) = (.command, ["/usr/bin/redis-cli", "--rdb", "-"]) }]) == [system, own, mysql])
  }
}
