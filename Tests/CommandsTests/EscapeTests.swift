import Testing

@testable import Commands

/// A combining mark makes one `Character` with the character before it, and a letter of a prefix with the one behind.
@Suite struct EscapeTests {
  @Test("no mark hides a quote from a shell", arguments: ["\u{301}", "\u{20DD}", ""])
  func shell(_ mark: String) {
    #expect(Array(shellQuoted("x'\(mark);y").utf8) == Array("'x'\\''\(mark);y'".utf8))
  }

  @Test("no mark hides a tag from a page", arguments: ["\u{D4E}", ""])
  func page(_ mark: String) {
    #expect(Array(htmlText("\(mark)<img>\u{301}'").utf8) == Array("\(mark)&lt;img&gt;\u{301}&#39;".utf8))
  }
}
