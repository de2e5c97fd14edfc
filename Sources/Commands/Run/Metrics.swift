internal import Model
internal import Posix
internal import Repository

struct RunFigures {
  let exitStatus: Int32
  let elapsedSeconds: Double
  let snapshot: SnapshotFigures?
}

/// A repository, its state unless it cannot be opened, and its run.
typealias MeasuredRepository = (path: String, state: RepositoryState?, run: RunFigures?)

/// Atomically writes a file for the textfile collector of Prometheus' node exporter.
func writeMetrics(of repositories: [MeasuredRepository], at now: Timestamp, to path: [UInt8]) throws(Failure) {
  // The collector reads only names that end with .prom, and not the temporary file.
  try replaceFile(at: path, with: metricsText(of: repositories, at: now), mode: 0o644, purpose: "write the metrics")
}

/// The states in the text format of Prometheus. Figures of the last snapshot are there only after a run that took one.
func metricsText(of repositories: [MeasuredRepository], at now: Timestamp) -> String {
  var text = MetricsText()
  for (path, state, run) in repositories {
    text.repository = labelValue(path)
    if let state { text.add(state, at: now) }
    if let run { text.add(run, at: now) }
  }
  return text.text
}

extension MetricsText {
  fileprivate mutating func add(_ state: RepositoryState, at now: Timestamp) {
    add(
      "last_success_timestamp_seconds", help: "When the newest good snapshot of a source was taken.",
      samples: state.sources.map { ("source", $0.source, $0.ageSeconds.map { now.seconds - $0 }) })
    add(
      "database_last_dump_timestamp_seconds", help: "When the newest good dump of a database began.",
      samples: state.databases.map { ("database", $0.database, $0.ageSeconds.map { now.seconds - $0 }) })
    add(
      "database_last_log_timestamp_seconds", help: "When the newest log of a database was archived.",
      samples: state.databases.map { ("database", $0.database, $0.newestLogAgeSeconds.map { now.seconds - $0 }) })
    add(
      "database_missing_logs", help: "Logs that the archive of a database lacks.",
      samples: state.databases.filter { $0.newestLog != nil }.map {
        ("database", $0.database, Int64(clamping: $0.missingLogs.reduce(0) { $0 &+ $1.count }))
      })
    add(
      "push_last_success_timestamp_seconds", help: "When the last push to a remote went well.",
      samples: state.remotes.map { ("remote", $0.remote, $0.arrived.flatMap { Moment.seconds(of: $0) }) })
    add(
      "push_last_snapshot_timestamp_seconds", help: "When the newest snapshot at a remote was taken.",
      samples: state.remotes.map { remote in ("remote", remote.remote, remote.ageSeconds.map { now.seconds - $0 }) })
    add(
      "last_verify_timestamp_seconds", help: "When the last verification began.",
      value: state.lastVerified.flatMap { Moment.seconds(of: $0) }.map { "\($0)" })
    add(
      "verified_since_timestamp_seconds", help: "Everything was verified at this time or later.",
      value: state.verifiedSince.flatMap { Moment.seconds(of: $0) }.map { "\($0)" })
    if let audit = state.lastAudit {
      add(
        "last_audit_timestamp_seconds", help: "When the last audit was done.",
        value: Moment.seconds(of: audit.time).map { "\($0)" })
      add("audit_short", help: "Findings of the last audit that fall short.", value: "\(audit.short)")
    }
    if let drill = state.lastDrill {
      add(
        "last_drill_timestamp_seconds", help: "When the last drill was done.",
        value: Moment.seconds(of: drill.time).map { "\($0)" })
      add("drill_failed", help: "1 where the last drill failed.", value: drill.result == "failed" ? "1" : "0")
    }
    add(state.drills)
    addStored(of: state)
  }

  /// Adds the figures of the repository itself.
  private mutating func addStored(of state: RepositoryState) {
    add("problems", help: "Problems that status names.", value: "\(state.findings.count)")
    add("snapshots", help: "Snapshots in the repository.", value: "\(state.snapshots)")
    add(
      "set_snapshots", help: "Members of a set.",
      samples: state.sets.sorted { $0.key < $1.key }.map { ("set", $0.key, Int64($0.value)) })
    add(
      "damaged_snapshots", help: "Snapshots that are known to be damaged.", value: "\(state.damagedSnapshots.count)")
    add("rotation_held", help: "1 where rotation is held.", value: state.rotationHeld == nil ? "0" : "1")
    add("free_bytes", help: "What is free on the repository's file system.", value: "\(state.bytesFree)")
    add("size_bytes", help: "The size of the repository's file system.", value: "\(state.bytesTotal)")
  }

  /// Adds the figures of the drills of the configuration.
  private mutating func add(_ drills: [RepositoryState.Drill]) {
    func add(_ name: String, help: String, sample: (RepositoryState.Drill) -> Int64?) {
      self.add(name, help: help, samples: drills.map { ("drill", $0.drill, sample($0)) })
    }
    add("drill_timestamp_seconds", help: "When the last drill was done.") {
      $0.time.flatMap { Moment.seconds(of: $0) }
    }
    add("drill_result", help: "0 where the last drill passed, 1 where it had warnings, 2 where it failed.") {
      $0.result.map { $0 == .passed ? 0 : $0 == .warnings ? 1 : 2 }
    }
    add("drill_recovery_seconds", help: "The time of the recovery in the last drill.") {
      $0.totalSeconds.map { Int64($0.rounded(.up)) }
    }
    add("drill_objective_seconds", help: "The recovery time objective.", sample: \.rtoSeconds)
    add("drill_data_age_seconds", help: "The age of the newest data in the last drill.", sample: \.dataAgeSeconds)
  }

  fileprivate mutating func add(_ run: RunFigures, at now: Timestamp) {
    add("last_run_timestamp_seconds", help: "When the last run ended.", value: "\(now.seconds)")
    add("last_run_exit_status", help: "The exit status of the last run.", value: "\(run.exitStatus)")
    add(
      "last_run_duration_seconds", help: "How long the last run took.", value: fixed(run.elapsedSeconds, digits: 3))
    if let snapshot = run.snapshot {
      add("last_snapshot_entries", help: "Entries of the last snapshot.", value: "\(snapshot.entries)")
      add("last_snapshot_bytes", help: "Sizes of the files in the last snapshot.", value: "\(snapshot.bytes)")
      add("last_snapshot_copied_bytes", help: "What the last snapshot copied.", value: "\(snapshot.bytesCopied)")
      add("last_snapshot_warnings", help: "Warnings of the last snapshot.", value: "\(snapshot.warnings)")
    }
  }
}

/// Gauges with the label `repository`. Those of several repositories stand together by their names.
private struct MetricsText {
  private var metrics: [(name: String, help: String, lines: String)] = []
  fileprivate var repository = ""

  var text: String {
    metrics.map { "# HELP treering_\($0.name) \($0.help)\n# TYPE treering_\($0.name) gauge\n\($0.lines)" }.joined()
  }

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
    let text = lines.map { "treering_\(name){repository=\"\(repository)\"\($0.labels)} \($0.value)\n" }.joined()
    if let known = metrics.firstIndex(where: { $0.name == name }) {
      metrics[known].lines += text
    } else {
      metrics.append((name, help, text))
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
