internal import Model
internal import Posix

/// The program that started this one.
enum RunStarter: String, Codable {
  case systemd, cron, terminal, other

  /// The starter of this process. systemd sets `SYSTEMD_EXEC_PID` (systemd.exec(5)), and cron is an ancestor.
  static func current() -> RunStarter {
    if CurrentProcess.environment("SYSTEMD_EXEC_PID") == Array("\(CurrentProcess.identifier)".utf8) { return .systemd }
    let ancestors = CurrentProcess.ancestors()
    if ancestors.contains(where: { ["cron", "crond", "anacron", "fcron"].contains(displayName($0)) }) { return .cron }
    let streams: [StandardStream] = [.input, .output, .error]
    return streams.contains { CurrentProcess.terminalWidth(of: $0) != nil } ? .terminal : .other
  }
}
