internal import Model
internal import Posix

/// The jobs of systemd and cron that run treering for this user, by their files.
struct InstalledJobs {
  private static let timer = "treering.timer"
  private static let cronDirectories = ["/etc/cron.d", "/etc/cron.hourly", "/etc/cron.daily", "/etc/cron.weekly"]

  /// The paths of the jobs, and `crontab -l`.
  static func all() -> [String] {
    // systemd links an enabled timer there.
    let home = displayName(CurrentProcess.environment("HOME") ?? [])
    let configuration = CurrentProcess.effectiveUser == 0 ? "/etc/systemd/system" : "\(home)/.config/systemd/user"
    let link = "\(configuration)/timers.target.wants/\(timer)"
    var jobs = (try? Descriptor.open(path: Array(link.utf8), .pathOnly)) == nil ? [] : [link]
    var files = ["/etc/crontab", "/etc/anacrontab"].map { Array($0.utf8) }
    for path in cronDirectories.map({ Array($0.utf8) }) {
      let names = (try? Directory(Descriptor.open(path: path, [.read, .directory])).names()) ?? []
      // cron ignores names with a dot.
      files += names.filter { !$0.contains(UInt8(ascii: ".")) }.sorted { $0.lexicographicallyPrecedes($1) }
        .map { path + [slash] + $0 }
    }
    jobs += files.filter { path in
      let text = (try? Descriptor.open(path: path, [.read, .nonBlocking]).readWhole(limit: 1 << 20)) ?? []
      return !Crontab.runs(in: text).isEmpty
    }.map { displayName($0) }
    if let crontab = try? Crontab.read(), crontab.runsTreering { jobs.append("crontab -l") }
    return jobs
  }
}
