internal import Catalog
internal import Model
internal import Posix
internal import Repository

/// Atomically writes a file for the textfile collector of Prometheus' node exporter.
func writeMetrics(
  of state: RepositoryState, _ run: RunAnswer, at now: Timestamp, to path: [UInt8]
) throws(Failure) {
  let (parent, name) = splitLast(path)
  // The collector reads only names that end with .prom.
  let temporary = name + Array(".new".utf8)
  do throws(Errno) {
    let directory = try Descriptor.open(path: parent, [.read, .directory])
    // An existing file or link of this name is neither opened nor followed.
    do throws(Errno) { try directory.unlink(temporary.span) } catch { if error != .noSuchEntry { throw error } }
    let file = try directory.open(temporary.span, [.write, .create, .exclusive], mode: 0o644)
    try file.write(Array(metricsText(state, run, at: now).utf8))
    try file.close()
    try directory.rename(temporary.span, to: directory, as: name.span, replacing: true)
  } catch { throw .writing("write the metrics", at: path, because: error) }
}

private func metricsText(_ state: RepositoryState, _ run: RunAnswer, at now: Timestamp) -> String {
  var text = ""
  let repository = labelValue(state.repository)
  func metric(_ name: String, _ help: String, _ samples: [(labels: [(String, String)], value: String)]) {
    if samples.isEmpty { return }
    text += "# HELP treering_\(name) \(help)\n# TYPE treering_\(name) gauge\n"
    for (labels, value) in samples {
      let all = ([("repository", repository)] + labels).map { "\($0)=\"\($1)\"" }.joined(separator: ",")
      text += "treering_\(name){\(all)} \(value)\n"
    }
  }
  func one(_ name: String, _ help: String, _ value: String) { metric(name, help, [([], value)]) }
  metric(
    "last_success_timestamp_seconds", "When the newest good snapshot of a source was taken.",
    state.sources.compactMap { source in
      source.ageSeconds.map { ([("source", labelValue(source.source))], "\(now.seconds - $0)") }
    })
  one("last_run_timestamp_seconds", "When the last run ended.", "\(now.seconds)")
  one("last_run_exit_status", "The exit status of the last run.", "\(run.exitStatus)")
  one("last_run_duration_seconds", "How long the last run took.", fixed(run.elapsedSeconds, 3))
  if let snapshot = run.snapshot {
    one("last_snapshot_entries", "Entries of the last snapshot.", "\(snapshot.entries)")
    one("last_snapshot_bytes", "Sizes of the files in the last snapshot.", "\(snapshot.bytes)")
    one("last_snapshot_copied_bytes", "What the last snapshot copied.", "\(snapshot.bytesCopied)")
    one("last_snapshot_warnings", "Warnings of the last snapshot.", "\(snapshot.warnings)")
  }
  one("snapshots", "Snapshots in the repository.", "\(state.snapshots)")
  metric(
    "set_snapshots", "Members of a set.",
    state.sets.sorted { $0.key < $1.key }.map { ([("set", $0.key)], "\($0.value)") })
  one("damaged_snapshots", "Snapshots that cannot be used.", "\(state.damagedSnapshots.count)")
  one("rotation_held", "1 where rotation is held.", state.rotationHeld == nil ? "0" : "1")
  one("free_bytes", "What is free on the repository's file system.", "\(state.bytesFree)")
  one("size_bytes", "The size of the repository's file system.", "\(state.bytesTotal)")
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
