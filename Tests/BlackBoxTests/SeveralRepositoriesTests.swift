import Foundation
import TestSupport
import Testing

/// One configuration with several repositories: one run, one view, one mail.
@Suite("several repositories", .waits)
struct SeveralRepositoriesTests {
  private struct Answer: Decodable {
    struct Repository: Decodable {
      let name: String
      let result: String
      let exitStatus: Int32
      let error: String?
    }
    let exitStatus: Int32
    let error: String?
    let repositories: [Repository]
  }

  private let directory: TemporaryDirectory
  private let place: Tree
  private let names: [String]

  init() throws {
    directory = try TemporaryDirectory("several")
    place = Tree(directory.path)
    names = ["web01", "web02", "db.example.org"]
    for name in names { try add(name) }
  }

  /// Makes a repository with a source of its own.
  private func add(_ name: String) throws {
    try place.makeDirectory(ByteString("source-\(name)"))
    try place.write(ByteString("source-\(name)/file"), name)
    let made = try runCommand(try treeringBinary(), ["init", place.root / ByteString("repository-\(name)")])
    #expect(made.status == 0, "\(made.errorText)")
  }

  /// Writes the configuration: `top` is for all, and `more` for one repository.
  private func configure(_ top: String = "", order: [String]? = nil, more: [String: String] = [:]) throws {
    let tables = (order ?? names).map { name in
      """
      [[repository]]
      name = "\(name)"
      path = "\(place.root)/repository-\(name)"
      [[repository.source]]
      path = "\(place.root)/source-\(name)"
      \(more[name] ?? "")
      """
    }
    try place.write("c.toml", ([top] + tables).joined(separator: "\n"))
  }

  @discardableResult
  private func treering(
    _ words: [ByteString], status: Int32 = 0, environment: [String: String] = [:],
    at location: SourceLocation = #_sourceLocation
  ) throws -> CommandResult {
    let result = try runCommand(
      try treeringBinary(), words + ["-c", place.root / "c.toml"], in: place.root, environment: environment)
    #expect(result.status == status, "\(result.errorText)\(result.outputText)", sourceLocation: location)
    return result
  }

  private func snapshots(of name: String) throws -> [ByteString] {
    try Tree(place.root / ByteString("repository-\(name)")).names().filter { $0.hasPrefix("20") }
  }

  // MARK: One view

  @Test("a good run prints nothing, and each command takes the name of a repository")
  func good() throws {
    try configure("[retention]\ndaily = 3")
    let check = try treering(["config", "check"])
    #expect(check.outputText.contains("web02: \(place.root)/c.toml is valid. treering run would:"))
    #expect(try treering(["run", "-n"]).outputText.contains("db.example.org: would take a snapshot\n"))
    let run = try treering(["run"])
    #expect(run.outputText == "" && run.errorText == "")
    for name in names { #expect(try snapshots(of: name).count == 1) }
    let again = try treering(["run", "--json"]).decoded(Answer.self)
    #expect(again.repositories.map(\.name) == names && again.repositories.allSatisfy { $0.result == "not_due" })
    // The table of all, and the page of one.
    let table = try treering(["status"]).outputText
    #expect(table.hasPrefix("REPOSITORY ") && table.split(separator: "\n").count == 4, "\(table)")
    #expect(try treering(["status", "-r", "web02"]).outputText.contains("repository-web02: all is well"))
    let list = try treering(["list", "-r", "web02"]).outputText
    #expect(list.contains("source-web02") && !list.contains("source-web01"))
    let cat = try treering(["cat", "latest", place.root / "source-web01/file", "-r", "web01"])
    #expect(cat.outputText == "web01")
    let report = try treering(["report", "-r", place.root / "repository-web01"])
    #expect(report.outputText.contains("source-web01"))
    #expect(try treering(["run", "--now", "-r", "web01"]).outputText == "")
    #expect(try snapshots(of: "web01").count == 2 && snapshots(of: "web02").count == 1)
  }

  @Test("a command for one repository asks for its name, and an unknown name is an error")
  func unnamed() throws {
    try configure()
    for command in [["list"], ["audit"], ["report"], ["restore", "latest", "--to", "/x"]] as [[ByteString]] {
      let text = try treering(command, status: 2).errorText
      #expect(text.hasSuffix("name it with -r: web01, web02, db.example.org\n"), "\(text)")
    }
    let unknown = try treering(["list", "-r", "web03"], status: 2).errorText
    #expect(unknown.hasSuffix("has no repository web03; it has: web01, web02, db.example.org\n"), "\(unknown)")
    try configure("[hooks]\nafter = []")
    #expect(try treering(["run"], status: 2).errorText.contains(":1:1: \"hooks\" belongs to one of the tables"))
  }

  @Test("a broken configuration lets no directory take the place of a repository, unless it is given as a path")
  func brokenConfiguration() throws {
    let made = try runCommand(try treeringBinary(), ["init", place.root / "web01"])
    #expect(made.status == 0, "\(made.errorText)")
    for text in ["[[repository", "[[repository]]\nname = \"web01\"\npath = \"\(place.root)/repository-web01\"\nx = 1"] {
      try place.write("c.toml", text)
      for command in [["list"], ["status"], ["rotate"]] as [[ByteString]] {
        let named = try treering(command + ["-r", "web01"], status: 2).errorText
        #expect(named.contains("/c.toml:"), "\(named)")
      }
      try treering(["list", "-r", "./web01"])
      let inside = try runCommand(
        try treeringBinary(), ["list", "-r", ".", "-c", place.root / "c.toml"], in: place.root / "web01")
      #expect(inside.status == 0, "\(inside.errorText)")
    }
  }

  @Test("one repository by two paths is named by config check")
  func double() throws {
    try configure()
    try tool("rm", ["-r", place.root / "repository-web02"])
    try tool("ln", ["-s", "repository-web01", place.root / "repository-web02"])
    let text = try treering(["config", "check"], status: 2).errorText
    #expect(text.contains("c.toml: web02 is the same repository as web01\n"), "\(text)")
  }

  // MARK: Failures

  /// A sendmail that keeps what it gets.
  private func sendmail() throws -> [String: String] {
    try place.makeDirectory("bin")
    try place.write(
      "bin/sendmail", "#!/bin/sh\necho mail >> '\(place.root)/mail'\ncat >> '\(place.root)/mail'\n", mode: 0o755)
    return ["PATH": "\(place.root)/bin:/usr/sbin:/usr/bin:/sbin:/bin"]
  }

  @Test("a lost source, a lost repository and a killed run cost the others nothing; one mail, one file of metrics")
  func failures() throws {
    try add("db02")
    let all = names + ["db02"]
    // The run of db02 is killed by its own hook.
    let hook = "[repository.hooks]\nbefore = [[\"/bin/sh\", \"-c\", \"kill -9 $PPID\"]]"
    try configure(
      "metrics.textfile = \"\(place.root)/all.prom\"\nnotify.mail = { to = \"root\" }", order: all, more: ["db02": hook]
    )
    try place.remove("source-web01/file")
    try tool("rmdir", [place.root / "source-web01"])
    try tool("mv", [place.root / "repository-web02", place.root / "away"])
    let result = try treering(["run", "--json"], status: 3, environment: try sendmail())
    let answer = try result.decoded(Answer.self)
    #expect(answer.repositories.map(\.exitStatus) == [3, 2, 0, 3] && answer.exitStatus == 3)
    #expect(answer.repositories[3].error == "was ended by signal 9")
    #expect(try snapshots(of: "db.example.org").count == 1)
    // Each message names its repository.
    #expect(result.errorText.contains("\"message\":\"web01: no source is there"), "\(result.errorText)")
    #expect(result.errorText.contains("\"message\":\"web02: cannot open the repository"))
    #expect(result.errorText.contains("\"message\":\"db02: was ended by signal 9"))
    let mail = try place.text("mail")
    #expect(mail.split(separator: "\n").count { $0 == "mail" } == 1)
    #expect(mail.contains("run ended with status 3: 3 of 4 repositories did not end well: web01 with status 3"))
    #expect(
      mail.contains("\ndb02            STATUS 3 ") && mail.contains("\n! web01: there is no snapshot yet"), "\(mail)")
    let metrics = try place.text("all.prom")
    let checked = try runCommand("sh", ["-c", "promtool check metrics < \"$0\"", place.root / "all.prom"])
    #expect(checked.status == 0 && checked.errorText == "", "\(checked.errorText)")
    for (name, status) in zip(all, [3, 2, 0, 3]) {
      let line = "treering_last_run_exit_status{repository=\"\(place.root)/repository-\(name)\"} \(status)\n"
      #expect(metrics.contains(line), "\(metrics)")
    }
    #expect(
      metrics.contains("treering_last_snapshot_bytes{repository=\"\(place.root)/repository-db.example.org\"} 14\n"))
    // The worst is first.
    let table = try treering(["status"], status: 2).outputText.split(separator: "\n").map { $0.prefix { $0 != " " } }
    #expect(table.prefix(5).first == "REPOSITORY" && table[1] == "web02" && table[4] == "db.example.org", "\(table)")
  }

  @Test("another run at work on a repository is no news for the mail and the metrics of the others")
  func locked() throws {
    let hook =
      "[\"/bin/sh\", \"-c\", \"touch \(place.root)/began; while [ ! -e \(place.root)/go ]; do sleep 0.1; done\"]"
    try configure(
      "metrics.textfile = \"\(place.root)/all.prom\"\nnotify.mail = { to = \"root\", on = \"always\" }",
      more: ["web02": "[repository.hooks]\nbefore = [\(hook)]"])
    let first = try RunningCommand(try treeringBinary(), ["run", "-r", "web02", "-c", place.root / "c.toml"])
    while !place.exists("began") { usleep(10_000) }
    let environment = try sendmail()
    let answer = try treering(["run", "--json"], status: 5, environment: environment).decoded(Answer.self)
    #expect(answer.repositories.map(\.result) == ["made", "locked", "made"] && answer.exitStatus == 5)
    let mail = try place.text("mail")
    #expect(mail.contains(": all is done\n"), "\(mail)")
    let metrics = try place.text("all.prom")
    #expect(metrics.contains("treering_last_run_exit_status{repository=\"\(place.root)/repository-web01\"} 0\n"))
    #expect(!metrics.contains("treering_last_run_exit_status{repository=\"\(place.root)/repository-web02\"}"))
    #expect(metrics.contains("treering_snapshots{repository=\"\(place.root)/repository-web02\"} 0\n"), "\(metrics)")
    // Nothing is due in the others.
    try treering(["run"], status: 5, environment: environment)
    #expect(try place.text("mail") == mail)
    try place.write("go", "")
    #expect(try first.wait().status == 0)
  }

  // MARK: Limits

  /// Hooks that write the begin and the end of each run to a log.
  private func logging(_ command: String = "sleep 0.3") -> [String: String] {
    Dictionary(
      uniqueKeysWithValues: names.map { name in
        func hook(_ word: String, _ more: String) -> String {
          "[\"/bin/sh\", \"-c\", \"echo \(word) \(name) >> \(place.root)/log; \(more)\"]"
        }
        return (name, "[repository.hooks]\nbefore = [\(hook("begin", command))]\nafter = [\(hook("end", "true"))]")
      })
  }

  private func log() throws -> [String] {
    let lines = try place.text("log").split(separator: "\n").map(String.init)
    try place.remove("log")
    return lines
  }

  @Test("no more run at once than the configuration says, and the start follows from the name")
  func atOnce() throws {
    try configure("hosts.at_once = 1", more: logging())
    try treering(["run"])
    #expect(try log() == names.flatMap { ["begin \($0)", "end \($0)"] })
    try configure(
      "hosts.at_once = 3", more: logging("while [ $(grep -c begin \(place.root)/log) -lt 3 ]; do sleep 0.1; done"))
    try treering(["run", "--now"])
    #expect(try log().prefix(3).allSatisfy { $0.hasPrefix("begin") })
    // A load that is too high leaves one at a time.
    try configure("hosts = { at_once = 3, max_load = 0.000001 }", more: logging())
    try treering(["run", "--now"])
    #expect(try log() == names.flatMap { ["begin \($0)", "end \($0)"] })
    var orders: [[String]] = []
    for order in [names, names.reversed()] {
      try configure(
        "hosts = { at_once = 1, stagger = \"2s\" }\nretention.keep_last = 9", order: order, more: logging("true"))
      try treering(["run"])
      orders.append(try log())
    }
    #expect(orders[0] == orders[1])
  }

  @Test("a signal is passed on, and what was not started is named")
  func signal() throws {
    try configure("hosts.at_once = 1", more: logging("sleep 60"))
    let run = try RunningCommand(try treeringBinary(), ["run", "--json", "-c", place.root / "c.toml"])
    while !place.exists("log") { usleep(10_000) }
    run.signal(SIGTERM)
    let result = try run.wait(timeoutSeconds: 30)
    #expect(result.status == 143, "\(result.errorText)")
    let answer = try result.decoded(Answer.self)
    #expect(answer.repositories.map(\.exitStatus) == [143, 143, 143])
    #expect(answer.repositories[1].error == "was not started, because the run was interrupted")
    #expect(try log() == ["begin web01", "end web01"])
  }

  @Test("a run that takes longer than the limit is told to end")
  func timeout() throws {
    var more = logging("true")
    more["web02"] = logging("sleep 60")["web02"]
    try configure("hosts.timeout = \"2s\"", more: more)
    let result = try treering(["run"], status: 3)
    #expect(result.errorText.contains("web02: "), "\(result.errorText)")
    #expect(try log().contains("end web02") && snapshots(of: "db.example.org").count == 1)
    #expect(try snapshots(of: "web02").isEmpty)
  }

  @Test("runs that hang do not keep the others from their turn, nor the run of all from its end")
  func hung() throws {
    var more = logging("true")
    more["web01"] = logging("echo $PPID > \(place.root)/process; kill -STOP $PPID")["web01"]
    try configure("hosts = { at_once = 1, timeout = \"8s\" }\nnotify.mail = { to = \"root\" }", more: more)
    let run = try RunningCommand(
      try treeringBinary(), ["run", "--json", "-c", place.root / "c.toml"], environment: try sendmail())
    while !place.exists("log") { usleep(10_000) }
    while try !place.text("log").contains("end db.example.org") { usleep(10_000) }
    let process = try place.text("process").trimmingCharacters(in: .whitespacesAndNewlines)
    #expect(FileManager.default.fileExists(atPath: "/proc/\(process)"))
    let result = try run.wait(timeoutSeconds: 100)
    #expect(result.status == 3, "\(result.errorText)")
    #expect(!FileManager.default.fileExists(atPath: "/proc/\(process)"))
    #expect(try result.decoded(Answer.self).repositories.map(\.result) == ["hung", "made", "made"])
    #expect(try place.text("mail").contains("\n! web01: its run hangs\n"))
    #expect(result.errorText.contains("web01: hangs: it did not end when it was told to"), "\(result.errorText)")
  }

  // MARK: Pushes

  @Test("a repository that others push to takes no snapshot; a run rotates it, and its sources have an age")
  func receiving() throws {
    try add("pushed")
    let far = place.root / "repository-pushed"
    for count in 0..<3 {
      try place.write("source-web01/file", "\(count)")
      for words in [
        ["snapshot", place.root / "source-web01"], ["push", far],
      ] as [[ByteString]] {
        let result = try runCommand(try treeringBinary(), words + ["-r", place.root / "repository-web01"])
        #expect(result.status == 0, "\(result.errorText)")
      }
    }
    let table = "name = \"pushed\"\npath = \"\(far)\"\nreceives = true\n"
    try place.write("c.toml", "[retention]\ndaily = 7\n[objectives]\nrpo = \"1s\"\n[[repository]]\n\(table)")
    #expect(try treering(["config", "check"]).outputText.contains("take no snapshot in \(far), because others push"))
    let answer = try treering(["run", "--json"]).decoded(Answer.self)
    #expect(answer.repositories.map(\.result) == ["not_due"])
    // The first of the day and the newest stay.
    #expect(try snapshots(of: "pushed").count == 2)
    sleep(2)
    let late = try treering(["status"], status: 1).outputText.replacing("\n  ", with: " ")
    #expect(late.contains("the newest good snapshot of \(place.root)/source-web01 is "), "\(late)")
  }
}
