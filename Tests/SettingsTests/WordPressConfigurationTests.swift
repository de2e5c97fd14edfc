import Testing

@testable import Settings

@Suite("tables [[wordpress]]") struct WordPressConfigurationTests {
  @Test("the least table, and one with every key")
  func keys() throws {
    let least = try Configuration(text: "[[wordpress]]\npath = '/var/www//site/'").sites[0]
    #expect(least.path == "/var/www/site" && least.database.name == "site" && least.database.kind == .mysql)
    #expect(least.config == nil && !least.hasMaintenance && !least.wantsPrefixOnly && least.database.databases == nil)
    let all = try Configuration(
      text: """
        [[wordpress]]
        path = "/var/www/my site"
        name = "blog"
        config = "/etc/wordpress/config-localhost.php"
        content = "/srv/content"
        maintenance = true
        database = "wp"
        host = "db.example.org"
        port = 3307
        role = "web"
        password_file = "/etc/secret"
        prefix_only = true
        table_prefix = "wp_"
        exclude_tables = ["wp_log"]
        exclude = ["wp-content/cache/"]
        required = true
        mixed_moments = "accept"
        tls = "verify-ca"
        """
    ).sites[0]
    #expect(all.database.name == "blog" && all.config == "/etc/wordpress/config-localhost.php")
    #expect(all.content == "/srv/content" && all.hasMaintenance && all.wantsPrefixOnly && all.tablePrefix == "wp_")
    #expect(all.excludeTables == ["wp_log"] && all.exclude == ["wp-content/cache/"] && all.excludeLines == [15])
    #expect(all.database.databases == ["wp"] && all.database.host == "db.example.org" && all.database.port == 3307)
    #expect(all.database.isRequired && all.database.acceptsMixedMoments && all.database.tls == .verifyCA)
  }

  @Test(
    "errors have their place",
    arguments: [
      ("", "line 1, column 1: \"path\" is missing in [wordpress]"),
      (
        "path = '/a b'",
        "line 2, column 8: \"a b\" is no name for a dump; give one of letters, digits, \"-\" and \"_\" as \"name\""
      ),
      ("path = '/a'\nconfg = 'x'", "line 3, column 1: unknown key \"confg\" in [wordpress]; did you mean \"config\"?"),
      (
        "path = '/a'\n[[database]]\nname = 'a'\nkind = 'sqlite'\npath = '/x'",
        "line 1, column 1: the database \"a\" is named twice"
      ),
    ])
  func errors(_ table: String, _ expected: String) throws {
    let (_, errors) = try Configuration.read("[[wordpress]]\n" + table)
    #expect(errors.map(\.description).first == expected)
  }
}
