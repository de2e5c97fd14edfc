import TestSupport
import Testing

/// A sample of Tests/Faults, which takes a day as a whole. The seed stays, so that a change of the program is what
/// makes it fail; `TREERING_TEST_FAULT_SEED` takes another, and Tests/Faults/run without a seed a random one.
@Suite("faults", .waits) struct FaultTests {
  private static let seed = ByteString(environmentVariable("TREERING_TEST_FAULT_SEED") ?? "11")

  @Test(
    "no system call that fails, no kill, no damage and no power cut breaks a promise",
    arguments: isExhaustive
      ? [("calls", 100), ("damage", 40), ("power", 25)] : [("calls", 20), ("damage", 10), ("power", 5)])
  func sample(kind: String, count: Int) throws {
    let result = try runCommand(
      ByteString(#filePath).parent.parent / "Faults" / "run",
      ["--kind", ByteString(kind), "--count", ByteString("\(count)"), "--seed", Self.seed],
      environment: ["TREERING": try treeringBinary().text], timeoutSeconds: 1800)
    print(result.outputText)
    #expect(result.status == 0, "\(result.outputText)\(result.errorText)")
  }
}
