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
      .replace(with: Array(metricsText(of: state, at: now, after: run).utf8))
  } catch { throw .writing("write the metrics", at: path, because: error) }
}

/// The state in the text format of Prometheus. Figures of the last snapshot are there only after a run that took one.
func metricsText(of state: RepositoryState, at now: Timestamp, after run: RunAnswer? = nil) -> String {
  var text = MetricsText(of: state.repository)
  text.add(
    "last_success_timestamp_seconds", help: "When the newest good snapshot of a source was taken.",
    samples: state.sources.map { ("source", $0.source, $0.ageSeconds.map { now.seconds - $0 }) })
  text.add(
    "database_last_dump_timestamp_seconds", help: "When the newest good dump of a database began.",
    samples: state.databases.map { ("database", $0.database, $0.ageSeconds.map { now.seconds - $0 }) })
  text.add(
    "push_last_success_timestamp_seconds", help: "When the last push to a remote went well.",
    samples: state.remotes.map { ("remote", $0.remote, $0.arrived.flatMap { Moment.seconds(of: $0) }) })
  text.add(
    "push_last_snapshot_timestamp_seconds", help: "When the newest snapshot at a remote was taken.",
    samples: state.remotes.map { remote in ("remote", remote.remote, remote.ageSeconds.map { now.seconds - $0 }) })
  text.add(
    "last_verify_timestamp_seconds", help: "When the last verification began.",
    value: state.lastVerified.flatMap { Moment.seconds(of: $0) }.map { "\($0)" })
  text.add(
    "verified_since_timestamp_seconds", help: "Everything was verified at this time or later.",
    value: state.verifiedSince.flatMap { Moment.seconds(of: $0) }.map { "\($0)" })
  if let run {
    text.add("last_run_timestamp_seconds", help: "When the last run ended.", value: "\(now.seconds)")
    text.add("last_run_exit_status", help: "The exit status of the last run.", value: "\(run.exitStatus)")
    text.add(
      "last_run_duration_seconds", help: "How long the last run took.", value: fixed(run.elapsedSeconds, digits: 3))
  }
  if let snapshot = run?.snapshot {
    text.add("last_snapshot_entries", help: "Entries of the last snapshot.", value: "\(snapshot.entries)")
    text.add("last_snapshot_bytes", help: "Sizes of the files in the last snapshot.", value: "\(snapshot.bytes)")
    text.add("last_snapshot_copied_bytes", help: "What the last snapshot copied.", value: "\(snapshot.bytesCopied)")
    text.add("last_snapshot_warnings", help: "Warnings of the last snapshot.", value: "\(snapshot.warnings)")
  }
  text.add("problems", help: "Problems that status names.", value: "\(state.findings.count)")
  text.add("snapshots", help: "Snapshots in the repository.", value: "\(state.snapshots)")
  text.add(
    "set_snapshots", help: "Members of a set.",
    samples: state.sets.sorted { $0.key < $1.key }.map { ("set", $0.key, Int64($0.value)) })
  text.add(
    "damaged_snapshots", help: "Snapshots that are known to be damaged.", value: "\(state.damagedSnapshots.count)")
  text.add("rotation_held", help: "1 where rotation is held.", value: state.rotationHeld == nil ? "0" : "1")
  text.add("free_bytes", help: "What is free on the repository's file system.", value: "\(state.bytesFree)")
  text.add("size_bytes", help: "The size of the repository's file system.", value: "\(state.bytesTotal)")
  return text.text
}

/// Gauges with the label `repository`.
private struct MetricsText {
  private(set) var text = ""
  private let repository: String

  init(of repository: String) { self.repository = labelValue(repository) }

  /// Adds a metric, unless it has no value.
  mutating func add(_ name: String, help: String, value: String?) {
    if let value { add(name, help: help, lines: [("", value)]) }
  }

  /// Adds a metric with a further label. Samples without a value are left out.
  mutating func add(_ name: String, help: String, samples: [(label: String, value: String, sample: Int64?)]) {
    add(
      name, help: help,
      lines: samples.compactMap { label, value, sample in
        sample.map { (",\(label)=\"\(labelValue(value))\"", "\($0)") }
      })
  }

  private mutating func add(_ name: String, help: String, lines: [(labels: String, value: String)]) {
    if lines.isEmpty { return }
    text += "# HELP treering_\(name) \(help)\n# TYPE treering_\(name) gauge\n"
    for (labels, value) in lines {
      text += "treering_\(name){repository=\"\(repository)\"\(labels)} \(value)\n"
    }
  }
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
