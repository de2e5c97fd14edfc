internal import Model
internal import Posix
internal import Repository

/// One step of `schedule --install` or `--remove`.
struct ScheduleChange: Encodable {
  enum Action: String, Encodable { case write, keep, remove, run }

  let action: Action
  /// The path of a file, or a command line.
  let object: String

  func line(isDryRun: Bool) -> String {
    switch action {
    case .write: "\(isDryRun ? "would write" : "wrote") \(object)"
    case .keep: "\(object) is there already"
    case .remove: "\(isDryRun ? "would remove" : "removed") \(object)"
    case .run: "\(isDryRun ? "would run" : "ran") \(object)"
    }
  }
}

/// Installs and removes the job, and keeps a list of the steps.
///
/// All files are checked before the first one is changed.
final class ScheduleChanges {
  private let isDryRun: Bool
  private let isForSystem = CurrentProcess.effectiveUser == 0
  private(set) var done: [ScheduleChange] = []

  init(isDryRun: Bool) { self.isDryRun = isDryRun }

  var lines: [String] {
    done.isEmpty ? ["schedule has installed nothing here"] : done.map { $0.line(isDryRun: isDryRun) }
  }

  func install(_ job: ScheduledJob, as kind: ScheduleKind) throws(Failure) {
    if kind == .user && isForSystem {
      throw Failure(.usage, "root's job is a job of the system", hint: "take --install systemd or --install cron")
    }
    if kind == .systemd || kind == .user && hasServiceManager {
      try installUnits(of: job)
    } else if isForSystem {
      let file = try ScheduledFile(at: Self.cronFile)
      try file.checkUnedited()
      try write(job.cronText, to: file)
    } else {
      try writeCrontab(replacingJobWith: job.cronText)
    }
  }

  func remove() throws(Failure) {
    var files: [ScheduledFile] = []
    let paths = unitNames.map { unitDirectory + [slash] + $0 } + (isForSystem ? [Self.cronFile] : [])
    for path in paths {
      // A directory that is missing holds no file.
      guard let file = try? ScheduledFile(at: path), file.exists else { continue }
      try file.checkUnedited()
      files.append(file)
    }
    let hasUnits = files.contains { $0.path != Self.cronFile }
    if hasUnits, hasServiceManager { try systemctl(["disable", "--now", "treering.timer"]) }
    for file in files {
      if !isDryRun { try file.remove() }
      add(.remove, of: displayName(file.path))
    }
    if hasUnits, hasServiceManager { try systemctl(["daemon-reload"]) }
    if !isForSystem { try writeCrontab(replacingJobWith: nil) }
  }

  private func add(_ action: ScheduleChange.Action, of object: String) {
    done.append(ScheduleChange(action: action, object: object))
  }

  private func write(_ text: MarkedText, to file: ScheduledFile) throws(Failure) {
    if file.content == text.bytes { return add(.keep, of: displayName(file.path)) }
    if !isDryRun { try file.replace(with: text.bytes) }
    add(.write, of: displayName(file.path))
  }

  private static let cronFile = Array("/etc/cron.d/treering".utf8)

  // MARK: systemd

  private var unitNames: [[UInt8]] { ScheduledJob(program: "").units.map { Array($0.name.utf8) } }

  private var unitDirectory: [UInt8] {
    isForSystem
      ? Array("/etc/systemd/system".utf8)
      : (CurrentProcess.environment("HOME") ?? []) + Array("/.config/systemd/user".utf8)
  }

  /// The directory of the service manager's sockets for this user. A process of cron has no variable with it.
  private var runtimeDirectory: [UInt8] {
    CurrentProcess.environment("XDG_RUNTIME_DIR") ?? Array("/run/user/\(CurrentProcess.effectiveUser)".utf8)
  }

  /// True if systemd runs, for the system or for this user; `sd_booted(3)`.
  private var hasServiceManager: Bool {
    let directory = isForSystem ? Array("/run/systemd/system".utf8) : runtimeDirectory + Array("/systemd".utf8)
    return (try? Descriptor.open(path: directory, [.pathOnly, .directory])) != nil
  }

  private func installUnits(of job: ScheduledJob) throws(Failure) {
    guard hasServiceManager else {
      throw Failure(
        .usage, "systemd does not run here\(isForSystem ? "" : " for this user")", hint: "take --install cron")
    }
    if !isDryRun { try makeDirectories(to: unitDirectory) }
    var units: [(file: ScheduledFile, text: MarkedText)] = []
    for (name, text) in job.units {
      units.append((try ScheduledFile(at: unitDirectory + [slash] + Array(name.utf8)), MarkedText(text)))
    }
    for unit in units { try unit.file.checkUnedited() }
    for unit in units { try write(unit.text, to: unit.file) }
    try systemctl(["daemon-reload"])
    try systemctl(["enable", "--now", "treering.timer"])
  }

  private func systemctl(_ arguments: [String]) throws(Failure) {
    let command = ["systemctl"] + (isForSystem ? [] : ["--user"]) + arguments
    if !isDryRun {
      try Tool(command, environment: isForSystem ? [] : [("XDG_RUNTIME_DIR", runtimeDirectory)]).run()
    }
    add(.run, of: command.joined(separator: " "))
  }

  // MARK: crontab

  /// Replaces the job in the user's crontab, adds it, or with `nil` removes it.
  private func writeCrontab(replacingJobWith text: MarkedText?) throws(Failure) {
    var crontab = try Crontab.read()
    try crontab.checkUnedited()
    if crontab.job == text?.bytes { return text == nil ? () : add(.keep, of: "the job in the crontab") }
    crontab.job = text?.bytes
    if !isDryRun { try crontab.write() }
    add(text == nil ? .remove : .write, of: "the job in the crontab")
  }
}
