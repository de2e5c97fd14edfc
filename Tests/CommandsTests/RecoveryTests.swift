import Model
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
}
