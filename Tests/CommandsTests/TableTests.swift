import Testing

@testable import Commands

@Suite struct TableTests {
  private let rows = [["NAME", "SIZE", "SETS"], ["a", "10 B", "hourly.0 daily.0 weekly.0"], ["bb", "1 B", ""]]

  @Test("without a terminal a line is a row")
  func withoutATerminalALineIsARow() {
    #expect(
      table(rows, rightAligned: [1], width: nil) == [
        "NAME  SIZE  SETS", "a     10 B  hourly.0 daily.0 weekly.0", "bb     1 B",
      ])
    #expect(table(rows, width: 37) == table(rows, width: nil))
  }

  @Test("wide cells take several lines")
  func wideCellsTakeSeveralLines() {
    #expect(
      table(rows, rightAligned: [1], width: 30) == [
        "NAME  SIZE  SETS", "a     10 B  hourly.0 daily.0", "            weekly.0", "bb     1 B",
      ])
  }

  @Test("expendable columns are left out, in their order, only where the rest needs the room")
  func expendableColumns() {
    let whole = table(rows, rightAligned: [1], expendable: [1, 0], width: 30)
    #expect(whole == table(rows, rightAligned: [1], width: 30))
    #expect(
      table(rows, rightAligned: [1], expendable: [1, 0], width: 19) == [
        "NAME  SETS", "a     hourly.0", "      daily.0", "      weekly.0", "bb",
      ])
    #expect(table(rows, rightAligned: [1], expendable: [1, 0], width: 13).first == "SETS")
  }

  @Test("words are divided only where nothing else makes the lines fit, and nothing is cut")
  func longWords() {
    let address = "ssh://backup@nas/srv/web01"
    let rows = [["REMOTE", "AGE"], [address, "2026-11-30 10:00"]]
    #expect(table(rows, width: 44) == table(rows, width: nil))
    let lines = table(rows, width: 40)
    #expect(lines.allSatisfy { $0.count <= 40 } && lines.contains { $0.hasSuffix("  2026-11-30 10:00") }, "\(lines)")
    #expect(lines.dropFirst().map { $0.prefix { $0 != " " } }.joined() == address)
  }
}
