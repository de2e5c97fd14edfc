internal import Model
internal import Posix
internal import Repository

/// Atomically writes a file for the textfile collector of Prometheus' node exporter.
func writeMetrics(
  of state: RepositoryState, after run: RunAnswer, at now: Timestamp, to path: [UInt8]
) throws(Failure) {
  let (parent, name) = splitLast(of: path)
  do throws(Errno) {
    let directory = Directory(try Descriptor.open(path: parent, [.read, .directory]))
    // The collector reads only names that end with .prom, and not the temporary file.
    try ControlFile(named: name, in: directory, mode: 0o644)
      .replace(with: Array(metricsText(of: state, after: run, at: now).utf8))
  } catch { throw .writing("write the metrics", at: path, because: error) }
}

private func metricsText(of state: RepositoryState, after run: RunAnswer, at now: Timestamp) -> String {
  var text = ""
  let repository = labelValue(state.repository)
  func metric(_ name: String, help: String, samples: [(labels: [(String, String)], value: String)]) {
    if samples.isEmpty { return }
    text += "# HELP treering_\(name) \(help)\n# TYPE treering_\(name) gauge\n"
    for (labels, value) in samples {
      let all = ([("repository", repository)] + labels).map { "\($0)=\"\($1)\"" }.joined(separator: ",")
      text += "treering_\(name){\(all)} \(value)\n"
    }
  }
  func metric(_ name: String, help: String, value: String) { metric(name, help: help, samples: [([], value)]) }
  metric(
    "last_success_timestamp_seconds", help: "When the newest good snapshot of a source was taken.",
    samples: state.sources.compactMap { source in
      source.ageSeconds.map { ([("source", labelValue(source.source))], "\(now.seconds - $0)") }
    })
  metric("last_run_timestamp_seconds", help: "When the last run ended.", value: "\(now.seconds)")
  metric("last_run_exit_status", help: "The exit status of the last run.", value: "\(run.exitStatus)")
  metric("last_run_duration_seconds", help: "How long the last run took.", value: fixed(run.elapsedSeconds, digits: 3))
  if let snapshot = run.snapshot {
    metric("last_snapshot_entries", help: "Entries of the last snapshot.", value: "\(snapshot.entries)")
    metric("last_snapshot_bytes", help: "Sizes of the files in the last snapshot.", value: "\(snapshot.bytes)")
    metric("last_snapshot_copied_bytes", help: "What the last snapshot copied.", value: "\(snapshot.bytesCopied)")
    metric("last_snapshot_warnings", help: "Warnings of the last snapshot.", value: "\(snapshot.warnings)")
  }
  metric("snapshots", help: "Snapshots in the repository.", value: "\(state.snapshots)")
  metric(
    "set_snapshots", help: "Members of a set.",
    samples: state.sets.sorted { $0.key < $1.key }.map { ([("set", $0.key)], "\($0.value)") })
  metric("damaged_snapshots", help: "Snapshots that cannot be used.", value: "\(state.damagedSnapshots.count)")
  metric("rotation_held", help: "1 where rotation is held.", value: state.rotationHeld == nil ? "0" : "1")
  metric("free_bytes", help: "What is free on the repository's file system.", value: "\(state.bytesFree)")
  metric("size_bytes", help: "The size of the repository's file system.", value: "\(state.bytesTotal)")
  return text
}

/// The text format requires escapes for backslash, quote and newline.
private func labelValue(_ text: String) -> String {
  var escaped = ""
  for character in text {
    switch character {
    case "\\": escaped += "\\\\"
    case "\"": escaped += "\\\""
    case "\n": escaped += "\\n"
    default: escaped.append(character)
    }
  }
  return escaped
}
