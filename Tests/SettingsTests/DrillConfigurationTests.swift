import Settings
import Testing

/// The tables `[[drill]]`.
@Suite struct DrillConfigurationTests {
  private static let shop = "[[drill]]\nname = 'shop'\nrestore = ['/var/www']\n"

  private func drill(_ more: String, before: String = "") throws -> DrillConfiguration {
    try #require(try Configuration(text: before + Self.shop + more).drills.first)
  }

  private func error(_ text: String) -> String {
    do {
      _ = try Configuration(text: text)
      return ""
    } catch { return "\(error)" }
  }

  @Test("the least table has defaults")
  func least() throws {
    let drill = try drill("")
    #expect(drill.name == "shop" && drill.paths == ["/var/www"] && drill.databases == [] && drill.remote == nil)
    #expect(drill.everySeconds == nil && drill.quietHour == nil && drill.base == nil && drill.healthchecks == nil)
    #expect(drill.limits.memory == 4 << 30 && drill.limits.processes == 1024 && drill.limits.seconds == 600)
  }

  @Test("a table with every key")
  func all() throws {
    let database = "[[database]]\nname = 'shop'\nkind = 'sqlite'\npath = '/s'\n[remote.nas]\nurl = '/nas'\n"
    let text = """
      [[drill]]
      name = "shop"
      restore = ["/var/www/", "database:shop", "/etc/php"]
      from = "nas"
      every = "30d"
      at = "Sun 04:30"
      start = ["/usr/bin/php", "-S", "127.0.0.1:8080"]
      check = [["/bin/true"], ["/bin/test", "-e", "/x"]]
      http = "http://127.0.0.1:8080/"
      contains = "Welcome"
      fresh = "SELECT 1"
      fresh_within = "26h"
      rto = "2h"
      base = "/srv/drill"
      limits = { memory = "1G", processes = 100, time = "5m" }
      healthchecks = "https://hc-ping.com/x"
      """
    let drill = try #require(try Configuration(text: database + text).drills.first)
    #expect(drill.paths == ["/var/www", "/etc/php"] && drill.databases == ["shop"] && drill.remote == "nas")
    #expect(drill.everySeconds == 2_592_000)
    #expect(drill.quietHour == DrillConfiguration.QuietHour(weekday: 0, minutes: 270))
    #expect(drill.start.count == 3 && drill.checks == [["/bin/true"], ["/bin/test", "-e", "/x"]])
    #expect(drill.http == "http://127.0.0.1:8080/" && drill.contains == "Welcome" && drill.fresh == "SELECT 1")
    #expect(drill.freshWithinSeconds == 26 * 3600 && drill.rtoSeconds == 7200 && drill.base == "/srv/drill")
    #expect(drill.limits.memory == 1 << 30 && drill.limits.processes == 100 && drill.limits.seconds == 300)
    #expect(drill.healthchecks == "https://hc-ping.com/x")
    #expect(try self.drill("from = 'local'").remote == nil)
    let fresh = try self.drill("base = ['/usr/sbin/debootstrap', 'bookworm', '{}']")
    #expect(fresh.base == nil && fresh.baseCommand == ["/usr/sbin/debootstrap", "bookworm", "{}"])
    #expect(try self.drill("every = '1d'\nat = '23:59'").quietHour?.minutes == 23 * 60 + 59)
  }

  @Test(
    "a mistake is named with its place",
    arguments: [
      ("[[drill]]\nrestore = ['/a']", "line 1, column 1: \"name\" is missing in [drill]"),
      ("[[drill]]\nname = 'a'", "line 1, column 1: \"restore\" is missing in [drill]"),
      ("[[drill]]\nname = 'list'\nrestore = ['/a']", "line 2, column 8: \"name\" should be"),
      ("[[drill]]\nname = 'a'\nrestore = ['a']", "line 3, column 11: \"restore\" should be an array"),
      ("[[drill]]\nname = 'a'\nrestore = ['database:']", "line 3, column 11: \"restore\" should be an array"),
      ("[[drill]]\nname = 'a'\nrestore = []", "line 3, column 11: \"restore\" should be an array"),
      (shop + "evry = '1d'", "line 4, column 1: unknown key \"evry\" in [drill]; did you mean \"every\"?"),
      (shop + "every = '1d'\nat = 'Son 04:00'", "line 5, column 6: \"at\" should be a local time"),
      (shop + "every = '1d'\nat = '4:00'", "line 5, column 6: \"at\" should be a local time"),
      (shop + "every = '1d'\nat = '24:00'", "line 5, column 6: \"at\" should be a local time"),
      (shop + "at = '04:00'", "line 4, column 6: \"at\" needs \"every\""),
      (shop + "start = ['php']", "line 4, column 9: \"start\" should be the absolute path"),
      (shop + "start = ['/php']", "line 4, column 9: \"start\" needs \"check\" or \"http\""),
      (shop + "check = ['/bin/true']", "line 4, column 9: \"check\" should be an array of commands"),
      (shop + "http = 'https://x'", "line 4, column 8: \"http\" should be an address"),
      (shop + "contains = 'x'", "line 4, column 12: \"contains\" needs \"http\""),
      (shop + "fresh = 'SELECT 1'", "line 4, column 9: \"fresh\" needs a database"),
      (shop + "base = ['/usr/sbin/debootstrap', 'bookworm']", "line 4, column 8: \"base\" should be an absolute path"),
      (shop + "limits = { memory = '1M' }", "line 4, column 21: \"memory\" should be a size"),
      (shop + "limits = { procs = 1 }", "line 4, column 12: unknown key \"procs\" in [drill.limits]"),
      (shop + shop, "line 4, column 1: the drill \"shop\" is named twice"),
      (shop + "from = 'nas'", "line 1, column 1: the drill \"shop\" restores from \"nas\", and there is no"),
      (
        "[[drill]]\nname = 'a'\nrestore = ['database:x']",
        "line 1, column 1: the drill \"a\" restores the database \"x\", and no table has this name"
      ),
    ])
  func mistakes(_ text: String, _ message: String) { #expect(error(text).hasPrefix(message), "\(error(text))") }
}
