import Testing

@testable import Repository

@Suite struct RepositoryFormatTests {
  private static let id = "268f039b48b00356a55dd13dca286d2f"

  private func format(_ text: String) throws -> RepositoryFormat { try RepositoryFormat(text: Array(text.utf8)) }

  @Test("the text that is written can be read")
  func roundTrip() throws {
    let format = RepositoryFormat(id: Self.id, created: "2026-11-29T14:01:46Z")
    #expect(try self.format(format.text) == format)
  }

  @Test(
    "TOML's other forms of the same values",
    arguments: [
      "version = 1\nid = \"\(id)\"\n",
      "\n# a comment\n\n  id='\(id)' # the id\r\nversion=1#one\r\n",
      "\"id\" = \"\(id)\"\n'version' = 1\nnote = \"a = b # c\"\n[table]\nid = 3\n",
      "version = 1\nid = \"\(id)\"\nlater = true\nwhen = 2026-11-29T14:01:46Z\n",
    ])
  func forms(text: String) throws {
    let format = try format(text)
    #expect(format.version == 1)
    #expect(format.id == Self.id)
  }

  @Test("a newer format may have other keys and other syntax")
  func newer() throws {
    #expect(try format("version = 99\n").version == 99)
    #expect(try format("version = 2\nkeys = [\n  1,\n]\n").version == 2)
  }

  @Test(
    "damage",
    arguments: [
      "", "nonsense", "version = = 1\n", "version = 1\n", "version = 0\nid = \"\(id)\"\n",
      "version = x\nid = \"\(id)\"\n",
      "version = 1\nid = \"short\"\n", "version = 1\nversion = 1\nid = \"\(id)\"\n", "version = 1\nid = \"\(id)\n",
      "version = 1\nid = \"\(id)\" 2\n",
    ])
  func damage(text: String) {
    #expect(throws: RepositoryFormat.ParseError.self) { try format(text) }
  }
}
