internal import ArgumentParser
internal import Model
internal import Posix
internal import Repository
internal import Settings

struct ScheduleCommand: RunnableCommand {
  static let configuration = CommandConfiguration(
    commandName: "schedule", abstract: "Print entries for cron or systemd that run treering every hour.",
    discussion: """
      Nothing is installed: the first lines say where to put what follows. Root gets a job of the system, and \
      another user a job of that user's own.

      Examples:
        treering schedule --cron > /etc/cron.d/treering      # as root
        treering schedule --systemd
      """)

  @Flag(help: "Print a file for /etc/cron.d, or, for an ordinary user, lines for crontab -e.")
  var cron = false

  @Flag(help: "Print a service and a timer for systemd.")
  var systemd = false

  @OptionGroup var common: CommonOptions

  func execute() throws -> ExitStatus {
    guard cron != systemd else { throw Failure(.usage, "schedule takes either --cron or --systemd") }
    let program = try Self.plain(Self.programPath())
    let config = try Self.plain(absolutePath(of: common.config?.bytes ?? ConfigurationFile.defaultPath))
    let text = cron ? Self.cronText(running: program, with: config) : try systemdText(running: program, with: config)
    if common.json {
      Console.print(jsonText(ScheduleAnswer(kind: cron ? "cron" : "systemd", text: text)))
    } else {
      Console.write(text, to: .output)
    }
    return .done
  }

  /// A path for use in an entry. Throws `usage` if cron or systemd would interpret its characters.
  private static func plain(_ path: [UInt8]) throws(Failure) -> String {
    let shown = displayName(path)
    if shown.contains(where: { " %\"\\';".contains($0) }) {
      throw Failure(.usage, "the path \(shown) has characters that cron and systemd read otherwise")
    }
    return shown
  }

  private static func programPath() throws(Failure) -> [UInt8] {
    do { return try CurrentProcess.programFile() } catch {
      throw Failure(.failed, "cannot find out where treering is: \(error)")
    }
  }

  /// True for a system job. An ordinary user's job is a user job, because root would not use that user's configuration.
  private static var isForSystem: Bool { CurrentProcess.effectiveUser == 0 }

  private static func cronText(running program: String, with config: String) -> String {
    guard isForSystem else {
      return """
        # Put this into your crontab with: crontab -e. A good run prints nothing; what is printed is mailed to you.
        4 * * * * \(program) run --config \(config)

        """
    }
    return """
      # Put this into /etc/cron.d/treering. A good run prints nothing; what is printed is mailed to MAILTO.
      MAILTO=root
      4 * * * * root \(program) run --config \(config)

      """
  }

  /// The systemd units. They have all protections that let the program read everything and write the repository.
  private func systemdText(running program: String, with config: String) throws(Failure) -> String {
    // The configuration may not exist yet.
    let path = try? common.repositoryPath()
    let repository = try path.map { path throws(Failure) in try Self.plain(absolutePath(of: path)) }
    var writable = repository.map { "ReadWritePaths=\($0)\n" } ?? ""
    if let metrics = try? common.configuration()?.settings.metricsTextfile {
      writable += "ReadWritePaths=\(try Self.plain(splitLast(of: Array(metrics.utf8)).parent))\n"
    }
    // The repository on a second disk need not be present for a snapshot.
    for remote in (try? common.configuration()?.settings.remotes) ?? [] {
      guard case .local(let path) = remote.address else { continue }
      writable += "ReadWritePaths=-\(try Self.plain(path))\n"
    }
    let isForSystem = Self.isForSystem
    let directory = isForSystem ? "/etc/systemd/system" : "~/.config/systemd/user"
    let systemctl = isForSystem ? "systemctl" : "systemctl --user"
    let journal = isForSystem ? "journalctl -u treering" : "journalctl --user -u treering"
    // A user's service manager has few rights, so its services need no protection. It cannot mount read-only either.
    let protection = """
      # What follows holds for hooks as well: one that becomes another user, say, needs CAP_SETUID and CAP_SETGID
      # below and NoNewPrivileges=no, and one that writes elsewhere another line ReadWritePaths=.
      ProtectSystem=strict
      \(writable)PrivateNetwork=no
      PrivateTmp=no
      ProtectKernelTunables=yes
      ProtectKernelModules=yes
      ProtectKernelLogs=yes
      ProtectControlGroups=yes
      ProtectClock=yes
      ProtectHostname=yes
      LockPersonality=yes
      MemoryDenyWriteExecute=yes
      NoNewPrivileges=yes
      RestrictRealtime=yes
      RestrictNamespaces=yes
      RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6
      SystemCallArchitectures=native
      CapabilityBoundingSet=CAP_DAC_OVERRIDE CAP_DAC_READ_SEARCH CAP_CHOWN CAP_FOWNER CAP_FSETID CAP_MKNOD CAP_SETFCAP CAP_SYS_ADMIN CAP_LEASE

      """
    let mounts = isForSystem ? "RequiresMountsFor=\(config)\(repository.map { " \($0)" } ?? "")\n" : ""
    return """
      # 1. Put the lines up to the next number into \(directory)/treering.service
      [Unit]
      Description=Snapshots by treering
      \(mounts)OnFailure=treering-failure.service

      [Service]
      Type=notify
      ExecStart=\(program) run --config \(config)
      # A run with warnings counts as failed; where a file that cannot be read is nothing new: SuccessExitStatus=1
      TimeoutStartSec=infinity
      Nice=10
      IOSchedulingClass=idle
      \(isForSystem ? protection : "NoNewPrivileges=yes\n")
      # 2. Put the lines up to the next number into \(directory)/treering-failure.service
      [Unit]
      Description=Says that treering failed

      [Service]
      Type=oneshot
      # Replace or extend this line with whatever mails or pages you.
      ExecStart=/usr/bin/logger -p daemon.crit -t treering "failed: see \(journal), and treering status"

      # 3. Put the rest into \(directory)/treering.timer, then: \(systemctl) enable --now treering.timer
      \(isForSystem ? "" : "# So that it runs while you are not logged in: loginctl enable-linger\n")[Unit]
      Description=Snapshots by treering every hour

      [Timer]
      OnCalendar=hourly
      RandomizedDelaySec=4min
      Persistent=yes

      [Install]
      WantedBy=timers.target

      """
  }
}

/// The document of `schedule --json`.
struct ScheduleAnswer: Encodable {
  let kind: String
  let text: String
}
