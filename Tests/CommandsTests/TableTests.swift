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

  @Test("words are never cut")
  func wordsAreNeverCut() {
    let lines = table(rows, width: 5)
    #expect(lines.contains { $0.hasSuffix("hourly.0") } && lines.contains { $0.hasSuffix("weekly.0") })
    #expect(
      lines.flatMap { $0.split(separator: " ") }.count == rows.flatMap { $0.flatMap { $0.split(separator: " ") } }.count
    )
  }
}
