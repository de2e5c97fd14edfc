internal import Foundation

/// The program under test: the one of `TREERING_TEST_PROGRAM`, or the one that was built with the tests and stands next
/// to their bundle. An optimized one takes half of the time.
public func treeringBinary() throws -> ByteString {
  if let given = environmentVariable("TREERING_TEST_PROGRAM") { return ByteString(given) }
  var buffer = [UInt8](repeating: 0, count: 1 << 14)
  let count = "/proc/self/exe".withCString { link in
    buffer.withUnsafeMutableBytes {
      readlink(link, $0.baseAddress!.assumingMemoryBound(to: CChar.self), $0.count)
    }
  }
  guard count > 0 else { throw TestSupportError.systemCall("readlink", "/proc/self/exe") }
  let path = ByteString(buffer[..<count]).parent / "treering"
  guard access(path.cString, X_OK) == 0 else {
    throw TestSupportError("\(path) is not there: build the product before its tests")
  }
  return path
}

/// What the tests were told.
public func environmentVariable(_ name: String) -> String? { ProcessInfo.processInfo.environment[name] }

/// True if loops over many places take all of them, and not a few (`TREERING_TEST_EXHAUSTIVE`).
public let isExhaustive = environmentVariable("TREERING_TEST_EXHAUSTIVE") != nil

/// All cases with `TREERING_TEST_EXHAUSTIVE`; otherwise the first `count` of them.
public func sample<Case>(_ count: Int, of cases: [Case]) -> [Case] {
  isExhaustive ? cases : Array(cases.prefix(count))
}
