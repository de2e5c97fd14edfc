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

  @Test("words are never cut")
  func wordsAreNeverCut() {
    let lines = table(rows, width: 5)
    #expect(lines.contains { $0.hasSuffix("hourly.0") } && lines.contains { $0.hasSuffix("weekly.0") })
    #expect(
      lines.flatMap { $0.split(separator: " ") }.count == rows.flatMap { $0.flatMap { $0.split(separator: " ") } }.count
    )
  }
}
