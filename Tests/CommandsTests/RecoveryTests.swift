import Databases
import Model
import Posix
import Repository
import TestSupport
import Testing

@testable import Commands

@Suite("the end of an archive, and the moment of a recovery") struct RecoveryTests {
  @Test("a log that was stored before the moment does not reach it")
  func shortage() {
    func stored(at seconds: Int64) -> Timestamp { Timestamp(seconds: seconds, nanoseconds: 5) }
    #expect(RecoveryDirectory.shortage(of: stored(at: 1000), "a", at: 1000) == nil)
    #expect(RecoveryDirectory.shortage(of: stored(at: 999), "a", at: 1000)?.contains("its newest segment, a,") == true)
    // What is not known is as new as the present.
    #expect(RecoveryDirectory.shortage(of: nil, nil, at: 1000) == nil)
    #expect(RecoveryDirectory.shortage(of: nil, nil, at: 10_000_000_000) != nil)
  }

  @Test("an archive with later logs than the newest dump, but older ones, is of another server")
  func archiveOfAnotherServer() throws {
    let place = try TemporaryDirectory("archive")
    try tool("chmod", ["700", place.path])
    try Tree(place.path).write("log", "x")
    let archive = try LogArchive(at: place.path.bytes)
    let log = SharedFile(try Descriptor.openNamed((place.path / "log").bytes))
    for number in 4...5 { _ = try archive.store(log, as: Array("bin.00000\(number)".utf8)) }
    func problem(dumpIn number: Int, secondsLater: Int64) throws -> String? {
      let dump = try #require(BinaryLogPlace(point: Array("binary log bin.00000\(number), position 4".utf8)))
      let began = Timestamp(seconds: Clock.now().seconds + secondsLater, nanoseconds: 0)
      return try BinaryLogArchive(of: archive).state(for: [dump], newestBegan: began).problem
    }
    #expect(try problem(dumpIn: 2, secondsLater: 60)?.contains("has the binary logs of another server") == true)
    #expect(try problem(dumpIn: 2, secondsLater: -60) == nil)
    #expect(try problem(dumpIn: 5, secondsLater: 60) == nil && problem(dumpIn: 6, secondsLater: 60) == nil)
  }

  @Test("binary logs that are behind those at a remote are of another server")
  func pushedLogs() {
    func refuses(_ here: String, _ there: String) -> Bool {
      func names(_ text: String) -> [[UInt8]] { text.split(separator: " ").map { Array($0.utf8) } }
      do {
        try LogPush.check(names(here), against: names(there), at: "nas")
        return false
      } catch { return error.kind == .refused }
    }
    #expect(!refuses("bin.000001 bin.000002", "bin.000001 bin.000002"))
    #expect(!refuses("bin.000009", "bin.000001") && !refuses("", "bin.000001") && !refuses("bin.000001", ""))
    #expect(refuses("bin.000001 bin.000002", "bin.000003"))
    #expect(!refuses("bin.000001", "other.000003") && !refuses("000000010000000000000001", "000000010000000000000002"))
  }
}
