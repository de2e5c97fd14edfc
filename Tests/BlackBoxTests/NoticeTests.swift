import Foundation
import TestSupport
import Testing

/// Whoever is told of runs, by real servers on loopback.
@Suite("run: healthchecks, webhook, program", .waits)
struct NoticeTests {
  private func configure(_ world: World, _ rest: String) throws {
    try Tree(world.directory.path).write(
      "c.toml",
      """
      repository = "\(world.repository.root)"
      [[source]]
      path = "\(world.source.root)"
      [retention]
      keep_last = 5
      \(rest)
      """)
  }

  private func world(_ rest: String) throws -> World {
    let world = try World()
    world.provesOlderUnchanged = false
    try world.source.write("file", "content")
    try configure(world, rest)
    return world
  }

  @discardableResult
  private func run(
    _ world: World, _ options: [ByteString] = [], status: Int32 = 0, environment: [String: String] = [:],
    location: SourceLocation = #_sourceLocation
  ) throws -> CommandResult {
    let result = try world.treering(
      ["run", "-c", world.directory.path / "c.toml"] + options, inRepository: false, environment: environment)
    #expect(result.status == status, "\(result.errorText)", sourceLocation: location)
    return result
  }

  private func lastRun(_ world: World) throws -> RunAnswer { try #require(try world.runHistory().last) }

  private func healthchecks(_ server: WebServer, _ path: String, _ rest: String = "") -> String {
    """
    [notify]
    timeout = "3s"
    [notify.healthchecks]
    url = "http://127.0.0.1:\(server.port)/\(path)"
    \(rest)
    """
  }

  // MARK: Healthchecks

  @Test("a good run is a start and a success with one id; nothing is printed")
  func good() throws {
    let world = try world("")
    let server = try WebServer(world.directory.path)
    try configure(world, healthchecks(server, "ok/uuid"))
    let result = try run(world)
    #expect(result.errorText == "" && result.outputText == "")
    let id = try lastRun(world).runId
    let requests = try server.requests()
    #expect(requests.map(\.path) == ["/ok/uuid/start?rid=\(id)", "/ok/uuid?rid=\(id)"])
    #expect(requests.map(\.method) == ["POST", "POST"])
    #expect(requests[1].body.contains("snapshot") && requests[1].body.contains("done"))
    #expect(requests[1].headers["user-agent"]?.hasPrefix("treering/") == true)
    #expect(try lastRun(world).steps.map(\.step) == ["snapshot", "rotate", "healthchecks"])
  }

  @Test("a query of the address stays one")
  func query() throws {
    let world = try world("")
    let server = try WebServer(world.directory.path)
    try configure(world, healthchecks(server, "ok/key/web01/?create=1"))
    try run(world)
    let id = try lastRun(world).runId
    #expect(
      try server.requests().map(\.path)
        == ["/ok/key/web01/start?create=1&rid=\(id)", "/ok/key/web01?create=1&rid=\(id)"])
  }

  @Test("a failure is its exit status, with what was said; success is never sent")
  func failure() throws {
    let world = try world("")
    let server = try WebServer(world.directory.path)
    try configure(
      world, healthchecks(server, "ok", "[hooks]\nbefore = [[\"/bin/sh\", \"-c\", \"echo the reason; exit 7\"]]"))
    try run(world, status: 3)
    let requests = try server.requests()
    #expect(requests.map { $0.path.prefix { $0 != "?" } } == ["/ok/start", "/ok/3"])
    #expect(requests[1].body.contains("the reason") && requests[1].body.contains("ended with status 7"))
  }

  @Test("warnings are a failure, or a success where one says so")
  func warnings() throws {
    let world = try world("")
    let server = try WebServer(world.directory.path)
    let hook = "[hooks]\nbefore = [{ command = \"/bin/false\", required = false }]"
    try configure(world, healthchecks(server, "ok", hook))
    try run(world, status: 1)
    try configure(world, healthchecks(server, "ok", "warnings = \"success\"\n" + hook))
    try run(world, status: 1)
    #expect(
      try server.requests().map { $0.path.prefix { $0 != "?" } } == ["/ok/start", "/ok/1", "/ok/start", "/ok"])
  }

  @Test("what keeps a run from beginning is told, too, and recorded")
  func cannotBegin() throws {
    let world = try world("")
    let server = try WebServer(world.directory.path)
    try configure(world, healthchecks(server, "ok"))
    try tool("rm", ["-r", world.source.root])
    try run(world, status: 3)
    #expect(try lastRun(world).result == "failed")
    #expect(try lastRun(world).exitStatus == 3)
    // The disk with the repository is not mounted.
    try tool("mv", [world.repository.root, world.directory.path / "away"])
    try run(world, status: 2)
    let requests = try server.requests()
    #expect(requests.map { $0.path.prefix { $0 != "?" } } == ["/ok/start", "/ok/3", "/ok/2"])
    #expect(requests[2].body.contains("cannot open the repository"))
  }

  @Test("nothing is told of a run that is not due, or that another keeps from working")
  func nothingToTell() throws {
    let world = try world("")
    let server = try WebServer(world.directory.path)
    try configure(world, healthchecks(server, "ok").replacing("[notify]", with: "hourly = 0\n[notify]"))
    let text = String(decoding: try tool("cat", [world.directory.path / "c.toml"]), as: UTF8.self)
    try Tree(world.directory.path).write("c.toml", text.replacing("keep_last = 5\nhourly = 0", with: "yearly = 1"))
    try run(world)
    #expect(try server.requests().count == 2)
    #expect(try run(world, ["--json"]).decoded(RunAnswer.self).result == "not_due")
    let lock = world.repository.root / ".treering/lock"
    let holder = try RunningCommand("flock", [lock, "sleep", "30"])
    let deadline = Date().addingTimeInterval(20)
    while try runCommand("flock", ["-n", lock, "true"]).status == 0, Date() < deadline { usleep(5000) }
    try run(world, ["--now"], status: 5)
    holder.signal(SIGKILL)
    #expect(try server.requests().count == 2)
  }

  @Test("the body has the end of what was said, in whole characters, within what the server takes")
  func bodyLimit() throws {
    let world = try world("")
    let server = try WebServer(world.directory.path)
    // The answer to the start says how much; the hook's words are longer.
    let words = String(repeating: "ä", count: 200)
    try configure(
      world, healthchecks(server, "limit-101", "[hooks]\nbefore = [[\"/bin/sh\", \"-c\", \"echo \(words)X; exit 1\"]]"))
    try run(world, status: 3)
    let end = try #require(try server.requests().last)
    #expect(end.bytes <= 101 && end.bytes >= 99)
    #expect(!end.body.contains("\\x"))
  }

  // MARK: Servers that do not answer well

  @Test(
    "an error of the server is tried again, within the limit of time",
    arguments: ["2-times-500", "1-times-429", "1-times-503"])
  func triedAgain(_ how: String) throws {
    let world = try world("")
    let server = try WebServer(world.directory.path)
    try configure(world, healthchecks(server, how))
    #expect(try run(world).errorText == "")
    let starts = try server.requests().filter { $0.path.contains("/start?") }
    #expect(starts.count == Int(how.prefix(1))! + 1)
    // Each pause is longer than the one before: a quarter and half a second, at the least.
    let pauses = zip(starts, starts.dropFirst()).map { $1.time - $0.time }
    #expect(zip(pauses, [0.25, 0.5]).allSatisfy { $0 >= $1 })
  }

  @Test(
    "a server that cannot be told is a warning, and the snapshot is as good",
    arguments: [
      ("500", "the server answered 500"), ("404", "the server answered 404"), ("moved", "the server answered 301"),
      ("hang", "timed out"), ("flood", "too long"),
    ])
  func cannotBeTold(_ how: String, _ why: String) throws {
    let world = try world("")
    let server = try WebServer(world.directory.path)
    try configure(world, healthchecks(server, how))
    let start = Date()
    let result = try run(world)
    #expect(Date().timeIntervalSince(start) < 60)
    let warnings = result.errorLines.filter {
      $0.contains("warning: Healthchecks could not be told") && $0.contains(why)
    }
    #expect(warnings.count == 2, "\(result.errorText)")
    #expect(try world.snapshotNames().count == 1)
    #expect(try lastRun(world).steps.map(\.outcome) == ["failed", "done", "done", "failed"])
    #expect(try lastRun(world).exitStatus == 0)
    if how == "404" { #expect(try server.requests().count == 2) }
  }

  @Test("a refused connection is a warning")
  func refused() throws {
    let world = try world("")
    // A port that was in use a moment ago, and is no longer.
    let port = try {
      let server = try WebServer(world.directory.path)
      return server.port
    }()
    try configure(world, "[notify]\ntimeout = \"1s\"\n[notify.healthchecks]\nurl = \"http://127.0.0.1:\(port)/x\"")
    let result = try run(world)
    #expect(result.errorText.contains("Failed to connect") || result.errorText.contains("refused"))
  }

  @Test(
    "HTTPS is taken from whom it is vouched for, and from nobody else",
    arguments: [
      ("IP:127.0.0.1", "+0d", true), ("IP:127.0.0.1", "-10d", true), ("DNS:example.org", "+0d", true),
      ("IP:127.0.0.1", "+0d", false),
    ])
  func certificates(_ subject: String, _ made: String, _ isTrusted: Bool) throws {
    let world = try world("")
    let certificate = try Certificate(world.directory.path, for: ByteString(subject), made: ByteString(made))
    let server = try WebServer(world.directory.path, certificate: certificate)
    try configure(world, healthchecks(server, "ok").replacing("http://", with: "https://"))
    let trust = isTrusted ? ["SSL_CERT_FILE": certificate.file.description] : [:]
    let result = try run(world, environment: trust)
    if subject == "IP:127.0.0.1" && made == "+0d" && isTrusted {
      #expect(result.errorText == "")
      #expect(try server.requests().count == 2)
    } else {
      let why = made != "+0d" ? "expired" : isTrusted ? "subject name" : "certificate"
      #expect(
        result.errorLines.filter { $0.contains("Healthchecks") && $0.contains(why) }.count == 2, "\(result.errorText)")
      #expect(try server.requests().isEmpty)
    }
  }

  @Test("SIGTERM ends a run within a second though the server does not answer, and its status is told if it does")
  func terminated() throws {
    for how in ["hang", "ok"] {
      let world = try world("")
      let server = try WebServer(world.directory.path)
      try configure(
        world,
        healthchecks(server, how, "[hooks]\nbefore = [[\"/bin/sh\", \"-c\", \"touch began; exec sleep 50\"]]")
          .replacing("\"3s\"", with: "\"1s\""))
      let running = try RunningCommand(
        try treeringBinary(), ["run", "-c", world.directory.path / "c.toml"], in: world.directory.path)
      let deadline = Date().addingTimeInterval(20)
      while !Tree(world.directory.path).exists("began"), Date() < deadline { usleep(5000) }
      let start = Date()
      running.signal(SIGTERM)
      #expect(try running.wait().status == 143)
      // Within a second, where the machine has nothing else to do.
      #expect(Date().timeIntervalSince(start) < 20)
      #expect(try server.requests().last?.path.contains("/143?") == true)
    }
  }

  // MARK: Webhook and program

  @Test("a webhook gets the document of the run; with on = failure only where it is not good")
  func webhook() throws {
    let world = try world("")
    let server = try WebServer(world.directory.path)
    let table =
      "[notify.webhook]\nurl = \"http://127.0.0.1:\(server.port)/ok\"\nheaders = [\"Authorization: Bearer s3cret\"]\n"
    try configure(world, table)
    try run(world)
    let request = try #require(try server.requests().first)
    let answer = try snakeCaseDecoder().decode(RunAnswer.self, from: Data(request.body.utf8))
    #expect(answer.result == "made" && answer.repository == world.repository.root.description && answer.host != "")
    #expect(request.headers["authorization"] == "Bearer s3cret")
    #expect(request.headers["content-type"] == "application/json")
    try configure(world, table + "on = \"failure\"")
    try run(world)
    #expect(try server.requests().count == 1)
    try configure(world, table + "on = \"failure\"\n[hooks]\nbefore = [\"/bin/false\"]")
    try run(world, status: 3)
    let failed = try snakeCaseDecoder().decode(
      RunAnswer.self, from: Data(try #require(try server.requests().last).body.utf8))
    #expect(failed.result == "failed" && failed.error?.contains("/bin/false") == true)
  }

  @Test("a program finds the document in its environment; its failure is a warning")
  func program() throws {
    let world = try world("")
    let table =
      "[notify.command]\ncommand = [\"/bin/sh\", \"-c\", \"echo $TREERING_RUN_JSON > log; echo $TREERING_EXIT_STATUS >> log\"]\n"
    try configure(world, table)
    #expect(try run(world).errorText == "")
    let lines = String(decoding: try tool("cat", [world.directory.path / "log"]), as: UTF8.self).split(separator: "\n")
    #expect(lines.count == 2 && lines[1] == "0" && lines[0].contains("\"result\":\"made\""))
    try tool("rm", [world.directory.path / "log"])
    try configure(world, table + "on = \"failure\"")
    try run(world)
    #expect(!Tree(world.directory.path).exists("log"))
    try configure(world, "[notify.command]\ncommand = \"/bin/false\"")
    let result = try run(world)
    #expect(result.errorText.contains("warning: the program /bin/false could not be told: ended with status 1"))
    #expect(try lastRun(world).steps.last?.outcome == "failed")
  }
}
