import Foundation
import TestSupport
import Testing

/// treering-backup-host(7): one host for several servers, with real sshds.
@Suite("a backup host", .waits)
struct BackupHostTests {
  private let directory: TemporaryDirectory
  private let place: Tree

  init() throws {
    directory = try TemporaryDirectory("nas")
    place = Tree(directory.path)
    // Ordinary users have repositories in it.
    try tool("chmod", ["755", place.root])
  }

  @discardableResult
  private func treering(
    _ words: [ByteString], config: ByteString = "nas.toml", status: Int32 = 0,
    at location: SourceLocation = #_sourceLocation
  ) throws -> CommandResult {
    let result = try runCommand(try treeringBinary(), words + ["-c", place.root / config], in: place.root)
    #expect(result.status == status, "\(words): \(result.errorText)\(result.outputText)", sourceLocation: location)
    return result
  }

  private func snapshots(of name: String) throws -> [ByteString] {
    try Tree(place.root / ByteString(name)).names().filter { $0.hasPrefix("20") }
  }

  /// Makes the files of a server.
  private func makeServer(_ name: String) throws -> Tree {
    try place.makeDirectory(ByteString("of-\(name)"))
    let tree = try Tree(making: place.root / ByteString("of-\(name)/etc"))
    try tree.write("hostname", name, mode: 0o640)
    try tree.makeDirectory("ssh")
    try tree.write("ssh/key", "key of \(name)", mode: 0o600)
    try tool("ln", ["-s", "hostname", tree.root / "link"])
    try tool("ln", [tree.root / "hostname", tree.root / "second"])
    return tree
  }

  /// Writes a tree of a repository onto an empty disk, as the page does.
  private func writeTree(_ path: ByteString, of name: ByteString, to disk: ByteString) throws {
    try place.makeDirectory(disk)
    let script =
      "\"$0\" export latest \"$1\" -r \"$2\" -c \"$3\" | tar -C \"$4\" -xp --xattrs --xattrs-include='*' "
      + "--acls --numeric-owner"
    let written = try runCommand(
      "sh",
      [
        "-c", ByteString(script), try treeringBinary(), path, name, place.root / "nas.toml", place.root / disk,
      ])
    #expect(written.status == 0 && written.errorText == "", "\(written.errorText)")
  }

  @Test("servers push with keys that only add; a run of root rotates, and a server comes back onto an empty disk")
  func pushed() throws {
    let nas = try SSHServer(in: Namespaces())
    let users = try SSHServer.ordinaryUsers()
    try #require(users.count == 2)
    var tables = ""
    for (number, user) in users.enumerated() {
      let name = "db0\(number + 1)"
      let repository = place.root / ByteString(name)
      let tree = try makeServer(name)
      try tool("install", ["-d", "-m", "700", "-o", ByteString(user), repository])
      #expect(try nas.run("treering init \(repository)" as ByteString, as: user).status == 0)
      let key = try nas.makeKey(ByteString(name))
      let options = "restrict,command=\"treering serve -r \(repository) --append-only --minimum-free 1%\""
      try nas.authorize(key, for: user, options: options)
      tables += "[[repository]]\nname = \"\(name)\"\npath = \"\(repository)\"\nreceives = true\n"
      try place.write(
        ByteString("\(name).toml"),
        """
        repository = "\(place.root)/at-\(name)"
        [[source]]
        path = "\(tree.root)"
        [retention]
        keep_last = 5
        [remote.nas]
        url = "ssh://\(user)@\(nas.address):\(nas.port)\(repository)"
        ssh = "\(nas.sshCommand(key, hasPort: false))"
        """)
      try treering(["init"], config: ByteString("\(name).toml"))
      for text in ["one", "two", "three"] {
        try tree.write("changing", text)
        try treering(["run", "--now"], config: ByteString("\(name).toml"))
      }
    }
    try place.write("nas.toml", "[retention]\ndaily = 7\n[objectives]\nrpo = \"26h\"\n" + tables)
    #expect(try snapshots(of: "db01").count == 3 && snapshots(of: "db02").count == 3)
    try treering(["config", "check"])
    let run = try treering(["run"])
    #expect(run.errorText == "" && run.outputText == "")
    // The first of the day and the newest stay; what is written by root belongs to the user.
    #expect(try snapshots(of: "db01").count == 2 && snapshots(of: "db02").count == 2)
    for (user, name) in zip(users, ["db01", "db02"]) {
      let foreign = try tool(
        "find", [place.root / ByteString(name) / ".treering", "-maxdepth", "1", "!", "-user", ByteString(user)])
      #expect(foreign == [], "\(String(decoding: foreign, as: UTF8.self))")
    }
    #expect(try treering(["status"]).outputText.hasPrefix("REPOSITORY "))
    // db01 is lost.
    let tree = place.root / "of-db01/etc"
    try writeTree(tree, of: "db01", to: "disk")
    #expect(try differences(tree, place.root / "disk" / tree) == [])
    // Its disk at nas is lost, too: the other one's run is as before.
    try tool("mv", [place.root / "db01", place.root / "away"])
    try treering(["run"], status: 2)
    #expect(try treering(["status"], status: 2).outputText.contains("db02        well"))
  }

  @Test("five servers are pulled with keys that only read; one that is down costs the others nothing")
  func pulled() throws {
    let names = ["web01", "web02", "web03", "db01", "db02"]
    var servers: [SSHServer] = []
    var tables = "[hosts]\nat_once = 2\n[retention]\nkeep_last = 5\n[objectives]\nrpo = \"26h\"\n"
    for name in names {
      // Each server has a network namespace of its own.
      let (server, tree) = (try SSHServer(in: Namespaces()), try makeServer(name))
      let key = try server.makeKey(ByteString(name))
      try server.authorize(key, for: "root", options: "restrict,command=\"rrsync -ro /\"")
      #expect(try server.run("id", as: "root", key: key).status != 0)
      tables += """
        [[repository]]
        name = "\(name)"
        path = "\(place.root)/\(name)"
        [[repository.source]]
        host = "root@\(server.address)"
        label = "\(name)"
        path = "\(tree.root)"
        ssh = "\(server.sshCommand(key))"

        """
      try place.write("nas.toml", tables)
      try treering(["init", "-r", ByteString(name)])
      servers.append(server)
    }
    try treering(["config", "check"])
    try treering(["run"])
    for name in names {
      let tree = place.root / ByteString("of-\(name)/etc")
      #expect(try differences(tree, place.root / ByteString(name) / "latest" / ByteString(name) / tree) == [])
    }
    try place.write("of-web03/etc/new", "new")
    // A key that sends with treering can read one directory, and nothing else.
    let key = try servers[3].makeKey("treering")
    let command = "XDG_CACHE_HOME=\(place.root)/cache-db01 treering serve --source '\(place.root)/of-db01/etc'"
    try servers[3].authorize(key, for: "root", options: "restrict,command=\"\(command)\"")
    try place.write("nas.toml", tables.replacing("key-db01", with: "key-treering"))
    servers[1].stop()
    let run = try treering(["run", "--now"], status: 3)
    #expect(run.errorText.contains("web02: ") && !run.errorText.contains("web01: "), "\(run.errorText)")
    for name in names { #expect(try snapshots(of: name).count == (name == "web02" ? 1 : 2), "\(name)") }
    #expect(place.exists(ByteString("web03/latest/web03\(place.root)/of-web03/etc/new")))
    let status = try treering(["status"], status: 1).outputText.split(separator: "\n")
    #expect(status[1].hasPrefix("web02       1 PROBLEM "), "\(status)")
    // web02 comes back onto an empty disk, from the snapshot that it has.
    let tree = place.root / "of-web02/etc"
    try writeTree("web02" + tree, of: "web02", to: "disk")
    #expect(try differences(tree, place.root / "disk/web02" / tree) == [])
    let list = try treering(["list", "-r", "web02"]).outputText
    #expect(list.contains("web02:\(tree)"), "\(list)")
  }
}
