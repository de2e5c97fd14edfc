import Foundation
import Model
import Settings
import TestSupport
import Testing

@testable import Databases

@Suite("WordPress sites") struct WordPressSiteTests {
  private let directory: TemporaryDirectory
  private var tree: Tree { Tree(directory.path) }
  private var path: String { "\(directory.path)/site" }

  init() throws {
    directory = try TemporaryDirectory("site")
    try tree.makeDirectory("site")
    try tree.makeDirectory("site/wp-content")
    try write()
  }

  private func write(_ text: String = "", host: String = "localhost", at path: ByteString = "site/wp-config.php") throws
  {
    try tree.write(
      path,
      """
      <?php
      define('DB_NAME', 'wp'); define('DB_USER', 'web'); define('DB_PASSWORD', 'se"cret');
      define('DB_HOST', '\(host)');
      $table_prefix = 'wp_';
      \(text)
      require_once ABSPATH . 'wp-settings.php';
      """)
  }

  private func site(_ more: String = "") throws -> WordPressSite {
    let settings = try Configuration(text: "[[wordpress]]\npath = \"\(path)\"\n" + more).sites[0]
    return try WordPressSite(reading: settings)
  }

  private func failure(_ more: String = "") -> String {
    do {
      _ = try site(more)
      return ""
    } catch { return "\(error)" }
  }

  @Test("the database of the site's file, and the keys that replace parts of it")
  func database() throws {
    let database = try site().database
    #expect(database.name == "site" && database.kind == .mysql && database.databases == ["wp"])
    #expect(database.role == "web" && database.password == Array("se\"cret".utf8) && database.tablePrefix == nil)
    #expect(database.host == nil && database.socket == nil && database.user == nil)
    let other = try site(
      """
      name = "shop"
      database = "other"
      role = "reader"
      password_file = "/etc/secret"
      host = "db.example.org"
      port = 3307
      tls = "require"
      prefix_only = true
      exclude_tables = ["wp_log"]
      timeout = "1m"
      """
    ).database
    #expect(other.name == "shop" && other.databases == ["other"] && other.role == "reader" && other.password == nil)
    #expect(other.host == "db.example.org" && other.port == 3307 && other.tls == .require)
    #expect(other.tablePrefix == "wp_" && other.excludeTables == ["other.wp_log"] && other.timeoutSeconds == 60)
  }

  @Test(
    "DB_HOST as WordPress reads it",
    arguments: [
      ("db.example.org", "db.example.org", nil, nil), ("10.0.0.1:3307", "10.0.0.1", 3307, nil),
      ("localhost", nil, nil, nil), ("", nil, nil, nil), ("localhost:3307", nil, nil, nil),
      ("localhost:/run/my.sock", nil, nil, "/run/my.sock"), (":/run/my.sock", nil, nil, "/run/my.sock"),
      ("[::1]:3307", "::1", 3307, nil), ("fe80::1", "fe80::1", nil, nil),
    ] as [(String, String?, Int?, String?)])
  func host(_ text: String, host: String?, port: Int?, socket: String?) throws {
    try write(host: text)
    let database = try site().database
    #expect(database.host == host && database.port == port && database.socket == socket)
  }

  @Test("refusals say what to configure instead")
  func refusals() throws {
    try write(host: "a b")
    #expect(failure().contains("DB_HOST in \(path)/wp-config.php is no host; give \"host\""))
    try tree.write("site/wp-config.php", "<?php\ndefine('DB_NAME', getenv('DB'));")
    #expect(
      failure()
        == "the database site: \(path)/wp-config.php:2: only PHP could tell the value of DB_NAME, and treering runs no "
        + "PHP; give \"database\" in [[wordpress]]")
    #expect(failure("database = \"x\"").contains("does not set DB_USER; name the file that does as \"config\""))
    try tree.write("site/wp-config.php", "<?php\nrequire 'real.php';")
    #expect(failure().contains("does not set DB_NAME; line 2 includes another file"))
    try tree.write("site/wp-config.php", "<?php define('DB_NAME', \"a\\nb\");")
    #expect(failure().contains("has control characters"))
    try tree.remove("site/wp-config.php")
    #expect(failure().contains("there is no wp-config.php in \(path), nor one directory higher"))
    let all = "database = \"a\"\nrole = \"b\"\npassword_file = \"/c\"\nsocket = \"/d\"\n"
    #expect(try site(all).database.databases == ["a"])
  }

  @Test("the file of a hostile owner: a link, a FIFO, a large file, and directories elsewhere")
  func hostile() throws {
    try tree.remove("site/wp-config.php")
    try tree.makeSymbolicLink("site/wp-config.php", to: "/etc/shadow")
    #expect(failure().contains("it is a symbolic link; name the file that it leads to as \"config\""))
    try tree.remove("site/wp-config.php")
    try tree.makeFIFO("site/wp-config.php")
    #expect(failure().contains("is no file of at most 1 MiB"))
    try tree.remove("site/wp-config.php")
    try tree.write("site/wp-config.php", "<?php //" + String(repeating: "x", count: 1 << 20))
    #expect(failure().contains("is no file of at most 1 MiB"))
    try write("define('WP_CONTENT_DIR', '/root');")
    #expect(try site().directories == [Array("/root".utf8)])
    try tool("chown", ["www-data", ByteString("\(path)/wp-config.php")])
    #expect(failure().contains("names /root as WP_CONTENT_DIR, and others than root can change this file"))
    #expect(try site("content = \"/srv/content\"").directories == [Array("/srv/content".utf8)])
    try write()
    #expect(try site().database.user == "www-data" && site("user = \"mysql\"").database.user == "mysql")
    try tool("chown", ["root", ByteString("\(path)/wp-config.php")])
    try tool("chmod", ["666", ByteString("\(path)/wp-config.php")])
    #expect(failure().contains("can be changed by others than root; chmod go-w it"))
  }

  @Test("the file one directory higher, another file, and the directories of the content")
  func places() throws {
    try write("define('WP_CONTENT_DIR', __DIR__ . '/site/content/');", at: "wp-config.php")
    #expect(try site().fileElsewhere == nil && site().directories == [])
    try tree.remove("site/wp-config.php")
    #expect(try site().fileElsewhere == Array("\(directory.path)/wp-config.php".utf8) && site().directories == [])
    try tree.write("wp-settings.php", "")
    #expect(failure().contains("there is no wp-config.php"))
    try write("define('WP_CONTENT_DIR', '\(directory.path)/content');", at: "config-localhost.php")
    let other = try site("config = \"\(directory.path)/config-localhost.php\"")
    #expect(other.directories == [Array("\(directory.path)/content".utf8)] && other.fileElsewhere != nil)
    // What the operator's file leaves out, the site's own file may set, or a condition that only PHP could tell.
    try write("", at: "config-localhost.php")
    try write("define('WP_CONTENT_DIR', '\(directory.path)/content');")
    let rest = try site("config = \"\(directory.path)/config-localhost.php\"")
    #expect(rest.directories == [Array("\(directory.path)/content".utf8)])
    try write("if (!defined('WP_CONTENT_DIR') && !defined('X'))\n  define('WP_CONTENT_DIR', '/srv/content');")
    #expect(
      failure("config = \"\(directory.path)/config-localhost.php\"").contains("give \"content\" in [[wordpress]]"))
    try tree.makeDirectory("elsewhere")
    try tree.makeSymbolicLink("site/wp-content/uploads", to: "../../elsewhere")
    try write()
    #expect(try site().links.map(\.target) == [Array("\(directory.path)/elsewhere".utf8)])
  }

  @Test("the maintenance mode is WordPress's own, and only a file of this repository is removed")
  func maintenance() throws {
    let mode = MaintenanceMode(ofSiteAt: Array(path.utf8), repository: Array("abc".utf8))
    #expect(try mode.enter(at: .init(seconds: 1_800_000_000, nanoseconds: 0)))
    let found = try tool(
      "php", ["-r", ByteString("require '\(path)/.maintenance'; echo $upgrading;")])
    #expect(String(decoding: found, as: UTF8.self) == "1800000000")
    #expect(try tree.names("site").sorted() == [".maintenance", "wp-config.php", "wp-content"])
    // What a killed run left is its own.
    #expect(try mode.enter(at: .init(seconds: 1_800_000_001, nanoseconds: 0)))
    try mode.leave()
    try mode.leave()
    #expect(try tree.names("site").sorted() == ["wp-config.php", "wp-content"])
    let update = "<?php $upgrading = 5; ?>"
    try tree.write("site/.maintenance", update)
    #expect(try !mode.enter(at: .init(seconds: 6, nanoseconds: 0)))
    try mode.leave()
    #expect(try tree.text("site/.maintenance") == update)
    try tree.remove("site/.maintenance")
    let other = MaintenanceMode(ofSiteAt: Array(path.utf8), repository: Array("xyz".utf8))
    #expect(
      try other.enter(at: .init(seconds: 6, nanoseconds: 0)) && !mode.enter(at: .init(seconds: 6, nanoseconds: 0)))
    try mode.leave()
    #expect(tree.exists("site/.maintenance"))
    try tree.remove("site/.maintenance")
    try tree.makeSymbolicLink("site/.maintenance", to: "/etc/passwd")
    #expect(try !mode.enter(at: .init(seconds: 6, nanoseconds: 0)))
  }
}
