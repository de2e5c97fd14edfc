internal import Model
internal import Posix
internal import Repository
internal import Settings

/// A path for use in a job. Throws `usage` if cron or systemd would interpret its characters.
func plain(_ path: [UInt8]) throws(Failure) -> String {
  let shown = displayName(path)
  if shown.contains(where: { " %\"\\';$#".contains($0) }) {
    throw Failure(.usage, "the path \(shown) has characters that cron and systemd read otherwise")
  }
  return shown
}

/// The hourly job, in the forms of cron and of systemd.
struct ScheduledJob {
  let program, config: String
  /// True for a system job. An ordinary user's job is a user job, because root would not use that user's configuration.
  let isForSystem: Bool
  /// The repositories; none if the configuration that names them is not known.
  let repositories: [String]
  /// Further directories that a run writes, in the form of `ReadWritePaths=`.
  private var writablePaths: [String] = []
  /// True if the recovery plan is kept in its standard directory.
  private var keepsPlan = false
  private var usesNetwork = false
  /// True if runs do drills, which need more rights.
  private var rehearses = false
  /// True if runs make frozen snapshots, and a mount namespace for them.
  private var freezes = false
  /// True if programs of databases run as other users.
  private var becomesUsers = false
  /// True if they do so in a mount namespace.
  private var dumpsFiles = false

  /// A job for any machine with the configuration at its usual place.
  init(program: String) {
    self.program = program
    config = "/etc/treering/treering.toml"
    isForSystem = true
    repositories = []
    usesNetwork = true
  }

  init(program: String, config: String, options common: CommonOptions) throws(Failure) {
    (self.program, self.config) = (program, config)
    isForSystem = CurrentProcess.effectiveUser == 0
    // The configuration may not exist yet.
    if let file = try? common.configurationOfSeveral() {
      repositories = try file.repositories.compactMap(\.repositoryPath).map { path throws(Failure) in try plain(path) }
      for one in [file] + file.repositories { try add(one.settings) }
      return
    }
    let isElsewhere = common.isRepositoryElsewhere
    let path = isElsewhere ? CacheDirectory.base : try? common.repositoryPath()
    usesNetwork = isElsewhere
    if case .restic(let path)? = try? common.remoteAddress() { writablePaths.append("-" + (try plain(path))) }
    repositories = try path.map { path throws(Failure) in [try plain(absolutePath(of: path))] } ?? []
    guard let settings = try? common.configuration()?.settings else {
      usesNetwork = true
      return
    }
    try add(settings)
  }

  /// Adds the needs of a run with these settings.
  private mutating func add(_ settings: Configuration) throws(Failure) {
    if let metrics = settings.metricsTextfile {
      writablePaths.append(try plain(splitLast(of: Array(metrics.utf8)).parent))
    }
    for case let archive? in settings.databases.map(\.archive) {
      writablePaths.append("-" + (try plain(Array(archive.utf8))))
    }
    dumpsFiles = dumpsFiles || settings.databases.contains { $0.kind == .sqlite }
    becomesUsers =
      becomesUsers || dumpsFiles || !settings.sites.isEmpty || settings.databases.contains { $0.user != nil }
    if let directory = settings.plan.map(\.directory) {
      if let directory { writablePaths.append("-" + (try plain(Array(directory.utf8)))) } else { keepsPlan = true }
    }
    // The mail waits there for its delivery.
    if settings.mail != nil { writablePaths.append("-/var/spool") }
    if settings.drills.contains(where: { $0.everySeconds != nil }) {
      rehearses = true
      writablePaths.append(try plain(TableDrill.parent))
    }
    if settings.healthchecks != nil || settings.webhook != nil || settings.sources.contains(where: { $0.host != nil })
      || settings.drills.contains(where: { $0.healthchecks != nil })
    {
      usesNetwork = true
    }
    if settings.sources.contains(where: { $0.freeze != nil }) {
      freezes = true
      writablePaths.append("/run")
    }
    if settings.sources.contains(where: { $0.freeze == .lvm }) { writablePaths.append("-/etc/lvm") }
    for remote in settings.remotes {
      // The repository on a second disk need not be present for a snapshot.
      switch remote.address {
      case .local(let path), .restic(let path): writablePaths.append("-" + (try plain(path)))
      case .ssh, .storage: usesNetwork = true
      }
    }
  }

  // MARK: cron

  private var cronCommand: String { "nice -n 10 ionice -c 3 \(program) run --config \(config)" }

  /// The file in `/etc/cron.d`, or the lines of a user's crontab.
  var cronText: MarkedText {
    isForSystem
      ? MarkedText(
        """
        # For /etc/cron.d/treering. A good run prints nothing; what is printed is mailed to MAILTO.
        MAILTO=root
        4 * * * * root \(cronCommand)
        """)
      : MarkedText(
        """
        # For crontab -e. A good run prints nothing; what is printed is mailed to you.
        4 * * * * \(cronCommand)
        """)
  }

  // MARK: systemd

  /// The names of the units, and their texts.
  var units: [(name: String, text: String)] {
    [("treering.service", service), ("treering-failure.service", failureService), ("treering.timer", timer)]
  }

  /// The output of `schedule --systemd`.
  var systemdText: String {
    let directory = isForSystem ? "/etc/systemd/system" : "~/.config/systemd/user"
    let last = "then: systemctl \(isForSystem ? "" : "--user ")enable --now treering.timer"
    return units.enumerated().map { number, unit in
      let lines = number + 1 < units.count ? "the lines up to the next number" : "the rest"
      let then = number + 1 < units.count ? "" : ", " + last
      return "# \(number + 1). Put \(lines) into \(directory)/\(unit.name)\(then)\n" + MarkedText(unit.text).text
    }.joined(separator: "\n")
  }

  private var service: String {
    // One of several repositories may be absent without harm to the others.
    let needed = [config] + (repositories.count == 1 ? repositories : [])
    let mounts = isForSystem ? "RequiresMountsFor=\(needed.joined(separator: " "))\n" : ""
    // A user's service manager knows no network target.
    let network = "Wants=network-online.target\nAfter=network-online.target\n"
    return """
      [Unit]
      Description=Snapshots by treering
      Documentation=man:treering(1) man:treering.toml(5)
      \(mounts)\(isForSystem && usesNetwork ? network : "")OnFailure=treering-failure.service

      [Service]
      Type=oneshot
      # The step that a run has reached is the status of the unit.
      NotifyAccess=main
      ExecStart=\(program) run --config \(config)
      # A run with warnings counts as failed; where a file that cannot be read is nothing new: SuccessExitStatus=1
      UMask=0077
      Nice=10
      IOSchedulingClass=idle
      \(isForSystem ? protection : "NoNewPrivileges=yes\n")
      """
  }

  /// The protections that let the program read everything and write the repository.
  ///
  /// A user's service manager has few rights, so its services need no protection. It cannot mount read-only either.
  private var protection: String {
    // A drill makes namespaces and control groups, and runs servers as their accounts and programs that compile code.
    let forbidden = rehearses ? "no" : "yes"
    let more =
      (rehearses || becomesUsers ? " CAP_SETUID CAP_SETGID CAP_SETPCAP CAP_KILL" : "")
      + (rehearses ? " CAP_NET_ADMIN CAP_NET_BIND_SERVICE CAP_NET_RAW CAP_SYS_CHROOT CAP_AUDIT_WRITE" : "")
      + (freezes && !rehearses ? " CAP_SYS_CHROOT" : "")
    let paths =
      (repositories.map { repositories.count == 1 ? $0 : "-\($0)" } + writablePaths).map { "ReadWritePaths=\($0)\n" }
      .joined()
      + (keepsPlan ? "StateDirectory=treering-plan\nStateDirectoryMode=0700\n" : "")
    return """
      # What follows holds for hooks as well: one that becomes another user, say, needs CAP_SETUID and CAP_SETGID
      # below and NoNewPrivileges=no, and one that writes elsewhere another line ReadWritePaths=.
      ProtectSystem=\(repositories.isEmpty ? "full" : "strict")
      \(repositories.isEmpty ? "" : paths)PrivateNetwork=no
      PrivateTmp=no
      ProtectKernelTunables=yes
      ProtectKernelModules=yes
      ProtectKernelLogs=yes
      ProtectControlGroups=\(forbidden)
      ProtectClock=yes
      ProtectHostname=yes
      LockPersonality=yes
      MemoryDenyWriteExecute=\(forbidden)
      NoNewPrivileges=yes
      RestrictRealtime=yes
      RestrictNamespaces=\(freezes || dumpsFiles ? "no" : forbidden)
      RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6\(rehearses ? " AF_NETLINK" : "")
      SystemCallArchitectures=native
      CapabilityBoundingSet=CAP_DAC_OVERRIDE CAP_DAC_READ_SEARCH CAP_CHOWN CAP_FOWNER CAP_FSETID CAP_MKNOD CAP_SETFCAP CAP_SYS_ADMIN CAP_SYS_PTRACE CAP_LEASE\(more)

      """
  }

  private var failureService: String {
    let journal = isForSystem ? "journalctl -u treering" : "journalctl --user -u treering"
    return """
      [Unit]
      Description=Says that treering failed
      Documentation=man:treering-schedule(1)

      [Service]
      Type=oneshot
      # Replace or extend this line with whatever mails or pages you.
      ExecStart=/usr/bin/logger -p daemon.crit -t treering "failed: see \(journal), and treering status"

      """
  }

  private var timer: String {
    """
    \(isForSystem ? "" : "# So that it runs while you are not logged in: loginctl enable-linger\n")[Unit]
    Description=Snapshots by treering every hour
    Documentation=man:treering-schedule(1)

    [Timer]
    OnCalendar=hourly
    RandomizedDelaySec=4min
    Persistent=yes

    [Install]
    WantedBy=timers.target

    """
  }
}
