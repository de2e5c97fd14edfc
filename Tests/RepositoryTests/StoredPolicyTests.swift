import Model
import Retention
import Testing

@testable import Repository

@Suite("The policy of the last rotation")
struct StoredPolicyTests {
  @Test("the text that is written can be read")
  func roundTrip() throws {
    let policy = RetentionPolicy(
      keep: [.hourly: 1, .daily: 2, .weekly: 3, .monthly: 4, .yearly: 0], keepLast: 5, keepWithinSeconds: 6)
    #expect(policy.stored == "hourly=1 daily=2 weekly=3 monthly=4 yearly=0 keep_last=5 keep_within_seconds=6\n")
    #expect(try RetentionPolicy(stored: Array(policy.stored.utf8)) == policy)
  }

  @Test(
    "a partial policy is damage",
    arguments: [
      "", "daily=7\n", "daily=7 keep_last=1", "daily=0 keep_last=0\n", "daily=-1 keep_last=1\n", "keep_last\n",
      "daily=7 weekly=4 monthly=1 yearly=0 keep_last=0\n",
    ])
  func damage(text: String) {
    #expect(throws: RetentionPolicy.Damage.self) { try RetentionPolicy(stored: Array(text.utf8)) }
  }
}
