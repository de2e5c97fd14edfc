import TestSupport

extension World {
  /// The name of a snapshot that `snapshotWithFailingCalls` takes.
  static let timeOfFailingCalls: ByteString = "2040-01-01T12-00-00Z"

  /// Takes a snapshot, in which calls on some paths are answered with errors; the log has all calls of these names there.
  ///
  /// `calls` are such as `getdents64:error=EIO`.
  func snapshotWithFailingCalls(
    _ calls: [String], on paths: [ByteString], logging others: [String] = []
  ) throws -> (result: CommandResult, log: [String]) {
    let file = directory.path / "calls"
    let names = calls.map { String($0.split(separator: ":")[0]) } + others
    let options: [ByteString] =
      ["-f", "-qq", "-o", file, "-e", ByteString("trace=\(names.joined(separator: ","))")]
      + paths.flatMap { ["-P", $0] } + calls.flatMap { ["-e", ByteString("inject=\($0)")] }
    let result = try runCommand(
      "faketime",
      ["-f", "2040-01-01 12:00:00", "strace"] + options
        + [try treeringBinary(), "snapshot", source.root, "--threads", "1", "-r", repository.root],
      environment: ["NO_FAKE_STAT": "1", "FAKETIME_DONT_FAKE_MONOTONIC": "1", "TZ": "UTC"])
    return (result, try Tree(directory.path).text("calls").split(separator: "\n").map(String.init))
  }

  /// Where that snapshot is built.
  var pendingTree: ByteString { repository.root / ".treering/pending" / Self.timeOfFailingCalls }
}
