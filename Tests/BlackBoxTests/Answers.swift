import Foundation
import TestSupport
import Testing

/// The document of `snapshot --json`.
struct SnapshotAnswer: Decodable, Sendable {
  struct Trouble: Decodable, Sendable {
    let path: String
    let message: String
  }
  let snapshot: String
  let previous: String?
  let sequence: Int
  let outcome: String
  let entries: Int
  let files: Int
  let directories: Int
  let bytes: Int
  let filesLinked: Int
  let filesMoved: Int
  let filesCopied: Int
  let filesCloned: Int
  let linkLimits: Int
  let bytesCopied: Int
  let bytesRead: Int
  let filesVanished: Int
  let catalogOnly: Int
  let directoriesSkipped: Int
  let excluded: Int
  let warnings: Int
  let warningsNamed: [Trouble]
  let rootDigest: String
  let elapsedSeconds: Double
  let remote: String?
  let bytesSent: Int?
  let bytesReceived: Int?

  /// Of the snapshot's directory in the repository.
  var name: ByteString { ByteString(snapshot) }
}

/// One row of `list --json`.
struct ListAnswer: Decodable {
  let name: String
  let time: String
  let sequence: Int
  let entries: Int
  let bytes: Int
  let filesLinked: Int
  let filesCopied: Int
  let warnings: Int
  let outcome: String
  let label: String
  let sources: [String]
  let rootDigest: String
}

/// The document of `diff --json`.
struct DiffAnswer: Decodable {
  struct Change: Decodable {
    let path: String
    let pathBase64: String?
    let change: String
    let kind: String
    let aspects: [String]?
    let sizeBefore: Int?
    let sizeAfter: Int?
    let pathBefore: String?
    let pathBeforeBase64: String?
    let entriesBelow: Int?
    let aclBefore: [String]?
    let aclAfter: [String]?
  }
  let from: String
  let to: String
  let changes: [Change]
  let added: Int
  let removed: Int
  let changed: Int
  let renamed: Int
  let entriesBelow: Int
  let bytes: Int
}

extension CommandResult {
  /// The changes of `diff` without sizes, such as "M /path  (mode)", and without the summary.
  var changeLines: [String] {
    outputLines.dropLast().map { line in
      // The sign, the size in eight columns, and two spaces.
      "\(line.prefix(2))\(line.dropFirst(12))"
    }
  }
}

/// The document of `restore --json`.
struct RestoreAnswer: Decodable {
  let snapshot: String
  let to: String
  let entries: Int
  let files: Int
  let directories: Int
  let bytes: Int
  let left: Int
  let damaged: Int
  let warnings: Int
  let elapsedSeconds: Double
  let dryRun: Bool
  let changes: [NamedChange]?
  let kept: [String]

  struct NamedChange: Decodable {
    let change: String
    let path: String
    let kind: String?
    let aspects: [String]?
  }
}

/// The document of `verify --json`.
struct VerifyAnswer: Decodable {
  struct Problem: Decodable {
    let snapshot: String
    let path: String
    let problem: String
  }
  let snapshots: [String]
  let expired: [String]
  let entries: Int
  let filesRead: Int
  let bytesRead: Int
  let problems: [Problem]
  let elapsedSeconds: Double
}

/// The document of `run --json`, and of the history, as far as it is looked at.
struct RunAnswer: Decodable {
  struct Step: Decodable {
    let step: String
    let outcome: String
    let message: String?
  }
  let result: String
  let exitStatus: Int32
  let runId: String
  let host: String
  let repository: String
  let steps: [Step]
  let expired: [String]
  let error: String?
}

extension World {
  /// The lines of the history, which must all be of runs.
  func runHistory() throws -> [RunAnswer] {
    try tool("cat", [repository.root / ".treering/history.jsonl"]).split(separator: 10).map {
      try snakeCaseDecoder().decode(RunAnswer.self, from: Data($0))
    }
  }
}

func snakeCaseDecoder() -> JSONDecoder {
  let decoder = JSONDecoder()
  decoder.keyDecodingStrategy = .convertFromSnakeCase
  return decoder
}

/// The document of `list --json` or `versions --json`.
private struct Listed<Row: Decodable>: Decodable {
  let snapshots: [Row]?
  let versions: [Row]?
}

/// A message on standard error with `--json`.
struct Message: Decodable {
  let version: Int
  let level: String
  let message: String
  let path: String?
  let hint: String?
  let exitStatus: Int32?
}

extension CommandResult {
  /// The messages on standard error, which must all be JSON objects.
  func messages() throws -> [Message] {
    try errorLines.map { try snakeCaseDecoder().decode(Message.self, from: Data("\($0)".utf8)) }
  }

  /// The rows of `list` or `versions`.
  func decoded<Row: Decodable>(_ type: [Row].Type = [Row].self) throws -> [Row] {
    let document = try decoded(Listed<Row>.self)
    return try #require(document.snapshots ?? document.versions)
  }

  /// The answer on standard output, which must be one JSON document with snake_case keys.
  func decoded<Answer: Decodable>(_ type: Answer.Type = Answer.self) throws -> Answer {
    do { return try snakeCaseDecoder().decode(type, from: Data(output)) } catch {
      throw TestSupportError(
        "standard output is not the answer expected (status \(status), \(errorText)): "
          + "\(error)\n\(outputText)")
    }
  }
}

/// The changes of `diff`, to be applied to the paths of a tree.
struct AppliedChanges {
  private let renames: [(old: ByteString, new: ByteString)]
  private let removed: Set<ByteString>
  private let added: Set<ByteString>
  /// The new paths of files whose content changed.
  let rewritten: Set<ByteString>

  init(_ answer: DiffAnswer) {
    func bytes(_ text: String, _ base64: String?) -> ByteString {
      base64.flatMap { Data(base64Encoded: $0) }.map { ByteString($0) } ?? ByteString(text)
    }
    func paths(_ change: String) -> [ByteString] {
      answer.changes.filter { $0.change == change }.map { bytes($0.path, $0.pathBase64) }
    }
    // The deepest comes first: an entry may have left a directory that was renamed.
    renames = answer.changes.filter { $0.change == "renamed" }
      .map { (bytes($0.pathBefore ?? "", $0.pathBeforeBase64), bytes($0.path, $0.pathBase64)) }
      .sorted { $0.old.bytes.count > $1.old.bytes.count }
    (removed, added) = (Set(paths("removed")), Set(paths("added")))
    rewritten = Set(
      answer.changes.filter { ($0.aspects ?? []).contains("content") }.map { bytes($0.path, $0.pathBase64) })
  }

  private static func moved(_ path: ByteString, _ from: ByteString, _ to: ByteString) -> ByteString? {
    if path == from { return to }
    return path.hasPrefix(from + "/") ? to + ByteString(path.bytes.dropFirst(from.bytes.count)) : nil
  }

  /// The paths that the first tree's paths became, and the added ones.
  func paths(after paths: Set<ByteString>) -> Set<ByteString> {
    Set(
      paths.subtracting(removed).map { path in
        renames.lazy.compactMap { Self.moved(path, $0.old, $0.new) }.first ?? path
      }
    ).union(added)
  }

  /// The former path of a path of the second tree; `nil` if it is new.
  func origin(of path: ByteString) -> ByteString? {
    if added.contains(path) { return nil }
    return renames.sorted { $0.new.bytes.count > $1.new.bytes.count }
      .lazy.compactMap { Self.moved(path, $0.new, $0.old) }.first ?? path
  }
}
