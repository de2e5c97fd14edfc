import Foundation
import Model
import Retention
import Settings
import Testing

@Suite("Configuration")
struct ConfigurationTests {
  private func error(_ text: String) -> String {
    do {
      let read = try Configuration(text: text)
      return "no error: \(read)"
    } catch { return error.description }
  }

  @Test(
    "the repository may be on another machine",
    arguments: [
      ("ssh://backup@nas/srv/web01", nil), ("s3:https://s3.example.org/bucket", nil), ("nas:/srv/web01", nil),
      ("backup", "no [remote] has the name"), ("some/path", "should be an absolute path"),
      ("/a/../b", "should be an absolute path"),
    ] as [(String, String?)])
  func repositoryElsewhere(text: String, complaint: String?) throws {
    guard let complaint else {
      #expect(try Configuration(text: "repository = \"\(text)\"").repository == text)
      return
    }
    #expect(error("repository = \"\(text)\"").contains(complaint), "\(error("repository = \"\(text)\""))")
  }

  @Test("the example says what the defaults are")
  func example() throws {
    let read = try Configuration(text: Configuration.example)
    var expected = Configuration()
    expected.repository = "/backup/treering"
    #expect(read.sources.map(\.path) == ["/home", "/etc"])
    #expect(read.sources[0].exclude == [".cache/", "*.tmp"])
    var bare = read
    bare.sources = []
    #expect(bare == expected)
    // What is commented out is right as well.
    let lines = Configuration.example.split(separator: "\n", omittingEmptySubsequences: false)
    var uncommented = lines.map { line in
      line.contains(" = ") || line.hasPrefix("#   ") || line.hasPrefix("# [") || line == "# ]"
        ? line.drop { "# ".contains($0) } : line
    }
    let hooks = try #require(uncommented.firstIndex { $0 == "before = []" })
    uncommented.remove(at: hooks)
    let all = try Configuration(text: uncommented.joined(separator: "\n"))
    #expect(all.threads == 4 && all.rpoSeconds == 7200 && all.retention.keepWithinSeconds == 172_800)
    #expect(all.minimumFree == .share(0.05))
    #expect(all.sources.map(\.title) == ["/home", "/etc", "web01:/etc"])
    #expect(all.sources[2].host?.ssh == "ssh -i /root/.ssh/backup" && all.sources[2].host?.rsync == ["rsync"])
    #expect(
      all.hooksBefore.map(\.command) == [
        ["/usr/local/bin/quiesce"], ["/usr/bin/mount", "/mnt/photos"],
      ])
    #expect(all.hooksBefore.map(\.isRequired) == [true, false])
    #expect(all.hooksBefore.map(\.timeoutSeconds) == [600, 1800])
    #expect(all.healthchecks?.url == "https://hc-ping.com/your-uuid-here" && !all.warningsAreSuccess)
    #expect(all.webhook?.headers == ["Authorization: Bearer secret"] && all.webhook?.onlyFailures == true)
    #expect(all.mail?.to == ["root"] && all.mail?.on == .failure)
    #expect(all.plan?.order.count == 4 && all.plan?.keys == ["The red envelope in the safe of the office"])
    #expect(all.plan?.directory == "/var/lib/treering-plan")
    #expect(all.notifyCommand?.command == ["/usr/local/bin/tell-somebody", "backup"])
    var remote = RemoteConfiguration()
    remote.name = "offsite"
    remote.url = "ssh://backup@nas.example.org/srv/treering/web01"
    remote.address = try RemoteAddress(remote.url)
    remote.limitRate = 10 << 20
    remote.rpoSeconds = 14 * 86_400
    remote.location = "Berlin"
    remote.line = try #require(uncommented.firstIndex { $0 == "[remote.offsite]" }) + 1
    #expect(all.remotes[0] == remote)
    #expect(all.remotes.map(\.name) == ["offsite", "usb", "vault", "cloud"])
    let cloud = all.remotes[3]
    #expect(cloud.credentialsFile == "/etc/treering/cloud.credentials" && cloud.profile == "default")
    #expect(cloud.region == "eu-central-003" && cloud.hasPathStyle == true && cloud.storageClass == "STANDARD_IA")
    #expect(cloud.keyTestSeconds == Int64(7_776_000))
    #expect(all.remotes[1].address == .restic(Array("/mnt/usb/web01".utf8)))
    #expect(all.remotes[1].passwordFile == "/etc/treering/usb.password" && all.remotes[1].passwordCommand == nil)
    #expect(all.remotes[2].passwordCommand == "pass show backup/vault" && all.remotes[2].passwordFile == nil)
    let servers: [DatabaseConfiguration.Kind] = [.postgresql, .postgresql, .postgresql, .mysql]
    #expect(all.databases.map(\.kind) == servers + [.sqlite, .command, .pgbackrest])
    var main = DatabaseConfiguration()
    (main.name, main.user, main.role) = ("main", "postgres", "postgres")
    (main.databases, main.schemas, main.excludeTables) = (["shop", "wiki"], ["public"], ["public.sessions"])
    (main.socket, main.port, main.rpoSeconds) = ("/var/run/postgresql", 5432, 7200)
    (main.directory, main.line) = ("/var/tmp/dumps", all.databases[0].line)
    #expect(all.databases[0] == main)
    var verification = Configuration.Verification()
    #expect(verification.everySeconds == 86_400 && verification.parts == 30)
    verification.limitRate = 50 << 20
    #expect(all.verification == verification)
  }

  @Test("what is read")
  func read() throws {
    let read = try Configuration(
      text: """
        repository = '/r'
        label = "web01"
        change_detection = "mtime"
        keep_spare = false
        retention = { daily = 3, minimum_free = "20G" }
        source = [ { path = "/a", one_file_system = true, max_file_size = "1M" },
          # a comment
          { path = "/b", freeze = "lvm", freeze_size = "20%" }, { path = "/c", freeze = ["/bin/e", "f"] } ]
        [hooks]
        after = ["/bin/a", ["/bin/b", "c"], { command = "/bin/d", timeout = "5s", required = true }]
        """)
    #expect(read.repository == "/r" && read.label == Name("web01".utf8) && !read.keepSpare)
    #expect(read.retention.keep == [.daily: 3, .hourly: 0, .weekly: 0, .monthly: 0, .yearly: 0])
    #expect(read.minimumFree == .bytes(20 << 30))
    #expect(read.sources.map(\.path) == ["/a", "/b", "/c"] && read.sources.map(\.line) == [6, 8, 8])
    #expect(read.sources.map(\.freeze) == [nil, .lvm, .command(["/bin/e", "f"])])
    #expect(read.sources[1].freezeSize == .percent(20))
    #expect(read.sources[0].oneFileSystem && read.sources[0].maxFileSize == 1 << 20)
    #expect(read.hooksAfter.map(\.command) == [["/bin/a"], ["/bin/b", "c"], ["/bin/d"]])
    #expect(read.hooksAfter.map(\.isRequired) == [false, false, true])
    #expect(try Configuration(text: "") == Configuration())
  }

  @Test("a source of a host has its address, label and programs")
  func host() throws {
    let read = try Configuration(
      text: """
        source = [ { host = "web01", path = "/" },
          { host = "ssh://ann@[::1]:2222", path = "/srv/www", label = "www", ssh = "ssh -i key", rsync = ["sudo", "rsync"], \
            fetch = "treering", treering = ["sudo", "treering"] } ]
        """)
    #expect(read.sources.map(\.title) == ["web01:/", "www:/srv/www"])
    #expect(read.sources.map { String(decoding: $0.subject, as: UTF8.self) } == ["web01", "www/srv/www"])
    var host = Configuration.Source.Host()
    (host.text, host.name, host.label) = ("web01", Array("web01".utf8), try #require(Name("web01".utf8)))
    #expect(read.sources[0].host == host)
    (host.text, host.user, host.name, host.port) = ("ssh://ann@[::1]:2222", Array("ann".utf8), Array("::1".utf8), 2222)
    (host.label, host.ssh, host.rsync) = (try #require(Name("www".utf8)), "ssh -i key", ["sudo", "rsync"])
    (host.fetch, host.treering) = (.treering, ["sudo", "treering"])
    #expect(read.sources[1].host == host)
  }

  @Test(
    "what is wrong is named with its place and what was expected",
    arguments: [
      ("repositry = \"/r\"", "line 1, column 1: unknown key \"repositry\" in the file; did you mean \"repository\"?"),
      (
        "\n  [retention]\n  hourley = 3",
        "line 3, column 3: unknown key \"hourley\" in [retention]; did you mean \"hourly\"?"
      ),
      ("[retention]\nhourly = \"3\"", "line 2, column 10: \"hourly\" should be a number from 0 on, not \"3\""),
      ("[retention]\nhourly = -3", "line 2, column 10: \"hourly\" should be a number from 0 on, not -3"),
      (
        "[retention]\nhourly = 0\n",
        "line 1, column 1: [retention] keeps nothing but the newest snapshot; name a set, such as daily = 7"
      ),
      ("retention = 3", "line 1, column 13: \"retention\" should be a table, not 3"),
      ("[[source]]\nexclude = []", "line 1, column 1: \"path\" is missing in [source]"),
      (
        "[[source]]\npath = 'home'",
        "line 2, column 8: \"path\" should be an absolute path without \"..\", not \"home\""
      ),
      ("[[source]]\npath = '/a'\n[[source]]\npath = '/a'", "line 3, column 1: the source \"/a\" is named twice"),
      (
        "[[source]]\npath = '/a'\nexclude = 'x'",
        "line 3, column 11: \"exclude\" should be an array of patterns, such as [\".cache/\", \"*.tmp\"], not \"x\""
      ),
      (
        "[[source]]\npath='/a' # x\none_file_system = \"yes\"",
        "line 3, column 19: \"one_file_system\" should be true or false, not \"yes\""
      ),
      (
        "[[source]]\npath = '/a'\nfreeze = 'xfs'",
        "line 3, column 10: \"freeze\" should be \"lvm\", \"btrfs\", \"zfs\", or an array of the absolute path of a program and its arguments, not \"xfs\""
      ),
      (
        "[[source]]\npath = '/a'\nfreeze = 'lvm'\nfreeze_size = '0G'",
        "line 4, column 15: \"freeze_size\" should be a size such as \"5G\", or a percentage of the volume such as \"10%\", not \"0G\""
      ),
      (
        "[[source]]\npath = '/a'\nfreeze = 'zfs'\nfreeze_size = '1G'",
        "line 4, column 15: \"freeze_size\" needs freeze = \"lvm\""
      ),
      (
        "[[source]]\npath = '/a'\nhost='h'\n[[source]]\npath = '/a'\nhost='root@h'",
        "line 4, column 1: the source \"h:/a\" is named twice"
      ),
      (
        "[[source]]\npath = '/a'\nhost='h'\n[[source]]\npath = '/a/b'\nhost='h'",
        "line 4, column 1: \"h:/a/b\" is in the source \"h:/a\"; name only one"
      ),
      (
        "[[source]]\npath = '/a'\nhost='h:22'",
        "line 3, column 6: \"host\" is wrong: it should be host, user@host or ssh://user@host:port, without a path"
      ),
      (
        "[[source]]\npath = '/a'\nhost='-oProxyCommand=x'",
        "line 3, column 6: \"host\" is wrong: the host begins with \"-\", and would be read as an option"
      ),
      (
        "label='h'\n[[source]]\npath = '/a'\nhost='h'",
        "line 2, column 1: the label \"h\" belongs to other sources; give the host another \"label\""
      ),
      (
        "[[source]]\npath = '/a'\nssh='ssh'",
        "line 3, column 5: only a source with \"host\" has \"ssh\""
      ),
      (
        "[[source]]\npath = '/a'\nhost='h'\nexclude_caches = true",
        "line 4, column 18: a source with \"host\" cannot have \"exclude_caches\", because rsync(1) cannot do it"
      ),
      ("[source]\npath = '/a'", "line 1, column 1: \"source\" should be tables [[source]], not a table"),
      (
        "[guards]\ngone_limit = '150%'",
        "line 2, column 14: \"gone_limit\" should be a percentage such as \"50%\", not \"150%\""
      ),
      (
        "[hooks]\nbefore = ['true']",
        "line 2, column 11: a hook should be the absolute path of a program, an array of program and arguments, or a table with \"command\", not \"true\""
      ),
      ("[hooks]\nbefore = [ { comand = '/x' } ]", "line 2, column 12: \"command\" is missing in [hooks.before]"),
      (
        "[hooks]\nafter = [ '/ok', { command = '/x', timeout = 5 } ]",
        "line 2, column 46: \"timeout\" should be a duration such as \"90s\", \"15m\", \"2h\" or \"14d\", not 5"
      ),
      ("label = 'a/b'", "line 1, column 9: \"label\" should be the name of one directory, such as a host's name"),
      ("threads = 0", "line 1, column 11: \"threads\" should be a number from 1 to 64, not 0"),
      (
        "change_detection = 'size'",
        "line 1, column 20: \"change_detection\" should be \"ctime\", \"mtime\" or \"content\", not \"size\""
      ),
      (
        "a = 1\nthreads = 0",
        "line 1, column 1: unknown key \"a\" in the file; known are audit, change_detection, database, drill, guards, hooks, keep_spare, label, metrics, notify, objectives, plan, receives, remote, repository, retention, source, sync, threads, verify, wordpress"
      ),
      (
        "[retention]\nkeep_within = '0s'",
        "line 2, column 15: \"keep_within\" should be a duration such as \"90s\", \"15m\", \"2h\" or \"14d\", not \"0s\""
      ),
      (
        "[notify]\ntimeout = '9223372036854775807s'",
        "line 2, column 11: \"timeout\" should be a duration such as \"90s\", \"15m\", \"2h\" or \"14d\", not \"9223372036854775807s\""
      ),
      (
        "label = " + String(repeating: "[", count: 5000),
        "line 1, column 73: arrays or tables lie more than 64 deep in each other"
      ),
      ("[notify.healthchecks]", "line 1, column 1: \"url\" is missing in [notify.healthchecks]"),
      (
        "[notify.healthchecks]\nurl = 'hc-ping.com/x'",
        "line 2, column 7: \"url\" should be an address that begins with https:// or http://"
      ),
      (
        "[notify.webhook]\nurl = 'https://a b'",
        "line 2, column 7: \"url\" should be an address that begins with https:// or http://"
      ),
      (
        "[notify.webhook]\nurl = 'https://a'\nheaders = [\"A: b\\nC: d\"]",
        "line 3, column 11: \"headers\" should be lines such as \"Authorization: Bearer …\""
      ),
      (
        "[notify.webhook]\nurl = 'https://a'\non = 'never'",
        "line 3, column 6: \"on\" should be \"always\" or \"failure\", not \"never\""
      ),
      ("[notify.command]\non = 'failure'", "line 1, column 1: \"command\" is missing in [notify.command]"),
      (
        "[notify]\nhealthcheck = {}",
        "line 2, column 1: unknown key \"healthcheck\" in [notify]; did you mean \"healthchecks\"?"
      ),
      (
        "objectives.rpo = '2'",
        "line 1, column 18: \"rpo\" should be a duration such as \"90s\", \"15m\", \"2h\" or \"14d\", not \"2\""
      ),
      ("'retention'.\"houry\" = 2", "line 1, column 1: unknown key \"houry\" in [retention]; did you mean \"hourly\"?"),
    ])
  func wrong(_ text: String, _ message: String) { #expect(error(text) == message) }

  @Test("several repositories: each has a configuration of its own, and what the file has for all")
  func several() throws {
    let read = try Configuration(
      text: """
        threads = 3
        [hosts]
        at_once = 4
        max_load = 2
        stagger = "5m"
        timeout = "6h"
        [retention]
        daily = 14
        [metrics]
        textfile = "/m/all.prom"
        [[repository]]
        name = "web01.example.org"
        path = "/srv//web01/"
        [[repository.source]]
        path = "/a"
        [[repository.source]]
        path = "/b"
        exclude = ["x"]
        [[repository]]
        name = "db01"
        path = "/srv/db01"
        receives = true
        threads = 1
        [repository.retention]
        weekly = 2
        [repository.remote.off]
        url = "/mnt/off"
        """)
    #expect(read.repository == nil && read.sources.isEmpty && read.metricsTextfile == "/m/all.prom")
    let limits = read.hosts
    #expect(limits.atOnce == 4 && limits.maxLoad == 2 && limits.staggerSeconds == 300 && limits.timeoutSeconds == 21600)
    #expect(Configuration.Hosts().timeoutSeconds == 86_400)
    #expect(read.repositories.map(\.name) == ["web01.example.org", "db01"])
    #expect(read.repositories.map(\.line) == [11, 19])
    let (web, db) = (read.repositories[0].settings, read.repositories[1].settings)
    #expect(web.repository == "/srv/web01" && web.threads == 3 && web.retention.keep[.daily] == 14 && !web.receives)
    #expect(web.sources.map(\.path) == ["/a", "/b"] && web.sources.map(\.line) == [14, 16])
    #expect(web.sources[1].excludeLines == [18] && web.metricsTextfile == nil)
    #expect(db.threads == 1 && db.retention.keep[.daily] == 0 && db.retention.keep[.weekly] == 2 && db.receives)
    #expect(db.remotes.map(\.name) == ["off"] && db.remotes[0].line == 26)
  }

  @Test(
    "mistakes of several repositories",
    arguments: [
      ("[[repository]]\npath = '/r'", "line 1, column 1: \"name\" is missing in [repository]"),
      ("[[repository]]\nname = 'a'", "line 1, column 1: \"path\" is missing in [repository]"),
      (
        "[[repository]]\nname = 'a:b'\npath = '/r'",
        "line 2, column 8: \"name\" should be a host's name: letters, digits, \"_\", and within it \"-\" and \".\", not \"a:b\""
      ),
      (
        "[[repository]]\nname = '--version'\npath = '/r'",
        "line 2, column 8: \"name\" should be a host's name: letters, digits, \"_\", and within it \"-\" and \".\", not \"--version\""
      ),
      (
        "[[repository]]\nname = 'a'\npath = '/r'\n[[repository]]\nname = 'a'\npath = '/s'",
        "line 5, column 8: the repository \"a\" is named twice"
      ),
      (
        "[[repository]]\nname = 'a'\npath = '/r'\n[[repository]]\nname = 'b'\npath = '/r/'",
        "line 6, column 8: the repository /r is there twice"
      ),
      (
        "[[source]]\npath = '/a'\n[[repository]]\nname = 'a'\npath = '/r'",
        "line 1, column 1: \"source\" belongs to one of the tables [[repository]]: give it there"
      ),
      (
        "[retention]\nhourley = 1\n[[repository]]\nname = 'a'\npath = '/r'\n[[repository]]\nname = 'b'\npath = '/s'",
        "line 2, column 1: unknown key \"hourley\" in [retention]; did you mean \"hourly\"?"
      ),
      (
        "[[repository]]\nname = 'a'\npath = '/r'\n[[repository]]\nname = 'b'\npath = '/s'\n[[repository.source]]\nphat = '/x'",
        "line 7, column 1: \"path\" is missing in [repository.source]"
      ),
      (
        "[[repository]]\nname = 'a'\npath = '/r'\nreceives = true\nretention = { keep_last = 3 }",
        "line 4, column 12: with \"receives\", [retention] cannot have keep_last, keep_within or minimum_free; name sets"
      ),
      (
        "[notify.mail]\nto = 'a'\non = 'weekly'\n[[repository]]\nname = 'a'\npath = '/r'",
        "line 1, column 1: a mail of all repositories is sent after a \"failure\" or \"always\", not \"weekly\""
      ),
      ("repository = []", "line 1, column 14: \"repository\" names none"),
    ])
  func wrongAmongSeveral(_ text: String, _ message: String) { #expect(error(text) == message) }

  @Test("what is no TOML is named with its place")
  func noTOML() {
    #expect(error("repository = \"/r\"\nlabel = ").hasPrefix("line 2, column "))
    #expect(error("[retention\n").hasPrefix("line 1, column "))
    for header in [
      "[=]", "[[[x]]]", "[\nx]", "[ #\n", "[", "[[", "[.x]", "[{]", "[,]", "x = ,", "x = ]", "x = [1, }",
      "x = { y = , }", "x = #",
    ] {
      #expect(error("label = 'a'\n  " + header).hasPrefix("line 2, column "), "\(header)")
    }
  }

  @Test("no text stops the reader")
  func mutations() {
    var generator = SystemRandomNumberGenerator()
    let example = Array(Configuration.example.utf8)
    let spice = Array("[]{}\"'=#.,\n\\x0".utf8)
    for _ in 0..<10_000 {
      var bytes = example
      for _ in 0..<Int.random(in: 1...4, using: &generator) {
        let place = Int.random(in: 0..<bytes.count, using: &generator)
        switch Int.random(in: 0...2, using: &generator) {
        case 0: bytes[place] = spice.randomElement(using: &generator)!
        case 1: bytes.remove(at: place)
        default: bytes.insert(spice.randomElement(using: &generator)!, at: place)
        }
      }
      let text = String(decoding: bytes, as: UTF8.self)
      do { _ = try Configuration(text: text) } catch {
        if let line = error.line { #expect((1...text.utf8.count { $0 == 10 } + 1).contains(line)) }
      }
    }
  }

  @Test("every key of the parser is in the manual, and no other")
  func manual() throws {
    let page = URL(filePath: #filePath).deletingLastPathComponent()
      .appending(path: "../../man/treering.toml.5").standardizedFileURL
    let text = try String(contentsOf: page, encoding: .utf8)
    let items = text.split(separator: "\n").filter { $0.hasPrefix(".It Ic ") }
    let described = Set(items.flatMap { $0.dropFirst(7).split(separator: " , ") }.map(String.init))
    let known = [
      "repository", "receives", "label", "change_detection", "threads", "keep_spare", "hourly", "daily", "weekly",
      "monthly",
      "yearly", "keep_last", "keep_within", "minimum_free", "path", "optional", "exclude", "exclude_from",
      "one_file_system",
      "exclude_caches", "exclude_if_present", "exclude_nodump", "max_file_size", "freeze", "freeze_size", "gone_limit",
      "changed_limit",
      "before", "after", "command", "timeout", "required", "rpo",
      "textfile", "url", "warnings", "headers", "on", "set", "ssh", "remote_command", "limit_rate",
      "every", "part", "name", "kind", "user", "directory", "databases", "schemas", "exclude_tables", "jobs", "socket",
      "host", "port", "role", "password_file", "password_command", "tls", "ca_file", "file", "mode", "archive", "logs",
      "location", "verify_within", "unreadable_runs", "excluded_limit", "ignore",
      "mixed_moments", "stanza", "elsewhere", "config", "backup", "content", "maintenance", "database",
      "prefix_only", "table_prefix", "credentials_file", "profile", "region", "path_style", "storage_class",
      "archive_class", "lock", "lock_mode", "append_only", "key_test_every", "restore", "from", "at", "start", "check",
      "http", "contains", "fresh",
      "fresh_within", "rto", "base", "limits", "healthchecks", "memory", "processes", "time",
      "order", "keys", "contacts", "dependencies", "notes", "not_backed_up", "to", "rsync",
      "fetch", "treering",
    ]
    // They are in the example of treering-backup-host(7).
    let ofSeveral = ["at_once", "max_load", "stagger"]
    #expect(described == Set(known + ofSeveral))
    for key in known where key != "command" && key != "timeout" && key != "required" {
      #expect(Configuration.example.contains("\(key) = "), "\(key)")
    }
  }
}
