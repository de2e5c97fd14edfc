internal import Model
internal import Posix

/// The program that started this one.
enum RunStarter: String, Codable {
  case systemd, cron, terminal, other

  /// The starter of this process. systemd sets `SYSTEMD_EXEC_PID` (systemd.exec(5)), and cron is an ancestor.
  static func current() -> RunStarter {
    // The run of one of several repositories is a child of the run of all.
    let processes = [CurrentProcess.identifier, CurrentProcess.parent].map { Array("\($0)".utf8) }
    if let process = CurrentProcess.environment("SYSTEMD_EXEC_PID"), processes.contains(process) { return .systemd }
    let ancestors = CurrentProcess.ancestors()
    if ancestors.contains(where: { ["cron", "crond", "anacron", "fcron"].contains(displayName($0)) }) { return .cron }
    let streams: [StandardStream] = [.input, .output, .error]
    return streams.contains { CurrentProcess.terminalWidth(of: $0) != nil } ? .terminal : .other
  }
}
