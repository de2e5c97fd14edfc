internal import CTestSupport
internal import Foundation

/// How many differences of one sort are named; a test needs the first few.
private let namedDifferences = 12

/// Everything in which two trees differ, in words, judged by rsync, find, getfattr, getfacl and
/// sha256sum; empty where they are the same tree.
///
/// Hard links count by what is linked to what within each tree.
public func differences(_ expected: ByteString, _ actual: ByteString) throws -> [String] {
  try rsyncDifferences(expected, actual)
    + listingDifferences(try TreeListing(expected), try TreeListing(actual))
    + named("sha256sum", try contentHashes(expected), try contentHashes(actual))
    + listed("getfattr", try attributeDump(expected), try attributeDump(actual))
    + listed("getfacl", try aclDump(expected), try aclDump(actual))
}

/// What `rsync` would do to make `actual` the same as `expected`.
public func rsyncDifferences(_ expected: ByteString, _ actual: ByteString) throws -> [String] {
  let output = try tool(
    "rsync",
    [
      "-aHAX", "--numeric-ids", "--checksum", "--dry-run", "--itemize-changes", "--delete",
      expected + "/", actual + "/",
    ])
  return ByteString.split(output, by: UInt8(ascii: "\n")).prefix(namedDifferences)
    .map { "rsync: \($0)" }
}

/// Differences of kind, mode, owner, time, size, target, device and link groups.
public func listingDifferences(_ expected: TreeListing, _ actual: TreeListing) -> [String] {
  named("find", expected.entries, actual.entries)
}

private func named<Value: Equatable>(
  _ oracle: String, _ expected: [ByteString: Value], _ actual: [ByteString: Value]
) -> [String] {
  var lines: [String] = []
  for path in Set(expected.keys).union(actual.keys).sorted() where expected[path] != actual[path] {
    func shown(_ value: Value?) -> String { value.map { "\($0)" } ?? "nothing" }
    lines.append(
      "\(oracle): \(path): expected \(shown(expected[path])), found \(shown(actual[path]))")
  }
  return Array(lines.prefix(namedDifferences))
}

private func listed(
  _ oracle: String, _ expected: [ByteString], _ actual: [ByteString]
) -> [String] {
  let missing = Set(expected).subtracting(actual).sorted().map { "\(oracle): missing: \($0)" }
  let extra = Set(actual).subtracting(expected).sorted().map { "\(oracle): unexpected: \($0)" }
  return Array((missing + extra).prefix(namedDifferences))
}

/// Everything about a published tree that must never change again: names, inode numbers, all metadata
/// but access and change time and link count, attributes, content.
public struct Fingerprint: Equatable, Sendable {
  private var entries: [ByteString: ByteString]

  public init(_ root: ByteString) throws {
    var text: UnsafeMutablePointer<CChar>?
    var length = 0
    let error = ts_describe_tree(root.cString, &text, &length)
    defer { free(text) }
    guard error == 0, let text else {
      throw TestSupportError("cannot describe \(root): \(String(cString: strerror(error)))")
    }
    let bytes = text.withMemoryRebound(to: UInt8.self, capacity: length) {
      Array(UnsafeBufferPointer(start: $0, count: length))
    }
    let fields = ByteString.split(bytes, by: 0)
    entries = Dictionary(
      uniqueKeysWithValues: stride(from: 0, to: fields.count, by: 2).map { (fields[$0], fields[$0 + 1]) })
  }

  /// The part of it whose paths are chosen.
  public func filter(_ isChosen: (ByteString) -> Bool) -> Fingerprint {
    var part = self
    part.entries = entries.filter { isChosen($0.key) }
    return part
  }

  public var count: Int { entries.count }

  /// In words, what is no longer what it was.
  public func differences(to later: Fingerprint) -> [String] { named("tree", entries, later.entries) }
}
