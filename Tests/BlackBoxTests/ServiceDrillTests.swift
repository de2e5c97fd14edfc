import Foundation
import TestSupport
import Testing

/// Drills of tables `[[drill]]`: a shop with a PostgreSQL database and a WordPress site are recovered in namespaces.
@Suite("drill: services are recovered without network and live data", .serialized, .waitsFirst)
struct ServiceDrillTests {
  private let push: PushWorld
  private var world: World { push.world }
  private let work: Tree
  private let server: PostgreSQLServer

  /// The document of a drill of a table.
  private struct Document: Decodable {
    struct Copy: Decodable {
      struct Recovery: Decodable {
        struct Check: Decodable {
          let check: String
          let passed: Bool
        }
        let databaseSeconds: Double?
        let startSeconds: Double?
        let checkSeconds: Double?
        let totalSeconds: Double?
        let dataAgeSeconds: Int?
        let checks: [Check]
        let failedStep: String?
        let output: [String]
        let notes: [String]
        let kept: String?
      }
      let copy: String
      let files: Int
      let openSeconds: Double?
      let restoreSeconds: Double?
      let databases: [DrillDocument.Copy.Database]
      let recovery: Recovery
      let error: String?
    }
    let name: String
    let result: String
    let exitStatus: Int32
    let copies: [Copy]
  }

  init() throws {
    push = try PushWorld("service")
    push.provesUnchanged = false
    work = try Tree(making: push.world.directory.path / "work")
    server = try PostgreSQLServer.shared()
  }

  // MARK: The shop

  /// A database with a role, and a program that shows the number of orders.
  private func openShop() throws {
    for statement in ["DATABASE IF EXISTS shop", "DATABASE IF EXISTS drillstock", "ROLE IF EXISTS keeper"] {
      try server.query(ByteString("DROP \(statement)"))
    }
    try server.query("CREATE ROLE keeper LOGIN PASSWORD 'of the shop'")
    try server.make(
      "shop",
      """
      CREATE TABLE orders (id INT PRIMARY KEY, updated TIMESTAMPTZ);
      INSERT INTO orders SELECT i, now() - i * interval '1 hour' FROM generate_series(2, 50) i;
      ALTER TABLE orders OWNER TO keeper
      """)
    try world.source.write("password", "of the shop\n", mode: 0o600)
    try world.source.write("host", "127.0.0.1\n")
    try world.source.write(
      "shop",
      """
      #!/bin/sh
      set -e
      cd \(world.source.root)
      cat \(push.place.root)/shop.conf >/dev/null 2>&1 || echo no configuration
      count=$(PGPASSWORD=$(cat password) psql -h $(cat host) -p \(server.port) -U keeper -d shop -Atc \
        'SELECT count(*) FROM orders')
      other=$(psql -h \(server.directory) -p \(server.port) -U keeper -d shop -Atc 'SELECT count(*) FROM orders')
      echo "$count and $other orders" >/tmp/index.html
      exec python3 -m http.server 8080 --bind 127.0.0.1 -d /tmp
      """, mode: 0o755)
  }

  /// Configures the shop, and remotes with ssh and in restic's format.
  private func configure(_ more: String, restore: String = "", time: String = "30s") throws {
    try push.place.write("password", "secret\n", mode: 0o600)
    let vault: ByteString = "restic:" + push.place.root / "vault"
    if !push.place.exists("vault") {
      let words: [ByteString] = ["init", "-r", vault, "--password-file", push.place.root / "password"]
      #expect(try world.treering(words, inRepository: false).status == 0)
    }
    func drill(_ name: String, _ from: String, _ more: String) -> String {
      """
      [[drill]]
      name = "\(name)"
      restore = ["\(world.source.root)", "database:shop"\(restore)]
      from = "\(from)"
      limits = { time = "\(time)" }
      \(more)
      """
    }
    let proof = """
      start = ["\(world.source.root)/shop"]
      check = [["/bin/grep", "-q", "49 and 49", "/tmp/index.html"]]
      http = "http://127.0.0.1:8080/"
      contains = "49 and 49 orders"
      fresh = "SELECT max(updated) FROM orders"
      fresh_within = "26h"
      rto = "1h"
      """
    try push.place.write(
      "c.toml",
      """
      repository = "\(world.repository.root)"
      [[source]]
      path = "\(world.source.root)"
      [retention]
      daily = 7
      [remote.nas]
      url = "\(push.address)"
      ssh = "\(push.ssh)"
      remote_command = "\(try treeringBinary()) serve"
      [remote.vault]
      url = "\(vault)"
      password_file = "\(push.place.root)/password"
      [[database]]
      name = "shop"
      kind = "postgresql"
      socket = "\(server.directory)"
      port = \(server.port)
      user = "postgres"
      databases = ["shop"]
      \(more.isEmpty ? ["local", "nas", "vault"].map { drill("from-\($0)", $0, proof) }.joined(separator: "\n")
        : drill("shop", "local", more))
      """)
  }

  @discardableResult
  private func treering(
    _ words: [ByteString], status: Int32 = 0, at location: SourceLocation = #_sourceLocation
  ) throws -> CommandResult {
    let result = try world.treering(words + ["-c", push.place.root / "c.toml"], inRepository: false, at: location)
    #expect(result.status == status, "\(result.outputText) \(result.errorText)", sourceLocation: location)
    return result
  }

  /// Does a drill, which leaves nothing behind.
  private func drill(
    _ name: ByteString, status: Int32 = 0, at location: SourceLocation = #_sourceLocation
  ) throws -> Document.Copy {
    let result = try treering(["drill", name, "--json", "--work-dir", work.root], status: status, at: location)
    let document: Document = try result.decoded()
    #expect(document.exitStatus == status && document.name == name.text, sourceLocation: location)
    try expectNothingLeft(at: location)
    return try #require(document.copies.first, sourceLocation: location)
  }

  private func expectNothingLeft(at location: SourceLocation = #_sourceLocation) throws {
    #expect(try work.names() == [], sourceLocation: location)
    let mounts = try String(contentsOfFile: "/proc/mounts", encoding: .utf8)
    #expect(!mounts.contains("treering-drill"), sourceLocation: location)
    // Other drills of this machine have groups, too, as long as they run.
    let groups = try controlGroups()
    try PostgreSQLServer.wait(for: "the end of the groups") { try groups.isDisjoint(with: controlGroups()) }
  }

  private func controlGroups() throws -> Set<String> {
    Set(try runCommand("find", ["/sys/fs/cgroup", "-name", "treering-drill-*"]).outputLines)
  }

  private func letServersPass() throws {
    for directory in [world.directory.path, work.root] { try tool("chmod", ["711", directory]) }
  }

  @Test(
    "a shop is recovered from the repository, over ssh, and from restic's format, with times and the age of its data")
  func shop() throws {
    try openShop()
    try configure("")
    try letServersPass()
    try treering(["run", "--now"])
    for remote: ByteString in ["nas", "vault"] { try treering(["push", remote]) }
    #expect(try treering(["run", "-n"]).outputText.contains("drill") == false)
    for name: ByteString in ["from-local", "from-nas", "from-vault"] {
      let copy = try drill(name)
      let recovery = copy.recovery
      #expect(copy.error == nil && copy.files == 3 && copy.databases.map(\.result) == ["loaded"], "\(copy)")
      #expect(recovery.checks.count == 2 && recovery.checks.allSatisfy(\.passed), "\(recovery)")
      #expect(recovery.failedStep == nil && recovery.notes == [], "\(recovery)")
      let age = try #require(recovery.dataAgeSeconds)
      #expect((7200..<8400).contains(age), "\(age)")
      let steps = [
        copy.openSeconds, copy.restoreSeconds, recovery.databaseSeconds, recovery.startSeconds, recovery.checkSeconds,
      ].compactMap(\.self)
      let total = try #require(recovery.totalSeconds)
      #expect(steps.count == 5 && abs(steps.reduce(0, +) - total) < 0.001)
    }
    _ = try drill("from-local")
    let page = try treering(["drill", "list"]).outputLines
    #expect(page.count == 5 && page[1].contains(" %") && !page[2].contains(" %"), "\(page)")
    let shown = try treering(["drill", "show", "from-nas"]).outputText
    #expect(shown.contains("drill from-nas of") && shown.contains("the recovery takes at least"), "\(shown)")
    #expect(try treering(["status"]).outputText.contains("from-vault"))
    let metrics = try treering(["status", "--prometheus"]).outputText
    #expect(metrics.contains("drill=\"from-nas\"} 0\n") && metrics.contains("treering_drill_recovery_seconds{"))
    let audit = try treering(["audit"], status: 1).outputText
    #expect(audit.contains("the recovery from-local takes at least") && audit.contains("of at most 1 h 0 min"))
  }

  @Test("a drill fails with the step, the reason and the output")
  func failures() throws {
    try openShop()
    try letServersPass()
    // A file of the live system that is in no source.
    try push.place.write("shop.conf", "x\n")
    let strict = "[\"/bin/sh\", \"-ec\", \"cat \(push.place.root)/shop.conf; exec \(world.source.root)/shop\"]"
    let page = "http = \"http://127.0.0.1:8080/\""
    try configure("start = \(strict)\n\(page)")
    try treering(["run", "--now"])
    var copy = try drill("shop", status: 3)
    #expect(copy.recovery.failedStep == "start" && copy.error?.contains("ended with status 1") == true, "\(copy)")
    #expect(copy.recovery.output.contains { $0.contains("shop.conf: No such file") }, "\(copy.recovery.output)")
    #expect(copy.recovery.totalSeconds == nil)
    #expect(try treering(["status"], status: 1).outputText.contains("NOT WELL"))
    let shown = try treering(["drill", "show", "shop"]).outputText
    #expect(shown.contains("FAILED") && shown.contains("No such file") && shown.contains("was not measured"))

    // A host name that only the network knows.
    try world.source.write("host", "db.example.org\n")
    let start = "start = [\"\(world.source.root)/shop\"]\n"
    try configure(start + page)
    try treering(["run", "--now"])
    copy = try drill("shop", status: 3)
    #expect(copy.recovery.output.contains { $0.contains("could not translate host name") }, "\(copy)")

    // Data that is too old, and a recovery that is too slow.
    try world.source.write("host", "127.0.0.1\n")
    let fresh = "\nfresh = \"SELECT max(updated) FROM orders\"\n"
    try configure(start + page + fresh + "fresh_within = \"1h\"")
    try treering(["run", "--now"])
    copy = try drill("shop", status: 3)
    #expect(copy.recovery.failedStep == "data" && copy.recovery.totalSeconds != nil, "\(copy)")
    #expect(copy.error?.contains("the newest data is 2 h 0 min old, and should be at most 1 h 0 min") == true)
    try configure(start + page + fresh + "rto = \"1s\"")
    _ = try drill("shop", status: 1)
    #expect(try treering(["audit"], status: 1).outputText.contains("! the recovery shop takes at least"))

    // A start that hangs, and a page without the text.
    try configure("start = [\"/bin/sleep\", \"600\"]\n" + page, time: "3s")
    copy = try drill("shop", status: 3)
    #expect(copy.error?.contains("the program /bin/sleep 600 still runs") == true, "\(copy)")
    try configure(start + page + "\ncontains = \"50 orders\"", time: "3s")
    copy = try drill("shop", status: 3)
    #expect(copy.error?.contains("the page does not contain \"50 orders\"") == true, "\(copy)")

    // A dump that is damaged.
    let dump = try #require(
      FileManager.default.enumerator(atPath: (world.repository.root / "latest/databases/shop").text)?
        .compactMap { $0 as? String }.first { $0.hasSuffix("toc.dat") })
    let path = world.repository.root / "latest/databases/shop" / ByteString(dump)
    try Data("no dump".utf8).write(to: URL(fileURLWithPath: path.text))
    copy = try drill("shop", status: 6)
    #expect(copy.recovery.failedStep == "database" && copy.databases.map(\.result) == ["failed"], "\(copy)")
  }

  @Test("the program finds a server with its accounts, one on the files of a base backup, and an SQLite file")
  func databases() throws {
    try openShop()
    try letServersPass()
    // A server of its own: the dump has all databases.
    let mariaDB = try MariaDBServer()
    try mariaDB.make("drillmy", "CREATE TABLE t (i INT PRIMARY KEY); INSERT INTO t VALUES (7);")
    try mariaDB.query("CREATE OR REPLACE USER drillkeeper@localhost IDENTIFIED BY 'right'")
    try mariaDB.query("GRANT SELECT ON drillmy.* TO drillkeeper@localhost")
    let notes = push.place.root / "notes.db"
    try tool("sqlite3", [notes, "CREATE TABLE t (i); INSERT INTO t VALUES (8)"])
    try world.source.write(
      "ask",
      """
      my="mariadb --skip-ssl -N -u drillkeeper -e 'SELECT i FROM drillmy.t'"
      test "$(eval $my -S \(mariaDB.socket) -pright)" = 7
      test "$(eval $my -h 127.0.0.1 -P 3306 -pright)" = 7
      if eval $my -S \(mariaDB.socket) -pwrong; then exit 1; fi
      test "$(psql -h \(server.directory) -p \(server.port) -U postgres -d shop -Atc 'SELECT count(*) FROM orders')" = 49
      test "$(sqlite3 \(notes) 'SELECT i FROM t')" = 8
      sqlite3 \(notes) 'INSERT INTO t VALUES (9)'
      """)
    let check = "check = [[\"/bin/sh\", \"-ec\", \". \(world.source.root)/ask\"]]\nfresh = \"SELECT 1\""
    try configure(check, restore: ", \"database:my\", \"database:notes\"", time: "5s")
    let tables = try push.place.text("c.toml").replacingOccurrences(
      of: "databases = [\"shop\"]", with: "mode = \"physical\"")
    try push.place.write(
      "c.toml",
      tables + """

        [[database]]
        name = "my"
        kind = "mysql"
        socket = "\(mariaDB.socket)"
        [[database]]
        name = "notes"
        kind = "sqlite"
        path = "\(notes)"
        """)
    try treering(["run", "--now"])
    let copy = try drill("shop")
    #expect(copy.error == nil && copy.databases.map(\.message) == [nil, nil, nil], "\(copy)")
    #expect(try String(decoding: tool("sqlite3", [notes, "SELECT count(*) FROM t"]), as: UTF8.self) == "1\n")
  }

  @Test("two tables of one server are recovered into one server")
  func oneServer() throws {
    try openShop()
    try letServersPass()
    try server.make("drillstock", "CREATE TABLE s (i INT); INSERT INTO s VALUES (3); ALTER TABLE s OWNER TO keeper")
    let mariaDB = try MariaDBServer.shared()
    for (name, value) in [("drillone", 1), ("drilltwo", 2)] {
      try mariaDB.make(name, "CREATE TABLE t (i INT PRIMARY KEY); INSERT INTO t VALUES (\(value));")
    }
    try world.source.write(
      "ask",
      """
      pg="psql -h \(server.directory) -p \(server.port) -U postgres -At"
      test "$($pg -d shop -c 'SELECT count(*) FROM orders')" = 49
      test "$($pg -d drillstock -c 'SELECT i FROM s')" = 3
      my="mariadb --skip-ssl -N -S \(mariaDB.socket) -u any -pthing"
      test "$($my -e 'SELECT t.i + u.i FROM drillone.t, drilltwo.t u')" = 3
      """)
    let names = ["stock", "one", "two"].map { ", \"database:\($0)\"" }.joined()
    try configure("check = [[\"/bin/sh\", \"-ec\", \". \(world.source.root)/ask\"]]", restore: names, time: "5s")
    let place = "socket = \"\(server.directory)\"\nport = \(server.port)\nuser = \"postgres\"\n"
    try push.place.append(
      "c.toml",
      "\n[[database]]\nname = \"stock\"\nkind = \"postgresql\"\n\(place)databases = [\"drillstock\"]\n")
    for name in ["one", "two"] {
      try push.place.append(
        "c.toml",
        "[[database]]\nname = \"\(name)\"\nkind = \"mysql\"\nsocket = \"\(mariaDB.socket)\"\n"
          + "databases = [\"drill\(name)\"]\n")
    }
    try treering(["run", "--now"])
    let copy = try drill("shop")
    #expect(copy.error == nil && copy.databases.map(\.result) == Array(repeating: "loaded", count: 4), "\(copy)")
  }

  // MARK: The place

  @Test("the programs of a drill see the restored paths and nothing else, and cannot leave")
  func isolation() throws {
    try openShop()
    try letServersPass()
    try push.place.write("live", "x")
    let shared = "/usr/share/zoneinfo/right/treering-\(getpid())"
    let other = try Tree(making: ByteString(shared))
    let link = "/tmp/treering-link-\(getpid())"
    try tool("ln", ["-s", "/etc", ByteString(link)])
    defer { _ = try? tool("rm", ["-rf", other.root, ByteString(link)]) }
    try other.write("file", "below the programs")
    let script = """
      set -e
      test -s \(world.source.root)/shop
      test "$(cat \(shared)/file)" = 'below the programs'
      test "$(cat /etc/greeting)" = hello
      test "$(readlink \(link))" = /etc
      test -z "$(ls -A / | grep treering)"
      for path in \(push.place.root) \(world.repository.root) /etc/shadow /etc/cron.d /root/* /var/lib/* /sys/* /boot; do
        if test -e "$path"; then echo "sees $path"; exit 1; fi
      done
      for command in 'touch /usr/bin/x' 'mknod /dev/disk b 8 0' 'mount -t tmpfs none /srv' 'kill -0 \(getpid())' \
        'getent hosts example.org' 'hostname other'; do
        if $command 2>/dev/null; then echo "can $command"; exit 1; fi
      done
      test "$(ls /sys/class/net 2>/dev/null | wc -l)" = 0
      test "$(tail -n +3 /proc/net/dev | grep -vc ' lo:')" = 0
      test "$(awk '/^ *lo:/ { print 1 }' /proc/net/dev)" = 1
      getent passwd postgres >/dev/null
      echo x >/dev/null; echo x >/tmp/x; echo x >/dev/shm/x; echo x >/var/tmp/x
      test -z "$TREERING_REPOSITORY"
      """
    try world.source.write("look", script)
    let restore = ", \"\(shared)\", \"/etc/greeting\", \"\(link)\""
    try Tree("/etc").write("greeting", "hello")
    defer { _ = try? tool("rm", ["-f", "/etc/greeting"]) }
    try configure("check = [[\"/bin/sh\", \"\(world.source.root)/look\"]]", restore: restore, time: "1s")
    for (path, exclude) in [
      (shared, ""), ("/etc", "\"*\", \"!greeting\""), ("/tmp", "\"*\", \"!\(link.dropFirst(5))\""),
    ] {
      try push.place.append("c.toml", "\n[[source]]\npath = \"\(path)\"\nexclude = [\(exclude)]\n")
    }
    try treering(["run", "--now"])
    let copy = try drill("shop")
    #expect(copy.error == nil, "\(copy.recovery.output)")
    #expect(Tree("/usr/bin").exists("x") == false)
  }

  @Test("the programs of another system take the place of this machine's, and a kept drill can be inspected")
  func base() throws {
    try openShop()
    try letServersPass()
    let base = try Tree(making: push.place.root / "debian")
    for name: ByteString in ["usr", "etc"] { try base.makeDirectory(name) }
    for name in ["bin", "sbin", "lib", "lib64"] { try base.makeSymbolicLink(ByteString(name), to: "usr/\(name)") }
    for name in ["passwd", "group", "nsswitch.conf", "ld.so.cache"] {
      try tool("cp", ["/etc/\(name)", "\(base.root)/etc"])
    }
    try base.write("etc/of-the-base", "x")
    let mount = try Mount("/usr", boundTo: base.root / "usr")
    defer { withExtendedLifetime(mount) {} }
    try configure("base = \"\(base.root)\"\ncheck = [[\"/usr/bin/test\", \"-e\", \"/etc/of-the-base\"]]", time: "2s")
    try treering(["run", "--now"])
    #expect(try drill("shop").error == nil)
    let kept: Document = try treering(["drill", "shop", "--keep", "--json", "--work-dir", work.root]).decoded()
    let path = try #require(kept.copies.first?.recovery.kept)
    #expect(Tree(ByteString(path)).exists(ByteString("root\(world.source.root)/shop")))
    try treering(["drill", "shop", "--work-dir", work.root])
    #expect(try work.names().map { "\(work.root)/\($0)" } == [path])
    try tool("rm", ["-rf", ByteString(path)])
  }

  @Test("a command makes a fresh system for each drill, and its failure is that of the drill")
  func freshBase() throws {
    try openShop()
    try letServersPass()
    // In place of debootstrap(8), which needs a mirror.
    let bin = try Tree(making: push.place.root / "bin")
    try bin.write(
      "strap",
      """
      #!/bin/sh
      set -eu
      [ "$1" = bookworm ] || { echo "no such suite: $1"; exit 3; }
      mkdir -p "$2/usr" "$2/etc"
      for name in bin sbin lib lib64; do mkdir "$2/usr/$name"; ln -s usr/$name "$2/$name"; done
      for name in sh mkdir mount umount ln chmod cp rmdir sleep test setpriv; do
        cp -L /usr/bin/$name "$2/usr/bin/$name"
        ldd /usr/bin/$name | grep -o '/lib[^ ]*'
      done | sort -u | while read -r library; do
        mkdir -p "$2/usr${library%/*}"
        cp -L "$library" "$2/usr$library"
      done
      cp /etc/passwd /etc/group /etc/nsswitch.conf /etc/ld.so.cache "$2/etc"
      echo x >"$2/etc/of-the-base"
      """, mode: 0o755)
    func configure(suite: String) throws {
      try self.configure(
        "base = [\"\(bin.root)/strap\", \"\(suite)\", \"{}\"]\n"
          + "check = [[\"/usr/bin/test\", \"-e\", \"/etc/of-the-base\"]]", time: "2s")
    }
    try configure(suite: "bookworm")
    try treering(["run", "--now"])
    let good = try drill("shop")
    #expect(good.error == nil && good.recovery.notes.contains { $0.contains("strap made the system of the programs") })
    try configure(suite: "sid")
    let failed = try drill("shop", status: 3)
    #expect(failed.error?.contains("strap, ended with status 3") == true && failed.recovery.failedStep == "place")
    #expect(failed.recovery.output == ["base: no such suite: sid"])
    #expect(try work.names() == [])
  }

  @Test(
    "an ended command of the base leaves live data below its mounts",
    arguments: ["", "nsenter --mount --target $PPID "])
  func endedBase(by entering: String) throws {
    try openShop()
    try letServersPass()
    let live = try Tree(making: push.place.root / "live")
    try live.write("data", "of the live system")
    try push.place.write(
      "strap",
      """
      #!/bin/sh
      mkdir $1/srv
      \(entering)mount --bind \(live.root) $1/srv
      touch $0.ready
      sleep 60
      """, mode: 0o755)
    try configure("base = [\"\(push.place.root)/strap\", \"{}\"]\ncheck = [[\"/bin/true\"]]")
    try treering(["run", "--now"])
    let words: [ByteString] = ["drill", "shop", "--work-dir", work.root, "-c", push.place.root / "c.toml"]
    let command = try RunningCommand(try treeringBinary(), words)
    try PostgreSQLServer.wait(for: "the mount") { push.place.exists("strap.ready") }
    let place = try #require(try work.names().first)
    command.signal(SIGTERM)
    let result = try command.wait(timeoutSeconds: 30)
    if work.exists(place) {
      _ = try runCommand("umount", [work.root / place / "base/srv"])
      try tool("rm", ["-r", "--one-file-system", work.root / place])
    }
    #expect(result.status == 143 && live.exists("data"), "\(result.errorText)")
    #expect(result.errorText.contains("cannot be removed") == !entering.isEmpty, "\(result.errorText)")
    #expect(try !controlGroups().contains { $0.hasSuffix("/\(place)") })
  }

  @Test("a killed drill ends all its programs, and the next one removes what it left")
  func killed() throws {
    try openShop()
    try letServersPass()
    let start = "start = [\"\(world.source.root)/shop\"]\n"
    try configure(start + "check = [[\"/bin/sleep\", \"4711\"]]")
    try treering(["run", "--now"])
    let words: [ByteString] = ["drill", "shop", "--work-dir", work.root, "-c", push.place.root / "c.toml"]
    let command = try RunningCommand(try treeringBinary(), words)
    func sleeps() throws -> Bool { try runCommand("pgrep", ["-fx", "/bin/sleep 4711"]).status == 0 }
    try PostgreSQLServer.wait(for: "the check") { try sleeps() }
    command.signal(SIGKILL)
    _ = try command.wait()
    try PostgreSQLServer.wait(for: "the end of the programs") { try !sleeps() }
    let left = try #require(try work.names().first)
    #expect(try controlGroups().contains { $0.hasSuffix("/\(left)") })
    let mounts = try String(contentsOfFile: "/proc/mounts", encoding: .utf8)
    #expect(!mounts.contains("treering-drill"))
    try work.setTime(left, seconds: 1_700_000_000)
    let stopped = try RunningCommand(try treeringBinary(), words)
    try PostgreSQLServer.wait(for: "the check") { try sleeps() }
    stopped.signal(SIGTERM)
    #expect(try stopped.wait().status == 143 && !sleeps())
    #expect(try !controlGroups().contains { $0.hasSuffix("/\(left)") })
    try expectNothingLeft()
  }

  @Test("memory, processes and time are limited")
  func limits() throws {
    try openShop()
    try letServersPass()
    func check(_ script: String, _ limits: String) throws -> Document.Copy {
      try configure("check = [[\"/bin/sh\", \"-ec\", \"\(script)\"]]")
      let text = try push.place.text("c.toml").replacingOccurrences(
        of: "limits = { time = \"30s\" }", with: "limits = { \(limits), time = \"3s\" }")
      try push.place.write("c.toml", text)
      return try drill("shop", status: 3)
    }
    try configure("check = [[\"/bin/true\"]]")
    try treering(["run", "--now"])
    let memory = try check("head -c 200M /dev/zero | tail -c 199M >/dev/null", "memory = \"64M\"")
    #expect(memory.recovery.notes == [] && memory.error?.contains("/bin/sh") == true, "\(memory)")
    let forks = try check("for i in 1 2 3 4 5 6 7 8 9 10 11 12; do sleep 9 & done; sleep 0.1", "processes = 8")
    #expect(forks.recovery.output.contains { $0.contains("annot fork") }, "\(forks)")
  }

  // MARK: Runs

  @Test("a run does a drill that is due, once; its own check at Healthchecks hears of it")
  func due() throws {
    try openShop()
    try letServersPass()
    let web = try WebServer(world.directory.path)
    let healthchecks = "healthchecks = \"http://127.0.0.1:\(web.port)/ok/drill\"\n"
    try configure("every = \"30d\"\n" + healthchecks + "check = [[\"/bin/true\"]]")
    #expect(try treering(["run", "-n"]).outputText.contains("would do the drill shop"))
    try treering(["run"])
    #expect(try treering(["drill", "list"]).outputLines.count == 2)
    #expect(try web.requests().map { String($0.path.prefix { $0 != "?" }) } == ["/ok/drill/start", "/ok/drill"])
    try treering(["run"])
    #expect(try treering(["drill", "list"]).outputLines.count == 2)
    #expect(try treering(["drill", "--due"]).outputText == "no drill is due\n")
    try configure("every = \"1s\"\n" + healthchecks + "check = [[\"/bin/false\"]]", time: "1s")
    let failed = try treering(["run"], status: 1)
    #expect(failed.errorText.contains("the drill shop failed"), "\(failed.errorText)")
    #expect(try web.requests().last?.path.hasPrefix("/ok/drill/3") == true)
    #expect(try treering(["drill", "nothing"], status: 2).errorText.contains("it has: shop"))
  }

  @Test("only root can do it, and says so")
  func ordinaryUser() throws {
    try configure("check = [[\"/bin/true\"]]")
    try tool("chmod", ["711", world.directory.path, push.place.root])
    try tool("chmod", ["644", push.place.root / "c.toml"])
    try tool("chown", ["-R", "65534:65534", world.repository.root])
    let result = try world.treeringAsOrdinaryUser(["drill", "shop", "-c", push.place.root / "c.toml"])
    #expect(result.status == 3 && result.outputText.contains("only root can do the drill"), "\(result.outputText)")
  }

  // MARK: WordPress

  @Test("a WordPress site shows its post, recovered from the repository, another disk, and restic's format")
  func wordPress() throws {
    let wordpress = try WordPressWorld("wpdrill")
    let (world, site) = (wordpress.world, wordpress.site)
    _ = try wordpress.publish()
    let (disk, vault) = (world.directory.path / "disk", "restic:" + world.directory.path / "vault")
    try Tree(world.directory.path).write("password", "secret\n", mode: 0o600)
    try tool("chmod", ["711", world.directory.path])
    for words: [ByteString] in [[disk], [vault, "--password-file", world.directory.path / "password"]] {
      #expect(try world.treering(["init", "-r"] + words, inRepository: false).status == 0)
    }
    let drills = ["local", "disk", "vault"].map { from in
      """
      [[drill]]
      name = "from-\(from)"
      from = "\(from)"
      restore = ["\(site.root)", "/etc/php", "database:site"]
      start = ["/usr/bin/php", "-S", "127.0.0.1:\(wordpress.port)", "-t", "\(site.root)"]
      http = "http://127.0.0.1:\(wordpress.port)/?p=77"
      contains = "Words beside <img"
      fresh = "SELECT max(post_modified_gmt) FROM wp_posts"
      fresh_within = "1h"
      limits = { time = "30s" }

      """
    }
    let remotes = """
      [[source]]
      path = "/etc/php"
      [remote.disk]
      url = "\(disk)"
      [remote.vault]
      url = "\(vault)"
      password_file = "\(world.directory.path)/password"

      """
    try wordpress.configure(remotes + drills.joined())
    _ = try wordpress.treering(["run"])
    for name: ByteString in ["from-local", "from-disk", "from-vault"] {
      let words: [ByteString] = ["drill", name, "--json", "--work-dir", world.directory.path]
      let document: Document = try wordpress.treering(words).decoded()
      let copy = try #require(document.copies.first)
      #expect(copy.error == nil && copy.recovery.checks.allSatisfy(\.passed), "\(copy)")
      #expect((copy.recovery.dataAgeSeconds ?? -1) >= 0 && (copy.recovery.dataAgeSeconds ?? 9999) < 600, "\(copy)")
    }
    // Without the settings of PHP, which are in no source now, it has no way to the database.
    try wordpress.configure(drills[0].replacingOccurrences(of: "\"/etc/php\", ", with: ""))
    _ = try wordpress.treering(["run", "--now"])
    let text = try Tree(world.directory.path).text("c.toml").replacingOccurrences(of: "\"30s\"", with: "\"3s\"")
    try Tree(world.directory.path).write("c.toml", text)
    let failed: Document = try wordpress.treering(["drill", "from-local", "--json"], status: 3).decoded()
    #expect(failed.copies[0].error?.contains("the server answered 500") == true, "\(failed)")
  }
}
