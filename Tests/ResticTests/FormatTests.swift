import Model
import Testing

@testable import Restic

private func bytes(_ text: String) -> [UInt8] { Array(text.utf8) }

@Suite struct FormatTests {
  @Test(
    "names are quoted as strconv.Quote does, and come back",
    arguments: [
      (bytes("plain ü 😀"), #"plain ü 😀"#), ([0xFF, 0x61, 0xC3], #"\xffa\xc3"#), (bytes("a\"b\\c"), #"a\"b\\c"#),
      (bytes("\n\t\r\u{1}\u{7F}"), #"\n\t\r\x01\x7f"#), (bytes("\u{7}\u{8}\u{C}\u{B}"), #"\a\b\f\v"#),
      (bytes("\u{A0}\u{2028}\u{200B}\u{E000}"), #"\u00a0\u2028\u200b\ue000"#), (bytes("\u{E0001}"), #"\U000e0001"#),
      (bytes("\u{FFFD}"), "\u{FFFD}"),
    ])
  func quotedNames(name: [UInt8], quoted: String) {
    #expect(String(decoding: QuotedName.encoded(name), as: UTF8.self) == quoted)
    #expect(QuotedName.decoded(bytes(quoted)) == name)
  }

  @Test(
    "broken quotes are refused", arguments: [#"\"#, #"\x1"#, #"\q"#, #"a"b"#, #"\u12"#, #"\U00110000"#, #"\400"#, "\n"])
  func brokenQuotes(text: String) { #expect(QuotedName.decoded(bytes(text)) == nil) }

  @Test("strings are escaped as encoding/json does")
  func strings() throws {
    var writer = JSONWriter()
    writer.string(bytes("<a&b>\"\\\n\u{1}\u{2028}ü") + [0xFF])
    #expect(String(decoding: writer.bytes, as: UTF8.self) == #""\u003ca\u0026b\u003e\"\\\n\u0001\u2028ü\ufffd""#)
    #expect(try JSONCursor.read(bytes(#""a\u003c\ud83d\ude00\ud800\/""#)) { try $0.string() } == bytes("a<😀\u{FFFD}/"))
  }

  @Test(
    "times are written with the shortest fraction, and read in any zone",
    arguments: [
      (Timestamp(seconds: 0, nanoseconds: 0), "1970-01-01T00:00:00Z"),
      (Timestamp(seconds: 1_420_221_490, nanoseconds: 895_208_559), "2015-01-02T17:58:10.895208559Z"),
      (Timestamp(seconds: -1, nanoseconds: 500_000_000), "1969-12-31T23:59:59.5Z"),
      (Timestamp(seconds: .max, nanoseconds: 7), "9999-12-31T23:59:59Z"),
    ])
  func times(time: Timestamp, text: String) {
    var writer = JSONWriter()
    writer.time(time)
    #expect(String(decoding: writer.bytes, as: UTF8.self) == "\"\(text)\"")
    if time.seconds < .max { #expect(parsedTime(bytes(text)) == time) }
  }

  @Test("zones are applied")
  func zones() {
    let time = Timestamp(seconds: 1_420_217_890, nanoseconds: 895_208_559)
    #expect(parsedTime(bytes("2015-01-02T17:58:10.895208559+01:00")) == time)
    #expect(parsedTime(bytes("2015-01-02T13:28:10.895208559-03:30")) == time)
    for text in ["2015-01-02T17:58:10", "2015-01-02 17:58:10Z", "2015-01-02T17:58:10.Z", "2015-01-02T17:58:10+1:00"] {
      #expect(parsedTime(bytes(text)) == nil)
    }
  }

  @Test("base64 has padding")
  func base64() {
    for count in 0..<70 {
      let data = (0..<count).map { UInt8(truncatingIfNeeded: $0 &* 37 &+ 5) }
      #expect(Base64.decoded(Base64.encoded(data)) == data)
    }
    #expect(Base64.encoded(bytes("any carnal pleas")) == bytes("YW55IGNhcm5hbCBwbGVhcw=="))
    for text in ["a", "ab==c", "a===", "ab=c", "a b="] { #expect(Base64.decoded(bytes(text)) == nil) }
  }

  @Test("devices are numbered as Linux does")
  func devices() {
    for (major, minor) in [(1, 3), (8, 17), (259, 300_000), (4095, 255), (70_000, 1_048_576)] as [(UInt64, UInt64)] {
      let device = major << 32 | minor
      #expect(TreeNode.device(ofSystem: TreeNode.systemDevice(device)) == device)
    }
    #expect(TreeNode.systemDevice(1 << 32 | 3) == 0x103)
  }

  @Test("modes have Go's bits")
  func modes() {
    #expect(FileMode.encoded(.directory, permissions: 0o755) == 1 << 31 | 0o755)
    #expect(FileMode.encoded(.symbolicLink, permissions: 0o777) == 134_218_239)
    #expect(FileMode.encoded(.characterDevice, permissions: 0o1620) == 1 << 26 | 1 << 21 | 1 << 20 | 0o620)
    for permissions in 0...UInt16(0o7777) {
      #expect(FileMode.permissions(of: FileMode.encoded(.regular, permissions: permissions)) == permissions)
    }
  }

  @Test(
    "a wrong JSON document is refused",
    arguments: [
      "", "{", "[1", "{\"a\"}", "{\"a\":}", "nul", "{\"a\":1}x", "[1,]", "\"a", "{\"a\":\"\\",
      String(repeating: "[", count: 100_000),
    ])
  func brokenJSON(text: String) {
    #expect(throws: ResticError.self) { try JSONCursor.read(bytes(text)) { try $0.skip() } }
  }
}

@Suite struct ChunkerTests {
  @Test(
    "restic's vectors of irreducible polynomials",
    arguments: [
      (0x38f1e565e288df, false), (0x3DA3358B4DC173, true), (0x30a8295b9d5c91, false), (0x255f4350b962cb, false),
      (0x267f776110a235, false), (0x2f4dae10d41227, false), (0x2482734cacca49, true), (0x312daf4b284899, false),
    ] as [(UInt64, Bool)])
  func irreducible(bits: UInt64, isIrreducible: Bool) {
    #expect(Polynomial(bits: bits).isIrreducible == isIrreducible)
  }

  @Test("the irreducible polynomials of small degrees are as many as there are")
  func counts() {
    // The number of monic irreducible polynomials over two elements (OEIS A001037).
    for (degree, count) in [(1, 2), (2, 1), (3, 2), (4, 3), (5, 6), (6, 9), (7, 18), (8, 30), (9, 56), (10, 99)] {
      let found = (1 << UInt64(degree)..<1 << UInt64(degree + 1)).count { Polynomial(bits: $0).isIrreducible }
      #expect(found == count, "degree \(degree)")
    }
  }

  @Test("a new polynomial has the degree and is irreducible")
  func random() throws {
    let (one, other) = (try Polynomial.random(), try Polynomial.random())
    #expect(one.degree == 53 && one.isIrreducible && one != other)
  }

  @Test("zeros are cut as early as possible")
  func zeros() {
    let chunker = Chunker(Polynomial(bits: 0x3DA3358B4DC173))
    let zeros = [UInt8](repeating: 0, count: 2 << 20)
    #expect(zeros.withUnsafeBytes { chunker.firstChunk(of: $0) } == Chunker.minimumBytes)
  }
}
