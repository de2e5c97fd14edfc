import Settings
import Testing

@testable import Commands

/// The recovery plan as a function of its facts.
@Suite("recovery plan") struct PlanTests {
  private static let now: Int64 = 1_800_000_000
  private static let day: Int64 = 86_400

  private func facts() -> PlanFacts {
    var facts = PlanFacts(
      host: "web01", now: Self.now, version: "1", system: "Debian", configuration: "/c.toml", repository: "/r",
      label: "localhost")
    facts.sources = [.init(path: "/etc"), .init(path: "/srv/my data")]
    var copy = PlanFacts.Copy(.plain, named: "nas", at: "ssh://b@nas/r")
    (copy.host, copy.newest, copy.verified) = ("nas", Self.now - Self.day, Self.now - Self.day)
    copy.drill = .init(time: Self.now - Self.day, hasFailed: false, files: 3, bytes: 10, seconds: 2)
    facts.copies = [PlanFacts.Copy(.repository, named: "/r", at: "/r"), copy]
    return facts
  }

  private func database(_ change: (inout DatabaseConfiguration) -> Void) -> PlanFacts.Database {
    var settings = DatabaseConfiguration()
    settings.name = "main"
    change(&settings)
    return PlanFacts.Database(settings: settings, contents: [("shop", "shop")])
  }

  private func marks(_ facts: PlanFacts) -> [String] {
    PlanDocument(of: facts).markdown.split(separator: "\n").filter { $0.contains("**") }.map(String.init)
  }

  @Test("what is too old, failed or damaged is marked")
  func outdated() {
    #expect(!marks(facts()).contains { $0.contains("nas") })
    var old = facts()
    old.copies[1].verified = Self.now - 91 * Self.day
    old.copies[1].drill?.time = Self.now - 91 * Self.day
    old.copies[1].damaged = 2
    let found = marks(old).filter { $0.contains("nas") }
    #expect(found.count == 3 && found[0].contains("**FAILED**: nas: 2 snapshots are damaged"))
    #expect(
      found[1].contains("**OUTDATED**: nas: it was verified") && found[2].contains("the last drill of a sample was on"))
    old.copies[1].drill?.hasFailed = true
    #expect(marks(old).contains { $0.contains("**FAILED**: nas: the drill of a sample of") })
  }

  @Test("drills of services are marked like those of samples, and all are in the table")
  func services() {
    var facts = facts()
    facts.copies[1].services = [
      (name: "shop", time: Self.now - 210 * Self.day, hasFailed: false, seconds: 9),
      (name: "wiki", time: Self.now - Self.day, hasFailed: true, seconds: nil),
    ]
    let found = marks(facts)
    #expect(found.contains { $0.hasPrefix("**OUTDATED**: nas: the last drill shop was on") })
    #expect(found.contains { $0.hasPrefix("**FAILED**: nas: the drill wiki of") })
    #expect(found.contains { $0.hasPrefix("**OUTDATED**: drill shop of") && $0.contains("in 9.0 s, at the least") })
    #expect(found.contains { $0.hasPrefix("**FAILED**: drill wiki of") })
    let text = PlanDocument(of: facts).markdown
    #expect(
      text.contains(/drill of a sample on [0-9-]+: 2.0 s; drill shop on [0-9-]+: 9.0 s; drill wiki on [0-9-]+: FAILED/))
  }

  @Test("each source and database has the time of the last drill, or says that it was not measured")
  func times() {
    var facts = facts()
    facts.databases = [database { _ in }]
    facts.copies[1].restored = ["/etc": .init(time: Self.now, seconds: 3), "database:main": .init(time: 0, seconds: 7)]
    let text = PlanDocument(of: facts).markdown
    #expect(text.contains("it took 3.0 s.") && text.contains("In the drill of 1970-01-01 it took 7.0 s."))
    #expect(text.ranges(of: "no drill restored all of it from this copy").count == 4)
  }

  @Test("the files that lead to a copy are named")
  func files() {
    var facts = facts()
    facts.copies[1].files = ["/root/.ssh/key"]
    #expect(PlanDocument(of: facts).markdown.contains("bring each to its place:\n\n- /root/.ssh/key\n"))
  }

  @Test("copies of a server's files have commands that start a server, with and without treering")
  func physical() {
    var facts = facts()
    var vault = PlanFacts.Copy(.encrypted, named: "vault", at: "restic:/v")
    vault.resticAddress = "/v"
    facts.copies.append(vault)
    facts.databases = [
      database { ($0.kind, $0.mode, $0.port) = (.postgresql, .physical, 5433) },
      database { ($0.kind, $0.mode) = (.mysql, .physical) },
    ]
    var text = PlanDocument(of: facts).markdown
    let start =
      "runuser -u postgres -- /usr/lib/postgresql/$(cat /var/lib/postgresql/main/PG_VERSION)/bin/pg_ctl -D "
      + "/var/lib/postgresql/main -l /var/lib/postgresql/main/recovery.log -t 3600 -o '-k /run/postgresql -p 5433' start"
    // With treering from three copies, and with restic alone.
    #expect(text.ranges(of: start).count == 4)
    #expect(text.ranges(of: "cp -a /var/tmp/recovered/databases/main/. /var/lib/postgresql/main/\n").count == 2)
    let back = "mariadb-backup --no-defaults --copy-back --target-dir=/var/tmp/recovered/databases/main --datadir="
    #expect(text.ranges(of: back).count == 2 && text.ranges(of: "\nservice mariadb start\n").count == 4)
    #expect(!text.contains("ls -l") && !text.contains("The first command") && !text.contains("recovery.signal"))
    facts.databases[0].settings.archive = "/var/wal"
    text = PlanDocument(of: facts).markdown
    #expect(text.contains("touch /var/lib/postgresql/main/recovery.signal\n"))
    #expect(text.contains("zstd -q -d -f \"/var/wal/%f.zst\" -o \"%p\""))
    #expect(text.contains("It needs the log of /var/wal, which is in no source and not in this copy."))
    facts.databases[0].hasLogsInSource = true
    #expect(PlanDocument(of: facts).markdown.contains("restore the source with that directory first."))
  }

  @Test("the digest is that of the instructions, not of dates, measurements and records")
  func digest() {
    let digest = PlanDocument(of: facts()).digest
    var later = facts()
    later.now += 100 * Self.day
    later.copies[1].drill = nil
    later.copies[1].newest = nil
    later.blindSpots = ["/x is in no source"]
    later.tested = .init(time: 5, digest: "other", by: "Ann")
    #expect(PlanDocument(of: later).digest == digest)
    #expect(PlanDocument(of: later).markdown != PlanDocument(of: facts()).markdown)
    for change: (inout PlanFacts) -> Void in [
      { $0.sources.removeLast() }, { $0.plan.keys = ["safe"] }, { $0.copies[1].address = "ssh://c@nas/r" },
      { $0.plan.order = ["/srv/my data"] },
    ] {
      var other = facts()
      change(&other)
      #expect(PlanDocument(of: other).digest != digest)
    }
  }

  @Test(
    "each kind of database has its commands",
    arguments: [
      (
        DatabaseConfiguration.Kind.postgresql,
        "treering database restore main --into /run/postgresql --user postgres --globals --yes -r ssh://b@nas/r\n"
          + "runuser -u postgres -- psql -d shop -c '\\dt'"
      ),
      (
        .mysql,
        "treering database restore main --into /run/mysqld/mysqld.sock --yes -r ssh://b@nas/r\n"
          + "mariadb -e 'SHOW TABLES' shop"
      ),
      (
        .sqlite,
        "mkdir -p /var/lib\ntreering database restore main --into /var/lib/n.db --replace --yes -r ssh://b@nas/r\n"
          + "sqlite3 /var/lib/n.db 'PRAGMA integrity_check'"
      ),
      (.command, "treering database restore main --to /var/tmp/recovered/databases/main -r ssh://b@nas/r"),
      (.pgbackrest, "runuser -u postgres -- pgbackrest --stanza=one restore"),
    ])
  func databases(_ kind: DatabaseConfiguration.Kind, _ expected: String) {
    var facts = facts()
    facts.databases = [
      database {
        $0.kind = kind
        $0.path = "/var/lib/n.db"
        $0.stanza = "one"
      }
    ]
    #expect(PlanDocument(of: facts).markdown.contains("```sh\n\(expected)\n```"))
  }

  @Test("a server elsewhere is named by its URL, with the file of the password and never the password")
  func managed() {
    var facts = facts()
    facts.databases = [
      database {
        ($0.host, $0.port, $0.role) = ("db.example.org", 5433, "app")
        $0.passwordFile = "/etc/treering/p"
      }
    ]
    let text = PlanDocument(of: facts).markdown
    #expect(
      text.contains(
        "--into postgresql://app@db.example.org:5433 --server-password-file /etc/treering/p --globals --yes"))
    #expect(text.contains("psql -h db.example.org -p 5433 -U app -d shop"))
  }

  @Test("words of the shell, of Markdown and of HTML stay what they are")
  func escapes() {
    var facts = facts()
    facts.plan.notes = ["<b>*not* `bold` & \\ done</b>"]
    let document = PlanDocument(of: facts)
    #expect(document.markdown.contains("- \\<b>\\*not\\* \\`bold\\` & \\\\ done\\</b>"))
    #expect(document.html().contains("<li>&lt;b&gt;*not* `bold` &amp; \\ done&lt;/b&gt;</li>"))
    #expect(document.markdown.contains("treering restore latest '/srv/my data' --to / --overwrite if-changed"))
  }

  @Test("the root is restored to /mnt, and the settings of the new machine are kept")
  func root() {
    var facts = facts()
    facts.sources = [.init(path: "/"), .init(path: "/etc")]
    let text = PlanDocument(of: facts).markdown
    #expect(
      text.contains("treering restore latest / --to /mnt")
        && text.contains("cp -a --remove-destination /r/latest/localhost/. /mnt/"))
    #expect(
      text.contains("[ -e /root/fstab.new ] || cp -a /etc/fstab /root/fstab.new\ntreering restore latest /etc --to /"))
  }

  @Test("the login of a storage is asked for and never written")
  func storage() {
    var facts = facts()
    var copy = PlanFacts.Copy(.encrypted, named: "cloud", at: "s3:https://s3.example.org/b")
    (copy.login, copy.region, copy.resticAddress, copy.host) = (.s3, "eu-1", copy.address, "s3.example.org")
    facts.copies = [copy]
    let text = PlanDocument(of: facts).markdown
    #expect(
      text.contains(
        """
        ```sh
        ask() { [ ! -t 0 ] || stty -echo; IFS= read -r "$1"; [ ! -t 0 ] || stty echo; }
        (umask 077; ask word; printf '%s\\n' "$word" > /root/cloud.password)
        ask AWS_ACCESS_KEY_ID
        ask AWS_SECRET_ACCESS_KEY
        export AWS_ACCESS_KEY_ID AWS_SECRET_ACCESS_KEY
        export AWS_REGION=eu-1 AWS_DEFAULT_REGION=eu-1
        ```
        """))
    #expect(
      text.contains(
        "restic -r s3:https://s3.example.org/b --password-file /root/cloud.password restore latest --host localhost"))
  }

  @Test("restic restores /etc beside it, because it replaces no links")
  func settings() {
    var facts = facts()
    var copy = PlanFacts.Copy(.encrypted, named: "usb", at: "restic:/u")
    copy.resticAddress = "/u"
    facts.copies = [copy]
    #expect(
      PlanDocument(of: facts).markdown.contains(
        "--include /etc --verify --target /var/tmp/recovered\n"
          + "cp -a --remove-destination /var/tmp/recovered/etc/. /etc/\n"))
  }

  @Test("records are read from a history with other and broken lines")
  func records() {
    let line = PlanRecord(time: "2026-11-30T07:00:00Z", event: .tested, by: "Ann", digest: "d")
    let text = [#"{"command":"run","time":"x"}"#, jsonText(line, isLine: true), #"{"command":"recov"#, "\u{0}"]
    let found = PlanRecord.all(in: Array(text.joined(separator: "\n").utf8))
    #expect(found.count == 1 && found.first?.by == "Ann" && found.first?.record?.digest == "d")
  }
}
