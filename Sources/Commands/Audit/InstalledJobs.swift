internal import Model
internal import Posix

/// The jobs of systemd and cron that run treering with a configuration for this user, by their files.
struct InstalledJobs {
  private static let unit = "treering"
  private static let table = "/etc/cron.d"
  private static let scripts = ["/etc/cron.hourly", "/etc/cron.daily", "/etc/cron.weekly"]

  /// The paths of the jobs, and `crontab -l`.
  static func all(of configuration: [UInt8]) -> [String] {
    var files = ["/etc/crontab", "/etc/anacrontab"].map { Array($0.utf8) } + names(in: table)
    // run-parts(8) skips files that are not executable.
    files += scripts.flatMap(names).filter { path in
      ((try? Descriptor.open(path: path, .pathOnly).status().permissions) ?? 0) & 0o111 != 0
    }
    var jobs = timer(of: configuration).map { [$0] } ?? []
    jobs += files.filter { !Crontab.runs(in: text(of: $0), of: configuration).isEmpty }.map { displayName($0) }
    if let crontab = try? Crontab.read(), crontab.runsTreering(with: configuration) { jobs.append("crontab -l") }
    return jobs
  }

  /// The link to the enabled timer, unless its service is here and runs something else.
  private static func timer(of configuration: [UInt8]) -> String? {
    let home = displayName(CurrentProcess.environment("HOME") ?? [])
    let directory = CurrentProcess.effectiveUser == 0 ? "/etc/systemd/system" : "\(home)/.config/systemd/user"
    let link = "\(directory)/timers.target.wants/\(unit).timer"
    guard (try? Descriptor.open(path: Array(link.utf8), .pathOnly)) != nil else { return nil }
    let services = [directory, "/usr/lib/systemd/system", "/usr/lib/systemd/user"]
    let service = services.lazy.map { text(of: Array("\($0)/\(unit).service".utf8)) }.first { !$0.isEmpty }
    return service.map { !Crontab.runs(in: $0, of: configuration).isEmpty } ?? true ? link : nil
  }

  /// The files of a directory in the order of their names. cron ignores names with a dot.
  private static func names(in directory: String) -> [[UInt8]] {
    let path = Array(directory.utf8)
    let names = (try? Directory(Descriptor.open(path: path, [.read, .directory])).names()) ?? []
    return names.filter { !$0.contains(UInt8(ascii: ".")) }.sorted { $0.lexicographicallyPrecedes($1) }
      .map { path + [slash] + $0 }
  }

  private static func text(of path: [UInt8]) -> [UInt8] {
    (try? Descriptor.open(path: path, [.read, .nonBlocking]).readWhole(limit: 1 << 20)) ?? []
  }
}
