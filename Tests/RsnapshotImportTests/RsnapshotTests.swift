import Model
import Retention
import RsnapshotImport
import Settings
import Testing

/// What an rsnapshot.conf becomes; beside the real rsnapshot it is tested in BlackBoxTests.
@Suite("rsnapshot.conf")
struct RsnapshotTests {
  private static let top = """
    config_version\t1.2
    snapshot_root\t/backup/snapshots//
    cmd_rsync\t/usr/bin/rsync
    cmd_ssh\t/usr/bin/ssh
    retain\tdaily\t7

    """

  private struct NotThere: Error, CustomStringConvertible { var description: String { "it is not there" } }

  /// Five lines stand above the text unless it brings its own top.
  private func translated(
    _ text: String, top: String = top, files: [String: String] = [:]
  ) throws(RsnapshotError) -> RsnapshotTranslation {
    let access = RsnapshotFiles(
      name: { String(decoding: $0, as: UTF8.self) },
      read: { path in
        let path = String(decoding: path, as: UTF8.self)
        if path == "x.conf" { return Array((top + text).utf8) }
        guard let content = files[path] else { throw NotThere() }
        return Array(content.utf8)
      }, isFile: { $0 == Array("/etc/passwd".utf8) },
      mountPoint: { $0 == "vg0" && $1 == "home" ? "/srv/home" : nil })
    let configuration = try RsnapshotConfiguration(path: Array("x.conf".utf8), files: access)
    return try RsnapshotTranslation(of: configuration, name: "x.conf", files: access)
  }

  private func configuration(
    _ text: String, top: String = top, files: [String: String] = [:]
  ) throws -> Configuration {
    try Configuration(text: try translated(text, top: top, files: files).text)
  }

  private func error(_ text: String, files: [String: String] = [:]) -> String {
    do {
      return "no error: \(try translated(text, files: files).text)"
    } catch { return error.description }
  }

  // MARK: Sources

  @Test("points become sources; the label is that of the first")
  func points() throws {
    let read = try configuration(
      """
      backup\t/home/\tweb01/
      backup\t//srv/./x\t./web01//data/\tone_fs=1
      backup\t/etc\tother/\t
      """)
    #expect(read.repository == "/backup/snapshots/treering" && read.label == Name("web01".utf8))
    #expect(read.sources.map(\.path) == ["/home", "/srv/x", "/etc"])
    #expect(read.sources.map(\.oneFileSystem) == [false, true, false])
    let text = try translated("backup\t/home/\tweb01/\nbackup\t//srv/./x\tweb01/data/\nbackup\t/etc\tother/").text
    #expect(text.contains("# rsnapshot has it in web01/data/x, treering in web01/srv/x"))
    #expect(text.contains("# rsnapshot has it in other/etc, treering in web01/etc"))
    #expect(!text.contains("rsnapshot has it in web01/home"))
    #expect(text.contains("# Not needed: config_version, cmd_rsync, cmd_ssh."))
    #expect(try translated("backup\t/home/\tlocalhost/").text.contains("label = ") == false)
  }

  @Test("a point's own one_fs takes the place of the global one")
  func oneFileSystem() throws {
    let read = try configuration(
      "backup\t/a\tl/\nbackup\t/b\tl/\tone_fs=0\nbackup\t/c\tl/\trsync_short_args=-ax,one_fs=0\none_fs\t1")
    #expect(read.sources.map(\.oneFileSystem) == [true, false, true])
  }

  @Test("what is named twice is one source")
  func twice() throws {
    let same = try translated("backup\t/a\tl/\nbackup\t/a/\tl/\texclude=x")
    #expect(try Configuration(text: same.text).sources.map(\.exclude) == [["x"]])
    #expect(same.notCarriedOver.isEmpty)
    let other = try translated("backup\t/a\tl/\nbackup\t/a/\tm/\texclude=x")
    #expect(try Configuration(text: other.text).sources.map(\.exclude) == [[]])
    #expect(other.notCarriedOver.map(\.line) == [7])
    #expect(
      other.notCarriedOver[0].why == "x.conf:6 has this source with other rules, and treering stores a source once")
  }

  @Test("a source below another has rules of its own, in both")
  func nested() throws {
    let read = try configuration(
      "backup\t/\tl/\tone_fs=1,exclude=/var/\nbackup\t/var/lib/\tl/\texclude=x\nbackup\t/home/\tl/")
    #expect(read.sources.map(\.path) == ["/", "/var/lib", "/home"])
    #expect(read.sources.map(\.oneFileSystem) == [true, false, false])
    #expect(read.sources.map { $0.exclude.filter { $0 != "/backup/snapshots/" } } == [["/var/"], ["x"], []])
  }

  @Test("rsnapshot's snapshots are left out of a source that holds them")
  func root() throws {
    let read = try configuration("backup\t/\tl/\nbackup\t/backup/snap\tl/")
    #expect(read.sources[0].exclude == ["/backup/snapshots/"] && read.sources[1].exclude == [])
  }

  @Test("points of other hosts become sources with a host, ssh, rsync and a label")
  func hosts() throws {
    let read = try configuration(
      """
      ssh_args\t-p 2222 -i /root/.ssh/backup
      backup\t/etc/\tlocalhost/
      backup\troot@web01:/etc/\tweb01/\texclude=*.o
      backup\troot@web01:/home/\tweb01/\tone_fs=1,ssh_args=-p 22
      backup\tbackup@db.example.org:/var/lib/\tdb01/\t+rsync_long_args=--rsync-path="sudo rsync",+ssh_args=-4
      backup\troot@web02:/srv/\tlocalhost/
      backup\troot@web03:/srv/\tweb01/
      """)
    #expect(read.label == .localhost)
    let sources = read.sources.map { source in
      "\(source.host?.text ?? "-") \(source.title) \(source.host?.ssh ?? "-") \(source.host?.rsync ?? [])"
    }
    #expect(
      sources == [
        "- /etc - []", "root@web01 web01:/etc ssh -p 2222 -i /root/.ssh/backup [\"rsync\"]",
        "root@web01 web01:/home ssh -p 22 [\"rsync\"]",
        "backup@db.example.org db01:/var/lib ssh -p 2222 -i /root/.ssh/backup -4 [\"sudo\", \"rsync\"]",
        // A label is of one host.
        "root@web02 web02:/srv ssh -p 2222 -i /root/.ssh/backup [\"rsync\"]",
        "root@web03 web03:/srv ssh -p 2222 -i /root/.ssh/backup [\"rsync\"]",
      ])
    #expect(read.sources.map(\.exclude) == [[], ["*.o"], [], [], [], []] && read.sources[2].oneFileSystem)
    let text = try translated("backup\troot@web01:/etc/\tall/web01/\nbackup\t/home/\tlocalhost/").text
    #expect(text.contains("# rsnapshot has it in all/web01/etc, treering in all/etc") && !text.contains("ssh = "))
    #expect(try translated("backup\troot@web01:/etc/\tweb01/").text.contains("label = ") == false)
    // Of the same files twice, one is carried over.
    let nested = try translated("backup\troot@h:/\th/\nbackup\troot@h:/home/\th/")
    #expect(nested.notCarriedOver.map(\.line) == [7] && nested.text.contains("x.conf:6 has the same files"))
  }

  @Test("a volume of LVM becomes a frozen source, if it is mounted")
  func volume() throws {
    let names = ["cmd_lvcreate", "cmd_lvremove", "cmd_mount", "cmd_umount"].map { "linux_lvm_\($0)\t/bin/x" }
    let paths = ["snapshotname\tx", "vgpath\t/dev", "mountpath\t/mnt/x"].map { "linux_lvm_\($0)" }
    let needed = (names + paths + ["linux_lvm_snapshotsize\t100M"]).joined(separator: "\n") + "\n"
    let read = try configuration(
      needed
        + "backup\tlvm://vg0/home/ann\tl/\texclude=/ann/x\nbackup\tlvm://vg0/home/bob\tl/\tlinux_lvm_snapshotsize=2G")
    #expect(read.sources.map(\.path) == ["/srv/home/ann", "/srv/home/bob"] && read.sources[0].exclude == ["/x"])
    #expect(read.sources.map(\.freeze) == [.lvm, .lvm])
    #expect(read.sources.map(\.freezeSize) == [.bytes(100 << 20), .bytes(2 << 30)])
    let lost = try translated(needed + "backup\tlvm://vg0/root/\tl/").notCarriedOver
    #expect(lost.map(\.why) == ["it is mounted nowhere here: give the directory as a [[source]] with freeze = \"lvm\""])
  }

  @Test("a script becomes a hook that fills a source")
  func script() throws {
    let read = try configuration(
      "backup\t/home\tl/\nbackup_script\t/bin/x a \"b\"\tx/\nbackup_script\t/bin/y\tx/\nbackup_exec\t/bin/z")
    let directory = "/backup/snapshots/treering-scripts/x"
    #expect(read.sources.map(\.path) == ["/home", directory, directory + "-2"])
    #expect(read.sources.map(\.isOptional) == [false, true, true])
    #expect(read.hooksBefore.map { $0.command.first } == ["/bin/sh", "/bin/sh"])
    #expect(read.hooksBefore[0].command[2].contains("d='\(directory)' ") && !read.hooksBefore[0].isRequired)
    #expect(read.hooksBefore[0].command[2].contains("/bin/sh -c '/bin/x a \"b\"'"))
  }

  @Test("each script has a directory of its own, whatever the destinations are")
  func scriptDirectories() throws {
    let names = ["db/sub/", "db/", "db-sub/", "db-2/", "db/", ".new/"]
    let read = try configuration(names.map { "backup_script\t/bin/x\t\($0)" }.joined(separator: "\n"))
    #expect(
      read.sources.map(\.path)
        == ["db-sub", "db", "db-sub-2", "db-2", "db-3", ".new-2"].map {
          "/backup/snapshots/treering-scripts/\($0)"
        })
  }

  @Test(
    "what is no local directory is not carried over",
    arguments: [
      "backup\thost:~/x\th/", "backup\thost:/x\th/\trsync_long_args=--rsync-path='a;b'", "backup\thost::module/x\th/",
      "backup\trsync://host/x\th/",
      "backup\t/etc/passwd\tl/", "include_conf\t`/bin/x`",
      "rsync_long_args\t--copy-links --relative", "rsync_short_args\t-aL",
      "backup\t/a\tl/\t+rsync_long_args=--chmod=g+w",
      "exclude\ta b", "exclude\t[a", "exclude\t*[a/b]", "exclude\t*a\\", "exclude\thome",
      "rsync_long_args\t--max-size=x",
      "rsync_long_args\t--filter='merge x'", "exclude\t**a**b**c**d**e**f",
    ])
  func lost(_ line: String) throws {
    let translation = try translated("backup\t/home\tl/\n" + line)
    #expect(translation.notCarriedOver.count == 1, "\(translation.text)")
    #expect(translation.notCarriedOver.first?.text == (line == "exclude\thome" ? "backup\t/home\tl/" : line))
    #expect(translation.text.contains("# NOT CARRIED OVER: x.conf:\(line == "exclude\thome" ? 6 : 7): "))
  }

  @Test(
    "what treering does by itself needs no words",
    arguments: [
      "rsync_short_args\t-aAXHSvz",
      "rsync_long_args\t--delete --numeric-ids --relative --bwlimit 100 --no-owner --rsh='ssh -p 1'",
      "sync_first\t1", "link_dest\t00", "use_lazy_deletes\t1", "rsync_numtries\t3", "loglevel\t3\t# a comment",
      "lockfile\t/var/run/x.pid", "no_create_root\t1", "du_args\t-csh", "ssh_args\t-p 22",
    ])
  func builtIn(_ line: String) throws {
    #expect(try translated(line + "\nbackup\t/home\tl/").notCarriedOver.isEmpty)
  }

  // MARK: Rules

  @Test(
    "patterns of rsync become those of gitignore(5)",
    arguments: [
      ("exclude\t*.o", ["*.o"]),
      ("exclude\ta/b", ["**/a/b"]),
      ("exclude\t/home/ann/x", ["/ann/x"]),
      ("exclude\t/home/*/x/", ["/*/x/"]),
      ("exclude\t/etc/x", []),
      ("exclude\t/home/", []),
      ("include\t/h*/a\nexclude\t*", ["*", "!/a"]),
      ("exclude\thome/x", ["**/home/x", "/x"]),
      ("exclude\t/home/**", ["/**"]),
      ("exclude\t/**/x", ["x"]),
      ("exclude\t**/x", ["x"]),
      ("exclude\t**x/y", ["**/*x/y"]),
      ("exclude\ta**b", ["a*b", "**/a*/**/*b"]),
      ("exclude\tdir/***", ["**/dir/**", "dir/"]),
      ("exclude\tdir/**/x", ["**/dir/*/**/x"]),
      ("exclude\t\"#a b \"", ["\\#a b\\ "]),
      ("exclude\t!a", ["\\!a"]),
      ("exclude\ta\\b", ["a\\\\b"]),
      ("exclude\t\\**", ["\\**"]),
      ("exclude\t\"+ a\"\ninclude\t\"- b\"", ["b", "!a"]),
      ("exclude\ta\nexclude\t!\nexclude\tb", ["b"]),
      ("exclude_file\t/x\nexclude\tf", ["c", "f"]),
      ("rsync_long_args\t--exclude=/a --include /b '--filter=- c d'", ["c d", "!/b", "/a"]),
    ])
  func patterns(_ lines: String, _ expected: [String]) throws {
    let files = ["/x": "# a\n;b\n\nc\n+ d\r\n"]
    let source = try #require(try configuration(lines + "\nbackup\t/home/\tl/", files: files).sources.first)
    #expect(Set(source.exclude) == Set(expected) && source.exclude.count == expected.count, "\(source.exclude)")
    if !lines.contains("**") { #expect(source.exclude == expected) }
  }

  @Test("rules of a point take the place of the global ones; those with a plus sign come after them")
  func pointRules() throws {
    let read = try configuration(
      """
      exclude\ta
      backup\t/1\tl/
      backup\t/2\tl/\texclude=b,include=c
      backup\t/3\tl/\t+rsync_long_args=--exclude=d --max-size=1.5K
      backup\t/4\tl/\trsync_long_args=--exclude=/e
      backup\t/5\tl/\t+exclude=f
      """)
    #expect(read.sources.map(\.exclude) == [["a"], ["b"], ["d", "a"], ["/e"], []])
    #expect(read.sources.map(\.maxFileSize) == [nil, nil, 1536, nil, nil])
  }

  // MARK: Levels and commands

  @Test(
    "levels become sets",
    arguments: [
      ("retain\talpha\t6\nretain\tbeta\t7\nretain\tgamma\t4\nretain\tdelta\t3", [24, 9, 6, 5, 0], 0),
      ("interval\thourly\t5\nretain\tyearly\t2", [24, 0, 0, 0, 4], 0),
      ("retain\tdaily\t7\nretain\tfortnight\t2\nretain\tmonthly\t3", [0, 7, 4, 5, 0], 0),
      ("retain\tminutes\t3\nretain\thourly\t5", [24, 0, 0, 0, 0], 1),
      ("retain\tdaily\t7\nretain\tdaily\t8", [0, 7, 0, 0, 0], 1),
      ("retain\tone\t2\nretain\ttwo\t9999999999999999999999", [24, 1_000_000, 0, 0, 0], 0),
    ])
  func levels(_ lines: String, _ expected: [Int], _ lost: Int) throws {
    let top = Self.top.replacing("retain\tdaily\t7\n", with: "")
    let translation = try translated(lines + "\nbackup\t/home\tl/", top: top)
    let read = try Configuration(text: translation.text)
    #expect(SnapshotSet.allCases.map { read.retention.keep[$0] ?? 0 } == expected)
    #expect(translation.notCarriedOver.count == lost)
  }

  @Test("commands become hooks, with the shell where Perl would take it")
  func hooks() throws {
    let read = try configuration(
      """
      cmd_preexec\t/bin/pre a  b
      cmd_postexec\t/bin/post
      backup_exec\t/bin/a "x"\trequired
      backup_exec\tdate +%F
      backup\t/home\tl/
      backup_exec\t/bin/b $HOME\trequired
      backup_exec\t/bin/c\toptional
      """)
    #expect(
      read.hooksBefore.map(\.command) == [
        ["/bin/pre", "a", "b"], ["/bin/sh", "-c", "/bin/a \"x\""], ["/bin/sh", "-c", "date +%F"],
      ])
    #expect(read.hooksBefore.map(\.isRequired) == [true, true, false])
    #expect(read.hooksAfter.map(\.command) == [["/bin/sh", "-c", "/bin/b $HOME"], ["/bin/c"], ["/bin/post"]])
    #expect(read.hooksAfter.map(\.isRequired) == [true, false, false])
    #expect((read.hooksBefore + read.hooksAfter).allSatisfy { $0.timeoutSeconds == 86_400 })
  }

  // MARK: Text

  @Test("quotes, backslashes and control characters stay what they are")
  func escapes() throws {
    let path = "/a\"b\\c\u{7F}\u{1}é\u{2028}"
    let translation = try translated("backup\t\(path)\tl/\nbackup\tann@h:~\(path)\th/")
    #expect(try Configuration(text: translation.text).sources.map { Array($0.path.utf8) } == [Array(path.utf8)])
    #expect(translation.text.contains("# NOT CARRIED OVER: x.conf:7: backup\tann@h:~/a\"b\\c\\u007F\\u0001é"))
  }

  @Test(
    "what is wrong is named with its place",
    arguments: [
      ("rsync_long_args\t--exclude=\"a", "x.conf:6: a quote is not closed"),
      ("rsync_long_args\t\"a'b'\"", "x.conf:6: quotes in quotes are not allowed"),
      ("backup\t/a/../b\tl/", "x.conf:6: the path \"/a/../b\" should be without \"..\""),
      ("backup\ta\tl/", "x.conf:6: \"backup\" should be an absolute path, or one on another host, not \"a\""),
      ("backup\t/a", "x.conf:6: after \"/a\" and a tab the destination should stand, such as localhost/"),
      ("backup\tlvm://a/b\tl/", "x.conf:6: \"linux_lvm_cmd_lvcreate\" should be said before \"lvm://a/b\""),
      (
        "backup_exec\t/bin/x\tmaybe",
        "x.conf:6: after the command \"optional\" or \"required\" should stand, not \"maybe\""
      ),
      ("cmd_preexec\tx", "x.conf:6: \"cmd_preexec\" should be the absolute path of a program, not \"x\""),
      ("ssh_args\t-a\nssh_args\t-b", "x.conf:7: \"ssh_args\" should be there once"),
      ("one_fs\t1\r", "x.conf:6: the line ends with a carriage return; lines should end as on Linux"),
      ("exclude\ta\0b", "x.conf:6: the line holds a NUL"),
      ("include_conf\t/y", "/y:2: \"one_fs\" should be 0 or 1, not \"2\""),
      ("backup\t/a\tl/\nexclude_file\t/z", "x.conf:7: cannot read /z: it is not there"),
      ("retain\tsync\t2", "x.conf:6: \"retain\" should be the name of a level, of letters and digits, not \"sync\""),
    ])
  func wrong(_ text: String, _ message: String) { #expect(error(text, files: ["/y": "\none_fs\t2\n"]) == message) }

  @Test("no text stops the reader")
  func mutations() {
    let rest = "exclude\t/a**/[b]/***\nbackup\t/a/./b/\tl/\texclude=\"c\",one_fs=1\nbackup_exec\t/x 'y'\n"
    let example = Array((Self.top + rest).utf8)
    let spice = Array("\t\n *[]!\\/'\"=,+-#`".utf8)
    for _ in 0..<1_000 {
      var bytes = example
      for _ in 0..<Int.random(in: 1...4) {
        let place = Int.random(in: 0..<bytes.count)
        switch Int.random(in: 0...2) {
        case 0: bytes[place] = spice.randomElement()!
        case 1: bytes.remove(at: place)
        default: bytes.insert(spice.randomElement()!, at: place)
        }
      }
      do { _ = try translated(String(decoding: bytes, as: UTF8.self), top: "") } catch {
        #expect(!error.message.contains("was made of it"), "\(error)\n\(String(decoding: bytes, as: UTF8.self))")
      }
    }
  }
}
