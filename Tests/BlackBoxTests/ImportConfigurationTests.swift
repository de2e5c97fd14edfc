import Foundation
import TestSupport
import Testing

/// The document of `import rsnapshot --json`.
private struct ImportAnswer: Decodable {
  struct Lost: Decodable {
    let file: String
    let line: Int
    let text: String
    let why: String
  }
  let config: String
  let notCarriedOver: [Lost]
}

/// `import rsnapshot`, beside the real rsnapshot.
@Suite("import rsnapshot", .waits)
struct ImportConfigurationTests {
  private let world: World
  private let directory: ByteString
  private let files: Tree

  init() throws {
    world = try World("import", initialized: false)
    directory = world.directory.path
    files = Tree(directory)
  }

  /// Writes an rsnapshot.conf that rsnapshot itself finds right.
  private func configure(_ rest: String, at location: SourceLocation = #_sourceLocation) throws {
    try files.write(
      "rsnapshot.conf",
      """
      config_version\t1.2
      snapshot_root\t\(directory)/root/
      cmd_cp\t/bin/cp
      cmd_rm\t/bin/rm
      cmd_rsync\t/usr/bin/rsync
      retain\talpha\t6
      \(rest)

      """)
    let test = try runCommand("rsnapshot", ["-c", directory / "rsnapshot.conf", "configtest"])
    #expect(test.status == 0, "\(test.errorText)", sourceLocation: location)
  }

  private func imported(
    _ options: [ByteString] = [], status: Int32 = 0, at location: SourceLocation = #_sourceLocation
  ) throws -> CommandResult {
    let result = try world.treering(
      ["import", "rsnapshot", directory / "rsnapshot.conf"] + options, inRepository: false)
    #expect(result.status == status, "\(result.errorText)\(result.outputText)", sourceLocation: location)
    return result
  }

  /// Makes the repository and runs what was printed, which must be right.
  private func run(_ text: [UInt8], at location: SourceLocation = #_sourceLocation) throws {
    try files.write("treering.toml", bytes: text)
    if !files.exists("root") { try files.makeDirectory("root", mode: 0o700) }
    for command in [["init", directory / "root/treering"], ["config", "check"], ["run", "--now"]] as [[ByteString]] {
      let options: [ByteString] = command[0] == "init" ? [] : ["-c", directory / "treering.toml"]
      let result = try world.treering(command + options, inRepository: false)
      // Random rules may leave out all that a source has, which is said.
      let isSaid = command[0] == "config" && result.errorLines.allSatisfy { $0.contains("leaves out all that") }
      #expect(result.status == 0 || isSaid, "\(result.errorText)", sourceLocation: location)
    }
  }

  /// Kinds and paths of all that is below a directory.
  private func names(_ root: ByteString) throws -> [String] {
    let output = try tool("find", [root, "-mindepth", "1", "-printf", "%y %P\\n"])
    return String(decoding: output, as: UTF8.self).split(separator: "\n").map(String.init).sorted()
  }

  // MARK: What is printed

  @Test("Debian's own configuration becomes one that is right")
  func debian() throws {
    let result = try world.treering(["import", "rsnapshot", "/etc/rsnapshot.conf"], inRepository: false)
    #expect(result.status == 0 && result.errorText == "")
    #expect(
      result.outputLines.filter { $0.hasPrefix("path = ") } == [
        "path = \"/home\"", "path = \"/etc\"", "path = \"/usr/local\"",
      ])
    #expect(result.outputLines.filter { $0.contains(#/^\w+ly = /#) } == ["hourly = 24", "daily = 9", "weekly = 6"])
    let printed = "repository = \"/var/cache/rsnapshot/treering\""
    #expect(result.outputText.contains("\n\(printed)\n"))
    // With a repository of the test's own.
    try files.makeDirectory("repository")
    #expect(try world.treering(["init", directory / "repository"], inRepository: false).status == 0)
    let text = result.outputText.replacing(printed, with: "repository = \"\(directory)/repository\"")
    try files.write("treering.toml", text)
    let check = try world.treering(["config", "check", "-c", directory / "treering.toml"], inRepository: false)
    #expect(check.status == 0, "\(check.errorText)")
  }

  @Test("what has no equivalent is named, with exit status 1, in TOML and in JSON")
  func lost() throws {
    try files.write("source/file", "x", making: "source")
    try configure(
      """
      cmd_ssh\t/usr/bin/ssh
      backup\t\(directory)/source/\tlocalhost/
      backup\trsync://example.com/etc/\texample.com/
      backup\texample.com::module/a\tdata/
      """)
    let result = try imported(status: 1)
    let file = "\(directory)/rsnapshot.conf"
    let advice = "look for NOT CARRIED OVER in what was printed"
    #expect(result.errorText == "treering: note: 2 lines of \(file) could not be carried over; \(advice)\n")
    #expect(
      result.outputLines.filter { $0.contains("NOT CARRIED OVER: ") } == [
        "# NOT CARRIED OVER: \(file):9: backup\trsync://example.com/etc/\texample.com/",
        "# NOT CARRIED OVER: \(file):10: backup\texample.com::module/a\tdata/",
      ])
    let answer = try imported(["--json"], status: 1).decoded(ImportAnswer.self)
    #expect(answer.config == result.outputText)
    #expect(answer.notCarriedOver.map(\.line) == [9, 10] && answer.notCarriedOver.map(\.file) == [file, file])
    #expect(answer.notCarriedOver[1].text == "backup\texample.com::module/a\tdata/")
    #expect(answer.notCarriedOver[1].why.hasPrefix("treering fetches over ssh"))
    try run(result.output)
  }

  @Test("files that are included, and commands that are not run")
  func includes() throws {
    try files.write("source/file", "x", making: "source")
    try files.write("more.conf", "exclude\t*.o\ninclude_conf\t\(directory)/deep.conf\n")
    try files.write("deep.conf", "# a comment\nbackup\t\(directory)/source/\tlocalhost/\n")
    try configure("include_conf\t\(directory)/more.conf\ninclude_conf\t`/usr/bin/touch \(directory)/ran`")
    try files.remove("ran")
    let result = try imported(status: 1)
    #expect(!files.exists("ran"))
    #expect(result.outputText.contains("# \(directory)/deep.conf:2: backup\t"))
    #expect(result.outputText.contains("exclude = [\n  \"*.o\",\n]"))
    let command = "\(directory)/rsnapshot.conf:8: include_conf\t`/usr/bin/touch"
    #expect(result.outputText.contains("NOT CARRIED OVER: \(command)"))
  }

  @Test("a file, and not a directory, is named with what to do")
  func plainFile() throws {
    try files.write("source/file", "x", making: "source")
    try configure("backup\t\(directory)/source/file\tlocalhost/")
    let result = try imported(status: 1)
    #expect(
      result.outputText.contains(
        "a source is a directory: name \"\(directory)/source\", with exclude = [\"/*\", \"!/file\"]"))
  }

  // MARK: What is wrong

  @Test(
    "what rsnapshot rejects is refused with file and line",
    arguments: [
      ("retain\tbeta", 8, "\"retain\" should have a number from 1 on after \"beta\""),
      ("retain\tsync\t3", 8, "\"retain\" should be the name of a level"),
      ("backup  /etc/  localhost/", 8, "a tab should follow \"backup\"; spaces separate nothing"),
      ("backup /etc/\tlocalhost/", 8, "a tab should follow \"backup\"; spaces separate nothing"),
      ("one_fs", 8, "\"one_fs\" should have a value, after a tab"),
      ("one_fs\tyes", 8, "\"one_fs\" should be 0 or 1, not \"yes\""),
      ("exclud\tx", 8, "unknown parameter \"exclud\"; did you mean \"exclude\"?"),
      ("verbose\t2\n# one\n\nverbose\t6", 11, "\"verbose\" should be a number from 1 to 5, not \"6\""),
      ("verbose\t2\n\t3\n\nbackup\t/etc\t../x", 11, "the destination should be a relative path"),
      ("#\n\tone_fs\t1", 9, "the line begins with a blank, and no statement stands right above it"),
      ("backup\t/etc/\tlocalhost/\tone_fs=2", 8, "\"one_fs\" should be 0 or 1, not \"2\""),
      ("backup\t/etc/\tlocalhost/\tcmd_rsync=/x", 8, "\"cmd_rsync\" is no option of a backup point"),
      ("backup\troot@h:/etc/\th/", 8, "\"cmd_ssh\" should be said before \"root@h:/etc/\""),
      ("include_conf\t/nonexistent/x", 8, "cannot read /nonexistent/x: "),
      ("exclude_file\t/nonexistent/x", 8, "cannot read /nonexistent/x: "),
    ])
  func wrong(_ rest: String, _ line: Int, _ message: String) throws {
    // The line before takes no further line.
    try configure("backup\t/etc/\tlocalhost/")
    try files.append("rsnapshot.conf", rest + "\n")
    let test = try runCommand("rsnapshot", ["-c", directory / "rsnapshot.conf", "configtest"])
    #expect(test.status != 0)
    try world.expectRefusal(
      ["import", "rsnapshot", directory / "rsnapshot.conf"], status: 2, inRepository: false,
      naming: "treering: \(directory)/rsnapshot.conf:\(line): \(message)")
  }

  @Test("a file that cannot be read, or includes itself, or is no configuration")
  func unreadable() throws {
    let file = "\(directory)/rsnapshot.conf"
    func refuse(_ message: String, at location: SourceLocation = #_sourceLocation) throws {
      try world.expectRefusal(
        ["import", "rsnapshot", ByteString(file)], status: 2, inRepository: false, naming: "treering: \(message)\n",
        at: location)
    }
    try refuse("\(file): cannot be read: No such file or directory")
    try files.makeDirectory("rsnapshot.conf")
    try refuse("\(file): cannot be read: it is no file")
    try files.remove("rsnapshot.conf")
    try files.write("rsnapshot.conf", "# nothing\n")
    try refuse("\(file): \"config_version\" is missing; rsnapshot takes no configuration without it")
    try files.write("rsnapshot.conf", "config_version\t1.2\ninclude_conf\t\(file)\n")
    try refuse("\(file):2: \(file) includes itself")
    try files.write("rsnapshot.conf", "config_version\t1.2\ninclude_conf\t\(directory)/a\n")
    try files.write("a", "# b\ninclude_conf\t\(file)\n")
    try refuse("\(directory)/a:2: \(file) includes itself")
    try files.write("rsnapshot.conf", bytes: Array("config_version\t1.2\n# \u{FF}\nexclude\t".utf8) + [0xFF, 0x0A])
    try refuse("\(file):3: the line is not UTF-8")
    try tool("truncate", ["-s", "1048577", ByteString(file)])
    #expect(try imported(status: 2).errorText.contains("cannot be read: "))
    try world.expectRefusal(
      ["import", "other", ByteString(file)], status: 2, inRepository: false, mayExplainUsage: true)
  }

  // MARK: What is stored

  @Test("hooks are run as rsnapshot runs its commands")
  func hooks() throws {
    try files.write("source/file", "x", making: "source")
    let log = "\(directory)/log"
    try files.write("say", "#!/bin/sh\necho \"$#: $*\" >> \(log)\n", mode: 0o755)
    try configure(
      """
      cmd_preexec\t\(directory)/say pre  a
      cmd_postexec\t\(directory)/say "post b" $((1+1))
      backup_exec\techo "exec one" >> \(log)\trequired
      backup\t\(directory)/source/\tlocalhost/
      backup_exec\t\(directory)/say last
      """)
    try tool("rsnapshot", ["-c", directory / "rsnapshot.conf", "alpha"])
    let expected = try files.text("log")
    #expect(expected == "2: pre a\nexec one\n1: last\n2: post b 2\n")
    try files.remove("log")
    try run(imported().output)
    let logged = try files.text("log")
    #expect(logged == expected)
  }

  @Test("a script's output is what rsnapshot stores of it, and stays if the script fails")
  func script() throws {
    try files.write("source/file", "x", making: "source")
    try files.write("make", "#!/bin/sh\necho \"$1 $#\" > out; mkdir d; echo deep > d/f\n", mode: 0o755)
    try configure("backup\t\(directory)/source/\tlocalhost/\nbackup_script\t\(directory)/make \"a b\" c\tdata/x/")
    try tool("rsnapshot", ["-c", directory / "rsnapshot.conf", "alpha"])
    try run(imported().output)
    let latest = directory / "root/treering/latest/localhost" / directory / "root/treering-scripts/data-x"
    for name in ["out", "d/f"] as [ByteString] {
      #expect(try Tree(latest).text(name) == Tree(directory / "root/alpha.0/data/x").text(name))
    }
    try files.write("make", "#!/bin/sh\necho half > out; exit 3\n", mode: 0o755)
    let failed = try world.treering(["run", "--now", "-c", directory / "treering.toml"], inRepository: false)
    #expect(failed.status == 1 && failed.errorText.contains("ended with status 3"), "\(failed.errorText)")
    #expect(try Tree(latest).text("out") == "a b 2\n")
  }

  @Test("a script reaches neither the directories of the hook nor its end")
  func scriptWithOwnVariables() throws {
    try files.write("source/file", "x", making: "source")
    try files.write("precious/file", "x", making: "precious")
    try configure(
      """
      backup\t\(directory)/source/\tlocalhost/
      backup_script\t/usr/bin/test -d / && for d in \(directory)/precious; do new=$d; echo x > a; done\ta/
      backup_script\t/bin/echo 'it''s' > b; exit 0\ta/b/
      """)
    try run(imported().output)
    let latest = directory / "root/treering/latest/localhost" / directory / "root/treering-scripts"
    #expect(try Tree(latest).text("a/a") == "x\n" && Tree(latest).text("a-b/b") == "its\n")
    #expect(try files.text("precious/file") == "x")
  }

  @Test("a source that holds the root of rsnapshot's snapshots does not hold them twice")
  func rootInSource() throws {
    try files.write("source/file", "x", making: "source")
    try configure("backup\t\(directory)/\tlocalhost/\nexclude\tlog\nexclude\ttreering.toml")
    try tool("rsnapshot", ["-c", directory / "rsnapshot.conf", "alpha"])
    try run(imported().output)
    let stored = try names(directory / "root/treering/latest/localhost" / directory)
    let expected = try names(directory / "root/alpha.0/localhost" / directory)
    #expect(stored == expected)
    #expect(stored.contains("f source/file") && !stored.contains { $0.contains("alpha") })
  }

  /// Among them are failures of wrong orders, of `***`, of `**` in a name, and of patterns that float.
  static let keptSeeds: [UInt64] = [3, 6, 7, 16, 21, 24, 34]

  @Test(
    "of random trees with random rules the same is stored",
    arguments: sample(2, of: keptSeeds) + [UInt64.random(in: 100...UInt64(UInt32.max))])
  func rules(seed: UInt64) throws {
    print("import: seed \(seed)")
    var rules = RandomRsyncRules(seed: seed, directory: "\(directory)")
    for name in ["s/one", "s/two", "other"] as [ByteString] { try rules.makeTree(files, name) }
    let globals = rules.globalLines(files: try rules.writeFile(files))
    try configure(
      """
      \(globals)
      backup\t\(directory)/s/one/\tlocalhost/
      backup\t\(directory)/s/two\tlocalhost/\t\(rules.pointOptions())
      backup\t\(directory)/./other\thost/
      """)
    try tool("rsnapshot", ["-c", directory / "rsnapshot.conf", "alpha"])
    let result = try world.treering(
      ["import", "rsnapshot", directory / "rsnapshot.conf", "--json"], inRepository: false)
    let answer = try result.decoded(ImportAnswer.self)
    try run(Array(answer.config.utf8))
    let stored = directory / "root/treering/latest/localhost" / directory
    for (name, place) in [
      ("s/one", directory / "root/alpha.0/localhost" / directory / "s/one"),
      ("s/two", directory / "root/alpha.0/localhost" / directory / "s/two"),
      ("other", directory / "root/alpha.0/host/other"),
    ] as [(ByteString, ByteString)] {
      // What leaves out the source itself is named instead.
      if answer.notCarriedOver.contains(where: { $0.text.contains("/\(name)\t") || $0.text.contains("/\(name)/\t") }) {
        #expect(!Tree(place).exists(""), "seed \(seed)")
        continue
      }
      let (mine, theirs) = (try names(stored / name), try names(place))
      let rules = try files.text("rsnapshot.conf") + answer.config
      #expect(mine == theirs, "seed \(seed), \(name):\n\(rules)")
    }
    #expect(answer.notCarriedOver.allSatisfy { $0.why.contains("stores nothing of it") }, "\(answer.notCarriedOver)")
  }
}

extension Tree {
  /// Writes a file after the directory that it is in.
  fileprivate func write(_ path: ByteString, _ text: String, making directory: ByteString) throws {
    if !exists(directory) { try makeDirectory(directory) }
    try write(path, text)
  }
}
