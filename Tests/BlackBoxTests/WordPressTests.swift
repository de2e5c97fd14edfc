import Foundation
import TestSupport
import Testing

/// WordPress sites, from a post to its restore elsewhere.
@Suite("run, database restore: WordPress", .waits) struct WordPressTests {
  @Test("a post with a picture is saved, lost, and restored elsewhere, files and database of the same moment")
  func disaster() throws {
    let wordpress = try WordPressWorld("wpone")
    let (world, site) = (wordpress.world, wordpress.site)
    try wordpress.configure()
    let picture = try wordpress.publish()
    let bytes = try site.read(ByteString(picture))
    try wordpress.serve(site.root)
    try wordpress.expectPage(picture: picture, bytes: bytes)
    #expect(try wordpress.treering(["config", "check"]).outputText.contains("dump the mysql database site"))
    let run = try wordpress.treering(["run"])
    #expect(run.outputText == "" && run.errorText == "")
    let name = try #require(try world.snapshotNames().first)
    let stored = world.repository.root / name / "localhost" / site.root
    #expect(try differences(site.root, stored) == [])
    #expect(
      try world.repository.names(name / "databases/site").sorted() == [
        "begin.sql", "end.sql", "order", "site.txt", "wpone",
      ])
    // No secret is in a message, in the history, or in the names of the repository.
    let history = try world.repository.text(".treering/history.jsonl")
    #expect(!history.contains("it's"))

    try wordpress.stop()
    try tool("rm", ["-rf", site.root])
    try wordpress.server.query("DROP DATABASE wpone")
    let failed = try wordpress.treering(["run", "--now"], status: 1)
    #expect(failed.errorText.contains("cannot read \(site.root)/wp-config.php"), "\(failed.errorText)")
    #expect(
      try wordpress.treering(["database", "restore", "site", "--into", "configured", "-y"], status: 2).errorText
        .contains("restore its files first, with --files"))

    let elsewhere = wordpress.place.path / "elsewhere"
    let words: [ByteString] = ["database", "restore", "site", "--files", elsewhere, "--into", "configured", "-y"]
    let dry = try wordpress.treering(words + ["-n"])
    #expect(dry.outputText.contains("would restore \(site.root)") && !Tree(wordpress.place.path).exists("elsewhere"))
    let restored = try wordpress.treering(words)
    #expect(restored.outputText.contains("loaded wpone of \(name)"), "\(restored.outputText)")
    #expect(try differences(elsewhere / site.root, stored) == [])
    try tool("chmod", ["-R", "go+X", elsewhere])
    try wordpress.serve(elsewhere / site.root)
    try wordpress.expectPage(picture: picture, bytes: bytes)
    try wordpress.stop()
    // Nothing is overwritten.
    try Tree(elsewhere / site.root).write("index.php", "changed")
    #expect(try wordpress.treering(words, status: 4).errorText.contains("1 file of the site was there already"))
    #expect(try Tree(elsewhere / site.root).text("index.php") == "changed")
  }

  @Test("Debian's layout: a file of its own, the content elsewhere, the tables of one prefix")
  func debian() throws {
    let wordpress = try WordPressWorld("wptwo")
    let (world, place) = (wordpress.world, wordpress.place.path)
    _ = try wordpress.publish()
    try wordpress.server.query("CREATE TABLE other (i INT); INSERT INTO other VALUES (1)", in: "wptwo")
    try tool("mkdir", [place / "etc", place / "var"])
    try tool("mv", [wordpress.site.root / "wp-content", place / "var/wp-content"])
    try Tree(place).write(
      "etc/config-localhost.php",
      wordpress.constants("wptwo") + "define('WP_CONTENT_DIR', '\(place)/var/wp-content');\n", mode: 0o640)
    try Tree(place).write("etc/secret", "no part of the site")
    try wordpress.configure("name = \"blog\"\nconfig = \"\(place)/etc/config-localhost.php\"\nprefix_only = true")
    let run = try wordpress.treering(["run"])
    #expect(run.errorText == "")
    let name = try #require(try world.snapshotNames().first)
    let stored = Tree(world.repository.root / name / "localhost")
    #expect(try stored.names(place / "etc") == ["config-localhost.php"])
    #expect(try differences(place / "var/wp-content", stored.root / place / "var/wp-content") == [])
    let tables = try world.repository.names(name / "databases/blog/wptwo")
    #expect(tables.contains("table-wp_posts.sql") && !tables.contains("table-other.sql"))
    let status = try wordpress.treering(["status"])
    #expect(status.outputText.contains("\(place)/var/wp-content"))
    #expect(try wordpress.treering(["run", "--json"]).decoded(RunAnswer.self).result == "not_due")
    try wordpress.server.query("DROP DATABASE wptwo")
    _ = try wordpress.treering(
      ["database", "restore", "blog", "--files", place / "back", "--into", "configured", "-y"])
    #expect(try differences(place / "back" / place / "var/wp-content", place / "var/wp-content") == [])
    #expect(try wordpress.server.query("SELECT post_title FROM wp_posts WHERE ID = 77", in: "wptwo") == "A post")
  }

  @Test("the maintenance mode lasts until content elsewhere was read, and no longer because of a wider source")
  func maintenanceOfContentElsewhere() throws {
    let wordpress = try WordPressWorld("wpfour")
    let (world, place, site) = (wordpress.world, wordpress.place.path, wordpress.site)
    _ = try wordpress.publish()
    try tool("mkdir", [place / "var", place / "www/zzz"])
    try tool("mv", [site.root / "wp-content", place / "var/wp-content"])
    try Tree(place).write("www/zzz/late", "no part of the site")
    try site.write(
      "wp-config.php",
      wordpress.constants("wpfour") + "define('WP_CONTENT_DIR', '\(place)/var/wp-content');\n"
        + "require_once ABSPATH . 'wp-settings.php';\n")
    for wider in ["", "[[source]]\npath = \"\(place)/www\"\n"] {
      try wordpress.configure("maintenance = true\ncontent = \"\(place)/var/wp-content\"\n" + wider)
      // With one thread, the order is certain.
      try tool("sed", ["-i", "1i threads = 1", wordpress.configuration])
      let trace = world.directory.path / "trace"
      let result = try runCommand(
        "strace",
        [
          "-f", "-qq", "-y", "-o", trace, "-e", "trace=openat,unlinkat,renameat,renameat2", try treeringBinary(), "run",
          "--now", "-c", wordpress.configuration,
        ])
      #expect(result.status == 0 && result.errorText == "", "\(result.errorText)")
      let lines = try Tree(world.directory.path).text("trace").split(separator: "\n").map(String.init)
      func last(_ words: String...) throws -> Int {
        try #require(lines.lastIndex { line in words.allSatisfy(line.contains) }, "\(words)")
      }
      let begun = try last("rename", "\".maintenance\"")
      let ended = try last("unlinkat", "\".maintenance\"")
      #expect(try begun < last("themes>", "\"plain\"") && last("/var/wp-content", "\"uploads\"") < ended)
      #expect(try last("\(site.root)>", "\"wp-includes\"") < ended)
      if !wider.isEmpty { #expect(try ended < last("\"zzz\"")) }
    }
  }

  @Test("the maintenance mode lasts as long as the reading of the site, and a killed run leaves it to the next")
  func maintenance() throws {
    let wordpress = try WordPressWorld("wpthree")
    let (world, site) = (wordpress.world, wordpress.site)
    _ = try wordpress.publish()
    try wordpress.configure("maintenance = true")
    try wordpress.serve(site.root)
    // A dump program that looks at the site, and can wait.
    let seen = world.directory.path / "seen"
    let programs = wordpress.place.path / "programs"
    try tool("mkdir", [programs])
    try Tree(programs).write(
      "mariadb-dump",
      """
      #!/bin/sh
      case "$*" in *--no-data*|*--help*) ;; *)
        php '\(programs)/fetch.php' >> '\(seen)'
        if [ -e '\(seen).wait' ]; then touch '\(seen).waits'; sleep 60; fi ;;
      esac
      exec /usr/bin/mariadb-dump "$@"
      """, mode: 0o755)
    try Tree(programs).write("fetch.php", "<?php " + wordpress.fetchScript("?p=77"), mode: 0o644)
    try Tree(world.directory.path).write("seen", "", mode: 0o666)
    try tool("chmod", ["777", world.directory.path])
    let environment = ["PATH": "\(programs):" + pinnedEnvironment["PATH"]!]
    let run = try wordpress.treering(["run"], environment: environment)
    #expect(run.errorText == "")
    #expect(try Tree(world.directory.path).text("seen") == "503")
    #expect(try wordpress.fetch("?p=77").status == "200" && !site.exists(".maintenance"))
    let name = try #require(try world.snapshotNames().first)
    #expect(!Tree(world.repository.root / name / "localhost" / site.root).exists(".maintenance"))

    try Tree(world.directory.path).write("seen.wait", "")
    let killed = try RunningCommand(
      try treeringBinary(), ["run", "--now", "-c", wordpress.configuration], environment: environment)
    try MariaDBServer.wait(for: "the reader") { Tree(world.directory.path).exists("seen.waits") }
    #expect(try wordpress.fetch("?p=77").status == "503")
    killed.signal(SIGKILL)
    _ = try killed.wait()
    #expect(site.exists(".maintenance"))
    try Tree(world.directory.path).remove("seen.wait")
    _ = try wordpress.treering(["run"], environment: environment)
    #expect(try wordpress.fetch("?p=77").status == "200" && !site.exists(".maintenance"))

    // A run that ends early leaves the mode, too, and one of WordPress itself stays.
    try Tree(world.directory.path).write("seen.wait", "")
    try Tree(world.directory.path).remove("seen.waits")
    let stopped = try RunningCommand(
      try treeringBinary(), ["run", "--now", "-c", wordpress.configuration], environment: environment)
    try MariaDBServer.wait(for: "the reader") { Tree(world.directory.path).exists("seen.waits") }
    stopped.signal(SIGTERM)
    #expect(try stopped.wait().status == 143 && !site.exists(".maintenance"))
    try Tree(world.directory.path).remove("seen.wait")
    try site.write(".maintenance", "<?php $upgrading = 1; ?>")
    let warned = try wordpress.treering(["run", "--now"], status: 1, environment: environment)
    #expect(warned.errorText.contains("WordPress is in its maintenance mode already"))
    #expect(try site.text(".maintenance") == "<?php $upgrading = 1; ?>")
  }
}
