import Foundation
import TestSupport
import Testing

/// Exit statuses that are true, and messages that help.
@Suite("Statuses and messages", .waits)
struct MessageTests {
  private func shell(_ script: String, _ world: World) throws -> CommandResult {
    try runCommand(
      "bash", ["-c", ByteString(script)], in: world.directory.path, environment: ["T": try treeringBinary().text])
  }

  private func history(_ world: World) throws -> String {
    String(try world.repository.text(".treering/history.jsonl").split(separator: "\n").last ?? "")
  }

  @Test(
    "a command that there is not gets a suggestion and status 2",
    arguments: [
      ("restor", "did you mean \"restore\"?"), ("snapshots", "did you mean \"list\"?"),
      ("lsit", "did you mean \"list\"?"),
      ("prune", "did you mean \"rotate\""), ("forget", "did you mean \"rotate\""),
      ("backup", "did you mean \"snapshot\" or \"run\"?"), ("check", "did you mean \"verify\" or \"config check\"?"),
      ("grep", "did you mean \"find\"?"), ("search", "did you mean \"find\"?"),
      ("dump", "did you mean \"database list\" or"),
      ("extract", "did you mean \"restore\"?"), ("mirror", "did you mean \"push\"?"),
      ("mount", "a snapshot is a directory of the repository"),
      ("nonsense", "see: treering --help"), ("help nosuch", "see: treering --help"),
    ])
  func unknownCommand(words: String, hint: String) throws {
    let world = try World()
    try world.expectRefusal(
      words.split(separator: " ").map { ByteString(String($0)) } + ["x"], status: 2, inRepository: false, naming: hint)
  }

  @Test("an address that cannot be used says why, in every command")
  func addresses() throws {
    let world = try World()
    for (address, why) in [
      ("ssh://-x/y", "the host begins with \"-\""), ("ssh://host:99999/p", "a number from 1 to 65535"),
      ("http://host/p", "\"http://\" is not understood"),
    ] {
      for command in [["list"], ["verify"], ["rotate"], ["init"]] as [[ByteString]] {
        try world.expectRefusal(command + ["-r", ByteString(address)], status: 2, inRepository: false, naming: why)
      }
    }
    try world.expectRefusal(
      ["rotate", "-r", "ssh://backup@nas:2222/srv/web01"], status: 2, inRepository: false,
      naming: "ssh -p 2222 backup@nas treering rotate … -r /srv/web01")
    try world.expectRefusal(["snapshot", "root@web01:/etc"], status: 2, naming: "is on another machine")
    try world.expectRefusal(
      ["list", "-r", world.directory.path], status: 2, inRepository: false, naming: "name one, such as")
  }

  @Test("a mistyped option is named, whatever it was needed for")
  func mistypedOption() throws {
    let world = try World()
    for option: ByteString in ["--inplace", "--in-palce"] {
      let result = try world.treering(["restore", "latest", "/etc", option])
      let words = "treering: Unknown option '\(option)'. Did you mean '--in-place'?"
      #expect(result.status == 2 && result.errorText.hasPrefix(words), "\(result.errorText)")
    }
  }

  @Test("an answer that cannot be written after the work is a warning")
  func fullOutput() throws {
    let world = try World()
    try world.source.write("file", "text")
    let commands = [
      "snapshot source -v", "rotate --keep-last 1 -v", "restore latest --to restored", "hold latest", "release latest",
    ]
    for command in commands {
      let result = try shell("$T \(command) -r repository > /dev/full", world)
      #expect([0, 1].contains(result.status), "\(command): \(result.status) \(result.errorText)")
      if result.status == 1 {
        #expect(result.errorText.contains("warning: cannot write the answer: No space left"), "\(result.errorText)")
      }
    }
    #expect(try world.snapshotNames().count == 1)
    // What is nothing but an answer has failed.
    #expect(try shell("$T list -r repository > /dev/full", world).status == 3)
  }

  @Test("a trash that cannot be emptied is in the history and in the status", arguments: ["rotate", "snapshot", "run"])
  func fullTrash(command: ByteString) throws {
    let world = try World()
    world.provesOlderUnchanged = false
    try world.source.write("file", "text")
    try world.snapshot()
    try Tree(world.directory.path).write(
      "c.toml", "repository = \"\(world.repository.root)\"\n[[source]]\npath = \"\(world.source.root)\"\n")
    let old = world.repository.root / ".treering/trash/old"
    try tool("mkdir", [old])
    let mounted = try LoopFileSystem("tmpfs", mebibytes: 1, at: old / "mounted")
    let arguments: [ByteString] =
      switch command {
      case "snapshot": ["snapshot", world.source.root]
      case "run": ["run", "--now", "-c", world.directory.path / "c.toml"]
      default: ["rotate"]
      }
    let result = try world.treering(arguments)
    #expect(result.status == 1, "\(result.errorText)")
    let line = try history(world)
    #expect(line.contains("\"exit_status\":1") && line.contains("cannot delete"), "\(line)")
    #expect(try world.treering(["status"]).status == 1)
    try mounted.unmount()
    #expect(try world.treering(arguments).status == 0)
    #expect(try world.treering(["status"]).status == 0)
  }

  @Test("what ssh says on its own is shown with -v, and when the run fails, each line once")
  func banner() throws {
    let world = try World()
    world.provesOlderUnchanged = false
    try world.source.write("file", "text")
    try world.snapshot()
    let place = Tree(world.directory.path)
    try place.write(
      "good", "#!/bin/sh\necho 'Authorised use only' >&2\nfor last; do :; done\nexec sh -c \"$last\"\n", mode: 0o755)
    try place.write(
      "bad", "#!/bin/sh\necho 'Authorised use only' >&2\necho 'Permission denied' >&2\nexit 255\n", mode: 0o755)
    try tool(try treeringBinary(), ["init", place.root / "far"])
    func push(_ ssh: ByteString, _ options: [ByteString] = []) throws -> CommandResult {
      try world.treering(
        [
          "push", "nas:" + place.root / "far", "--ssh", place.root / ssh, "--remote-command",
          try treeringBinary() + " serve",
        ] + options)
    }
    let quiet = try push("good")
    #expect(quiet.status == 0 && quiet.errorText == "" && quiet.outputText == "", "\(quiet.errorText)")
    #expect(try push("good", ["-v"]).errorText.contains("Authorised use only"))
    let failed = try push("bad")
    #expect(failed.status == 7)
    for line in ["Authorised use only", "Permission denied"] {
      #expect(failed.errorText.components(separatedBy: line).count == 2, "\(failed.errorText)")
    }
  }

  @Test("hooks keep others out of what they make, and have the limits that the run was started with")
  func hooks() throws {
    let world = try World()
    try world.source.write("file", "text")
    let place = Tree(world.directory.path)
    try place.write("hook", "#!/bin/sh\n(umask; ulimit -Sn) > \(place.root)/said\n", mode: 0o755)
    try place.write(
      "c.toml",
      "repository = \"\(world.repository.root)\"\n[[source]]\npath = \"\(world.source.root)\"\n"
        + "[hooks]\nbefore = [\"\(place.root)/hook\"]\n")
    let result = try shell("umask 002; ulimit -Sn 777; $T run -c c.toml", world)
    #expect(result.status == 0, "\(result.errorText)")
    #expect(try place.text("said") == "0077\n777\n")
  }

  @Test("schedule gives an ordinary user a job of that user's own")
  func ordinarySchedule() throws {
    let world = try World()
    let cron = try world.treeringAsOrdinaryUser(["schedule", "--cron", "-c", "/home/ann/c.toml"])
    let line = try #require(cron.outputLines.last)
    #expect(line == "4 * * * * nice -n 10 ionice -c 3 \(world.directory.path)/treering run --config /home/ann/c.toml")
    #expect(cron.outputText.contains("crontab -e"))
    let units = try world.treeringAsOrdinaryUser(["schedule", "--systemd", "-c", "/home/ann/c.toml"]).outputText
    #expect(units.contains("~/.config/systemd/user/treering.timer") && units.contains("systemctl --user"))
    for rootsOwn in ["CapabilityBoundingSet", "ProtectSystem", "/etc/systemd", "RequiresMountsFor"] {
      #expect(!units.contains(rootsOwn), "\(rootsOwn)")
    }
  }

  @Test("counts agree with their verbs, paths have single slashes, and nothing advises root to be root")
  func words() throws {
    let world = try World()
    try world.source.write("file", "text")
    try world.snapshot()
    try world.source.write("file", "other text")
    let again = try world.treering(["restore", "latest", world.source.root / "file", "--to", "/"])
    #expect(again.status == 1)
    #expect(again.outputText.contains("1 existing entry was left as it was"), "\(again.outputText)")
    #expect(!again.errorText.contains("//"), "\(again.errorText)")
    let table = try world.treering(["list"]).outputLines
    #expect(table.allSatisfy { !$0.hasSuffix(" ") })
    let empty = try World()
    #expect(try empty.treering(["verify"]).status == 0)
    #expect(try empty.treering(["status"]).outputText.contains("when there was no snapshot"))
  }

  @Test("colours are for terminals alone, and never with NO_COLOR or TERM=dumb")
  func colors() throws {
    let world = try World()
    try world.source.write("one", "x")
    try world.snapshot()
    try world.source.write("two", "x")
    try world.snapshot()
    let name = try world.snapshotNames()[0]
    func text(_ words: String, terminal: Bool = true, _ environment: [String: String]) throws -> String {
      let command = "\(try treeringBinary()) \(words) -r \(world.repository.root)"
      return try runCommand(
        "sh", ["-c", ByteString(terminal ? "script -qec '\(command)' /dev/null" : "\(command) 2>&1")],
        environment: environment
      ).outputText
    }
    let diff = "diff \(name) latest"
    #expect(try text(diff, ["TERM": "xterm"]).contains("\u{1B}[32m+\u{1B}[m "))
    #expect(try text("diff latest \(name)", ["TERM": "xterm"]).contains("\u{1B}[31m-\u{1B}[m "))
    #expect(try text("ls nonsense", ["TERM": "xterm"]).contains("\u{1B}[31mtreering:\u{1B}[m "))
    for words in [diff, "ls nonsense", "status"] {
      for environment in [["TERM": "xterm", "NO_COLOR": "1"], ["TERM": "dumb"], [:]] {
        #expect(try !text(words, environment).contains("\u{1B}"), "\(words) \(environment)")
      }
      #expect(try !text(words, terminal: false, ["TERM": "xterm"]).contains("\u{1B}"), "\(words)")
    }
  }
}
