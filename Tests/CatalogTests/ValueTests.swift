import Foundation
import Model
import TestSupport
import Testing

@testable import Catalog

@Suite struct CalendarTimeTests {
  @Test(
    "known instants have their texts",
    arguments: [
      (0, "1970-01-01T00:00:00Z"),
      (-1, "1969-12-31T23:59:59Z"),
      (-86_400, "1969-12-31T00:00:00Z"),
      (-86_401, "1969-12-30T23:59:59Z"),
      (951_782_399, "2000-02-28T23:59:59Z"),
      (951_782_400, "2000-02-29T00:00:00Z"),
      (951_868_800, "2000-03-01T00:00:00Z"),
      (1_709_164_800, "2024-02-29T00:00:00Z"),
      (1_709_251_199, "2024-02-29T23:59:59Z"),
      (1_677_628_800, "2023-03-01T00:00:00Z"),
      (4_107_542_399, "2100-02-28T23:59:59Z"),
      (4_107_542_400, "2100-03-01T00:00:00Z"),
      (4_102_444_800, "2100-01-01T00:00:00Z"),
      (-2_203_891_200, "1900-03-01T00:00:00Z"),
      (-2_203_891_201, "1900-02-28T23:59:59Z"),
      (2_147_483_647, "2038-01-19T03:14:07Z"),
      (2_147_483_648, "2038-01-19T03:14:08Z"),
      (-62_135_596_800, "0001-01-01T00:00:00Z"),
      (253_402_300_799, "9999-12-31T23:59:59Z"),
    ] as [(Int64, String)])
  func knownInstants(_ seconds: Int64, _ expected: String) {
    #expect(CalendarTime(seconds: seconds).rfc3339 == expected)
    #expect(
      CalendarTime(seconds: seconds).snapshotName == expected.replacingOccurrences(of: ":", with: "-"))
    #expect(SnapshotName(seconds: seconds).description == CalendarTime(seconds: seconds).snapshotName)
  }

  /// GNU date counts in the proleptic Gregorian calendar too.
  @Test("the local times are those of date(1)")
  func agreesWithDate() throws {
    var generator = printedGenerator()
    var instants = (0..<5000).map { _ in Int64.random(in: -62_135_596_800...253_402_300_799, using: &generator) }
    // The midnights of every day around the turn of four centuries.
    for day in -800...800 {
      for year in [1700, 1900, 2000, 2100] as [Int64] {
        instants.append((Int64(Double(year - 1970) * 365.2425) + Int64(day)) * 86_400)
      }
    }
    let lines = instants.map { "@\($0)\n" }.joined()
    let text = try output(
      of: "date", ["-u", "-f", "-", "+%Y-%m-%dT%H:%M:%SZ"], input: Array(lines.utf8))
    let theirs = String(decoding: text, as: UTF8.self).split(separator: "\n")
    #expect(theirs.count == instants.count)
    for (seconds, expected) in zip(instants, theirs) {
      #expect(CalendarTime(seconds: seconds).rfc3339 == expected, "\(seconds)")
    }
  }

  /// A file's time is whatever somebody set, and a catalog's is whatever it says.
  @Test("the ends of time do not end the process")
  func theEndsOfTimeDoNotEndTheProcess() async {
    await #expect(processExitsWith: .success) {
      for seconds in [Int64.max, Int64.max - 1, 1 << 56, -(1 << 56), Int64.min + 1, Int64.min] {
        precondition(!CalendarTime(seconds: seconds).rfc3339.isEmpty)
      }
    }
  }
}

@Suite struct SnapshotNameTests {
  @Test("a name is read back")
  func aNameIsReadBack() {
    let made = SnapshotName(seconds: 1_795_388_400)
    #expect(made.description == "2026-11-22T23-00-00Z")
    #expect(SnapshotName(Array("2026-11-22T23-00-00Z".utf8)) == made)
    #expect(made.bytes == Array("2026-11-22T23-00-00Z".utf8))
    #expect(made.catalogName == Array("2026-11-22T23-00-00Z.catalog".utf8))
  }

  @Test(
    "other forms are no names",
    arguments: [
      "", "latest", "2026-11-22", "2026-11-22T23-00-00", "2026-11-22T23-00-00z",
      "2026-11-22T23:00:00Z", "2026-11-22 23-00-00Z", "2026-11-22T23-00-00ZZ", "x2026-11-22T23-00-00Z",
      "2026/11/22T23-00-00Z", "20261-1-22T23-00-00Z", "-026-11-22T23-00-00Z", "2026-11-22T23-00-0\u{0}Z",
      "2026-11-22T23-00-00Z.catalog", "٢026-11-22T23-00-00Z", "2026-11-22T23-00-٠Z",
    ])
  func otherFormsAreNoNames(_ text: String) { #expect(SnapshotName(Array(text.utf8)) == nil) }

  /// Retention and `list` compute with the time a name tells.
  @Test("later names sort later")
  func laterNamesSortLater() {
    var generator = printedGenerator()
    var previous: (Int64, String)?
    for seconds in (0..<500).map({ _ in Int64.random(in: 0..<253_402_300_799, using: &generator) }).sorted() {
      let text = SnapshotName(seconds: seconds).description
      #expect(SnapshotName(seconds: seconds).seconds == seconds)
      if let previous, previous.0 < seconds { #expect(previous.1 < text) }
      previous = (seconds, text)
    }
  }
}

@Suite struct DisplayNameTests {
  @Test(
    "a name is shown as text",
    arguments: [
      ("plain.txt", "plain.txt"), ("", ""), (" lead and trail ", " lead and trail "),
      ("a\nb", #"a\nb"#), ("a\tb", #"a\tb"#), ("a\rb", #"a\rb"#), (#"a\nb"#, #"a\\nb"#), (#"\"#, #"\\"#),
      ("\u{1b}[31mred", #"\x1b[31mred"#), ("\u{07}", #"\x07"#), ("\u{7f}", #"\x7f"#), ("\u{01}", #"\x01"#),
      ("grün", "grün"), ("日本語", "日本語"), ("🌲", "🌲"), ("e\u{301}", "e\u{301}"),
      ("\u{85}", #"\u{85}"#), ("\u{9b}31m", #"\u{9b}31m"#), ("\u{80}", #"\u{80}"#), ("\u{9f}", #"\u{9f}"#),
      ("\u{a0}", "\u{a0}"),
      ("\u{202e}gpj.exe", #"\u{202e}gpj.exe"#), ("\u{2066}x\u{2069}", #"\u{2066}x\u{2069}"#),
      ("\u{200b}", #"\u{200b}"#), ("\u{200f}", #"\u{200f}"#), ("\u{2028}", #"\u{2028}"#),
      ("\u{2029}", #"\u{2029}"#), ("\u{feff}x", #"\u{feff}x"#), ("\u{2060}", #"\u{2060}"#),
    ])
  func text(_ raw: String, _ expected: String) { #expect(displayName(Array(raw.utf8)) == expected) }

  @Test(
    arguments: [
      ([0xFF], #"\xff"#), ([0xC3], #"\xc3"#), ([0x61, 0xC3, 0x28], #"a\xc3("#), ([0x80], #"\x80"#),
      ([0xE2, 0x82], #"\xe2\x82"#), ([0xE2, 0x82, 0x61], #"\xe2\x82a"#),
      ([0xF0, 0x9F, 0x8C], #"\xf0\x9f\x8c"#),
      // Overlong forms of NUL, slash and ESC.
      ([0xC0, 0x80], #"\xc0\x80"#), ([0xC0, 0xAF], #"\xc0\xaf"#), ([0xE0, 0x80, 0x9B], #"\xe0\x80\x9b"#),
      ([0xF0, 0x80, 0x80, 0xAF], #"\xf0\x80\x80\xaf"#),
      // A surrogate, beyond Unicode, and bytes that UTF-8 never has.
      ([0xED, 0xA0, 0x80], #"\xed\xa0\x80"#), ([0xF4, 0x90, 0x80, 0x80], #"\xf4\x90\x80\x80"#),
      ([0xF8, 0x88, 0x80, 0x80, 0x80], #"\xf8\x88\x80\x80\x80"#),
      ([0xFE, 0xC3, 0xBC], "\\xfeü"), ([0x0A, 0xFF, 0x1B], #"\n\xff\x1b"#),
    ] as [([UInt8], String)])
  func bytesThatAreNoText(_ raw: [UInt8], _ expected: String) { #expect(displayName(raw) == expected) }

  /// The Arabic letter mark is one of Unicode's Bidi_Control characters; tags and the Mongolian vowel
  /// separator show nothing at all.
  @Test(
    "other invisible characters are escaped",
    arguments: [("\u{61c}x", #"\u{61c}x"#), ("\u{e0041}", #"\u{e0041}"#), ("\u{180e}", #"\u{180e}"#)])
  func otherInvisibleCharacters(_ raw: String, _ expected: String) {
    #expect(displayName(Array(raw.utf8)) == expected)
  }

  @Test("whatever is shown is one line without controls")
  func whateverIsShownIsOneLineWithoutControls() {
    var generator = printedGenerator()
    for _ in 0..<3000 {
      let raw = generator.bytes(Int.random(in: 0...40, using: &generator))
      let shown = displayName(raw)
      let bad = shown.unicodeScalars.contains { $0.value < 0x20 || (0x7F...0x9F).contains($0.value) }
      #expect(!bad, "\(raw)")
    }
  }

  /// Two names are never shown as the same text.
  @Test("the text tells names apart")
  func theTextTellsNamesApart() {
    let names: [[UInt8]] = [
      name("a\nb"), name(#"a\nb"#), name(#"a\\nb"#), [0xFF], name(#"\xff"#), name("\u{ff}"),
      name("\u{202e}"), name(#"\u{202e}"#), [0xC2], [0xC2, 0x85],
    ]
    #expect(Set(names.map { displayName($0) }).count == names.count)
  }
}

@Suite struct NameOrderTests {
  @Test("the order is that of sort in the C locale")
  func ordersAsSortDoesInTheCLocale() throws {
    var generator = printedGenerator()
    var names = Set((0..<4000).map { _ in generator.fileName() })
    for text in ["a", "a.", "a-", "a/".replacingOccurrences(of: "/", with: "0"), "aa", "A", "ä", "-", "..."] {
      names.insert(name(text))
    }
    names.insert([0x7F])
    names.insert([0x80])
    let ours = names.sorted { compareNames($0.span, $1.span) == .before }
    let input: [UInt8] = names.flatMap { $0 + [0] }
    let theirs = try output(of: "sort", ["-z"], input: input).split(separator: 0).map { [UInt8]($0) }
    #expect(ours == theirs)
  }

  @Test("the comparison is an order")
  func isAnOrder() {
    let inOrder: [([UInt8], [UInt8])] = [
      ([], [0]), ([1], [1, 0]), ([0x7F], [0x80]), ([0xFE, 0xFF], [0xFF]), (name("ab"), name("b")),
      (name("main"), name("main.c")), (name("a"), name("abc")),
    ]
    for (a, b) in inOrder {
      #expect(compareNames(a.span, b.span) == .before)
      #expect(compareNames(b.span, a.span) == .after)
      #expect(compareNames(a.span, a.span) == .same)
      #expect(compareNames(b.span, b.span) == .same)
    }
  }
}
