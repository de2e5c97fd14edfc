import Model
import Settings
import Testing

@Suite("Configuration of remotes")
struct RemoteConfigurationTests {
  @Test("what is read, in the order of the file")
  func read() throws {
    let read = try Configuration(
      text: """
        remote.second = { url = "/mnt/disk/treering" }
        [remote.first-1_A]
        url = "backup@nas:web01"
        set = "weekly"
        ssh = "ssh -p 2222 -i '/root/my key'"
        remote_command = "sudo treering serve"
        limit_rate = "512K"
        timeout = "1s"
        optional = true
        rpo = "2w"
        [remote.3]
        url = "ssh://[::1]/r"
        set = "latest"
        """)
    #expect(read.remotes.map(\.name) == ["second", "first-1_A", "3"])
    #expect(read.remotes.map(\.line) == [1, 2, 11])
    let disk = read.remotes[0]
    #expect(disk.address == .local(Array("/mnt/disk/treering".utf8)) && disk.url == "/mnt/disk/treering")
    #expect(disk.set == nil && disk.ssh == "ssh" && disk.remoteCommand == "treering serve")
    #expect(disk.limitRate == nil && disk.timeoutSeconds == 300)
    let first = read.remotes[1]
    #expect(first.address == (try RemoteAddress("backup@nas:web01")) && first.set == .weekly)
    #expect(first.ssh == "ssh -p 2222 -i '/root/my key'" && first.remoteCommand == "sudo treering serve")
    #expect(first.limitRate == 512 << 10 && first.timeoutSeconds == 1)
    #expect(first.isOptional && first.rpoSeconds == 14 * 86_400 && !disk.isOptional && disk.rpoSeconds == nil)
    #expect(read.remotes[2].set == nil)
    let longest = String(repeating: "x", count: 64)
    #expect(try Configuration(text: "[remote.\(longest)]\nurl = '/r'").remotes.first?.name == longest)
    #expect(try Configuration(text: "[remote]").remotes == [])
  }

  @Test(
    "rates",
    arguments: [
      ("10MB/s", 10 << 20), ("1", 1), ("1B/s", 1), ("3k", 3 << 10), ("2GiB/s", 2 << 30), ("0", nil), ("0MB/s", nil),
      ("10MB/", nil), ("10MB/m", nil), ("/s", nil), ("", nil), ("-1", nil), ("10MB/s/s", nil), ("1.5M", nil),
    ] as [(String, UInt64?)])
  func rates(_ text: String, _ bytes: UInt64?) { #expect(Quantity.bytesPerSecond(of: text) == bytes) }

  @Test(
    "what is wrong is named with its place and what was expected",
    arguments: [
      (
        "[retention]\ndaily = 7\n[remote.a]\nurl = '/r'\nset = 'weekly'",
        "line 5, column 7: [retention] keeps no weekly snapshots, so none would be pushed; keep some, or name another set"
      ),
      ("repository = '/r'\n[remote.a]\nurl = '/r'", "line 3, column 7: \"url\" is the repository itself"),
      ("remote = 3", "line 1, column 10: \"remote\" should be a table, not 3"),
      ("[[remote]]\nurl = '/r'", "line 1, column 1: \"remote\" should be a table, not an array"),
      ("[remote]\nurl = '/r'", "line 2, column 7: \"url\" should be a table such as [remote.offsite], not \"/r\""),
      (
        "[remote.a]\n[remote.'b c']\nurl='/r'",
        "line 1, column 1: \"url\" is missing in [remote.a]"
      ),
      (
        "[remote.'b c']\nurl='/r'",
        "line 1, column 1: a remote's name should be letters, digits, \"-\" and \"_\", at most 64"
      ),
      (
        "remote.\"ä\".url = '/r'",
        "line 1, column 1: a remote's name should be letters, digits, \"-\" and \"_\", at most 64"
      ),
      (
        "remote = { \"\" = { url = '/r' } }",
        "line 1, column 12: a remote's name should be letters, digits, \"-\" and \"_\", at most 64"
      ),
      (
        "[remote.\(String(repeating: "x", count: 65))]\nurl='/r'",
        "line 1, column 1: a remote's name should be letters, digits, \"-\" and \"_\", at most 64"
      ),
      ("[remote.1]\nurll = '/r'", "line 1, column 1: \"url\" is missing in [remote.1]"),
      (
        "[remote.1]\nurl = '/r'\nlimitrate = 3",
        "line 3, column 1: unknown key \"limitrate\" in [remote.1]; did you mean \"limit_rate\"?"
      ),
      ("[remote.a]\nurl = 3", "line 2, column 7: \"url\" should be a string, not 3"),
      (
        "[remote.a]\nurl = 'r'",
        "line 2, column 7: \"url\" should be ssh://host/path, host:path, restic:/path, s3:, rest:, sftp: or an absolute path"
      ),
      (
        "[remote.a]\nurl = ''",
        "line 2, column 7: \"url\" is wrong: the path is missing, as in ssh://host/path or host:path"
      ),
      (
        "[remote.a]\nurl = 'ssh://u:secret@h/p'",
        "line 2, column 7: \"url\" is wrong: a user is named without a password; ssh(1) asks for it, or takes a key"
      ),
      (
        "[remote.a]\nurl = '-oProxyCommand=x:y'",
        "line 2, column 7: \"url\" is wrong: the host begins with \"-\", and would be read as an option"
      ),
      (
        "[remote.a]\nurl = '/r'\nset = 'minutely'",
        "line 3, column 7: \"set\" should be \"latest\", \"hourly\", \"daily\", \"weekly\", \"monthly\" "
          + "or \"yearly\", not \"minutely\""
      ),
      ("[remote.a]\nurl = '/r'\nssh = \"ssh -i 'x\"", "line 3, column 7: \"ssh\" is wrong: a quote is not closed"),
      ("[remote.a]\nurl = '/r'\nssh = ' '", "line 3, column 7: \"ssh\" is wrong: the command is empty"),
      (
        "[remote.a]\nurl = '/r'\nremote_command = ' '",
        "line 3, column 18: \"remote_command\" should be a command such as \"treering serve\", not \" \""
      ),
      (
        "[remote.a]\nurl = '/r'\nlimit_rate = '0'",
        "line 3, column 14: \"limit_rate\" should be bytes per second, such as \"10MB/s\", not \"0\""
      ),
      (
        "[remote.a]\nurl = '/r'\nlimit_rate = 5",
        "line 3, column 14: \"limit_rate\" should be bytes per second, such as \"10MB/s\", not 5"
      ),
      (
        "[remote.a]\nurl = '/r'\ntimeout = '0s'",
        "line 3, column 11: \"timeout\" should be a duration such as \"90s\", \"15m\", \"2h\" or \"14d\", not \"0s\""
      ),
    ])
  func wrong(_ text: String, _ message: String) {
    let error = #expect(throws: SettingsError.self) { try Configuration(text: text) }
    #expect(error?.description == message)
  }
}
