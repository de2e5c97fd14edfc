import Settings
import Testing

@Suite("the table [[database]]") struct DatabaseConfigurationTests {
  private func read(_ table: String) throws -> DatabaseConfiguration {
    try Configuration(text: "[[database]]\nname = \"x\"\n" + table).databases[0]
  }

  @Test(
    "a URL",
    arguments: [
      ("postgresql://h", "h", nil, nil, nil),
      ("postgres://me@db.example.org:6543/shop", "db.example.org", 6543, "me", "shop"),
      ("postgresql://a%40b@[::1]:5/x%2Fy", "::1", 5, "a@b", "x/y"), ("postgresql://h/", "h", nil, nil, nil),
      ("mysql://me@h/shop", "h", nil, "me", "shop"),
    ] as [(String, String, Int?, String?, String?)])
  func url(_ url: String, _ host: String, _ port: Int?, _ role: String?, _ database: String?) throws {
    let kind = url.hasPrefix("mysql") ? "mysql" : "postgresql"
    let read = try read("kind = \"\(kind)\"\nurl = \"\(url)\"")
    #expect(read.host == host && read.port == port && read.role == role)
    #expect(read.databases == database.map { [$0] } && read.initialDatabase == database)
    let named = try self.read("kind = \"\(kind)\"\nurl = \"\(url)\"\ndatabases = [\"other\"]")
    #expect(named.databases == ["other"] && named.initialDatabase == database)
  }

  @Test(
    "errors",
    arguments: [
      ("", "line 1, column 1: \"kind\" is missing in [database]"),
      (
        "kind = 'oracle'",
        "line 3, column 8: \"kind\" should be \"postgresql\", \"mysql\", \"sqlite\", \"command\" or \"pgbackrest\", not \"oracle\""
      ),
      ("kind = 'pgbackrest'", "line 1, column 1: \"stanza\" is missing in [database]"),
      (
        "kind = 'pgbackrest'\nstanza = 'x'\npath = '/x'\nelsewhere = true",
        "line 5, column 8: \"path\" and \"elsewhere\" exclude each other; name one"
      ),
      ("kind = 'sqlite'", "line 1, column 1: \"path\" is missing in [database]"),
      ("kind = 'sqlite'\npath = '/x'\njobs = 2", "line 5, column 8: \"jobs\" has no meaning for the kind \"sqlite\""),
      ("kind = 'mysql'\nschemas = ['a']", "line 4, column 11: \"schemas\" has no meaning for the kind \"mysql\""),
      (
        "kind = 'mysql'\nshcemas = ['a']",
        "line 4, column 1: unknown key \"shcemas\" in [database]; did you mean \"schemas\"?"
      ),
      (
        "kind = 'command'\ncommand = 'slapcat'\nfile = 'x'",
        "line 4, column 11: \"command\" should be the absolute path of a program, an array of program and arguments, or a table with \"command\", not \"slapcat\""
      ),
      (
        "kind = 'command'\ncommand = '/bin/x'\nfile = 'a/b'",
        "line 5, column 8: \"file\" should be the name of a file, without a slash, not \"a/b\""
      ),
      (
        "kind = 'command'\ncommand = '/bin/x'\nfile = '..'",
        "line 5, column 8: \"file\" should be the name of a file, without a slash, not \"..\""
      ),
      (
        "kind = 'postgresql'\nurl = 'postgresql://me:secret@h/x'",
        "line 4, column 7: \"url\" is wrong: a password does not belong there; put it into a file with mode 0600, and name the file as \"password_file\""
      ),
      (
        "kind = 'postgresql'\nurl = 'mysql://h'",
        "line 4, column 7: \"url\" is wrong: it should begin with postgresql://"
      ),
      (
        "kind = 'postgresql'\nurl = 'postgresql://h/x?sslmode=off'",
        "line 4, column 7: \"url\" is wrong: options do not belong there; use \"tls\" and \"ca_file\", and leave the part after \"?\" out"
      ),
      (
        "kind = 'postgresql'\nurl = 'postgresql://a,b/x'",
        "line 4, column 7: \"url\" is wrong: it should have one host; for a socket, leave \"url\" out and use \"socket\""
      ),
      (
        "kind = 'postgresql'\nurl = 'postgresql:///x'",
        "line 4, column 7: \"url\" is wrong: it should have one host; for a socket, leave \"url\" out and use \"socket\""
      ),
      (
        "kind = 'postgresql'\nurl = 'postgresql://h:0/x'",
        "line 4, column 7: \"url\" is wrong: the port should be a number from 1 to 65535"
      ),
      (
        "kind = 'postgresql'\nurl = 'postgresql://h/%0x'",
        "line 4, column 7: \"url\" is wrong: a %XX is no byte of a name in UTF-8"
      ),
      (
        "kind = 'postgresql'\nurl = 'postgresql://h'\nhost = 'x'",
        "line 5, column 8: \"host\" and \"url\" exclude each other; name one"
      ),
      (
        "kind = 'postgresql'\nsocket = '/x'\nhost = 'x'",
        "line 4, column 10: \"socket\" and a host exclude each other; name one"
      ),
      (
        "kind = 'postgresql'\nschemas = ['x']",
        "line 4, column 11: \"schemas\" needs \"databases\", because not every database has them"
      ),
      (
        "kind = 'postgresql'\ndatabases = []",
        "line 4, column 13: \"databases\" should be an array of names, at least one, not an array"
      ),
      (
        "kind = 'postgresql'\ntls = 'prefer'",
        "line 4, column 7: \"tls\" should be \"verify-full\", \"verify-ca\", \"require\" or \"off\", not \"prefer\""
      ),
      (
        "kind = 'mysql'\nexclude_tables = ['x']",
        "line 4, column 18: \"exclude_tables\" should be tables such as \"shop.sessions\""
      ),
      (
        "kind = 'postgresql'\npassword_file = 'x'",
        "line 4, column 17: \"password_file\" should be an absolute path without \"..\", not \"x\""
      ),
    ])
  func errors(_ table: String, _ expected: String) {
    do {
      let read = try read(table)
      Issue.record("no error: \(read)")
    } catch {
      #expect("\(error)" == expected)
      #expect(!"\(error)".contains("secret"))
    }
  }

  @Test("names are unique, and are names of directories")
  func names() {
    func error(_ text: String) -> String {
      do {
        return "no error: \(try Configuration(text: text).databases)"
      } catch { return "\(error)" }
    }
    let table = "[[database]]\nname = 'a'\nkind = 'sqlite'\npath = '/x'\n"
    #expect(error(table + table) == "line 5, column 1: the database \"a\" is named twice")
    #expect(
      error("[[database]]\nname = 'a/b'\nkind = 'mysql'")
        == "line 2, column 8: \"name\" should be letters, digits, \"-\" and \"_\", not \"a/b\"")
  }
}
