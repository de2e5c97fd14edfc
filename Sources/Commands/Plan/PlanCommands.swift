internal import Model
internal import Settings

/// The commands that bring the data back from one copy, for a shell of root on a fresh Debian.
struct PlanCommands {
  let copy: PlanFacts.Copy
  let label: String

  /// The file that holds the password of an encrypted copy on the new machine.
  private var passwordFile: String { "/root/\(copy.name).password" }
  /// The place of dumps that restic brings back.
  private static let dumps = "/var/tmp/recovered"

  private func treering(_ words: [String]) -> String {
    let password = copy.kind == .encrypted ? ["--password-file", passwordFile] : []
    return Self.line(["treering"] + words + ["-r", copy.address] + copy.options + password)
  }

  private func restic(_ words: [String]) -> String {
    let rest = Self.line(["--password-file", passwordFile] + copy.resticOptions + words)
    return "restic -r \(resticAddress) \(rest)"
  }

  /// restic before 0.16 takes the login of a REST server from the address alone.
  private var resticAddress: String {
    let scheme = copy.resticAddress.firstRange(of: "://")
    guard copy.login == .rest, let scheme else { return Self.line([copy.resticAddress]) }
    let parts = [copy.resticAddress[..<scheme.upperBound], copy.resticAddress[scheme.upperBound...]]
    return parts.map { Self.line([String($0)]) }.joined(separator: "\"$login\"@")
  }

  static func line(_ words: [String]) -> String { words.map(shellQuoted).joined(separator: " ") }

  // MARK: The way to the copy

  /// Empty for a file system that is on no device here, such as one of the network.
  var mounting: [String] {
    guard let (device, point) = copy.mount, device.hasPrefix("/dev/") else { return [] }
    return [Self.line(["mkdir", "-p", point]), Self.line(["mount", device, point])]
  }

  /// Asks for the password and the login, so that neither is in the plan. The terminal does not show them.
  var login: [String] {
    guard copy.kind == .encrypted || copy.login != nil else { return [] }
    var lines = ["ask() { [ ! -t 0 ] || stty -echo; IFS= read -r \"$1\"; [ ! -t 0 ] || stty echo; }"]
    if copy.kind == .encrypted {
      lines.append("(umask 077; ask word; printf '%s\\n' \"$word\" > \(shellQuoted(passwordFile)))")
    }
    let names: [String]
    switch copy.login {
    case .s3: names = ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"]
    case .rest: names = ["RESTIC_REST_USERNAME", "RESTIC_REST_PASSWORD"]
    case nil: return lines
    }
    lines += names.map { "ask \($0)" } + ["export \(names.joined(separator: " "))"]
    if copy.login == .rest, copy.kind == .encrypted {
      lines.append("encode() { printf %s \"$1\" | od -An -v -tx1 | tr -d '\\n' | tr ' ' %; }")
      lines.append("login=$(encode \"$RESTIC_REST_USERNAME\"):$(encode \"$RESTIC_REST_PASSWORD\")")
    }
    if let region = copy.region {
      lines.append("export AWS_REGION=\(Self.line([region])) AWS_DEFAULT_REGION=\(Self.line([region]))")
    }
    return lines
  }

  var look: String { treering(["list"]) }
  var lookByRestic: String { restic(["snapshots"]) }

  // MARK: Sources

  /// The directory below which a source is restored. A whole system cannot be restored over the running one.
  /// The disk of another host is mounted by hand.
  private static func target(of source: PlanFacts.Source) -> String {
    source.host.map { "/mnt/\($0)" } ?? (source.path == "/" ? "/mnt" : "/")
  }

  private static func keepingSettings(of source: PlanFacts.Source) -> [String] {
    if source.host != nil { return [line(["mkdir", "-p", target(of: source)])] }
    // Once /etc is restored, a repetition must not take its file for that of the new machine.
    return source.path == "/etc" ? ["[ -e /root/fstab.new ] || cp -a /etc/fstab /root/fstab.new"] : []
  }

  /// Restores a source, and then compares it with the copy.
  func restore(_ source: PlanFacts.Source) -> [String] {
    let words = ["restore", "latest", source.stored, "--to", Self.target(of: source), "--overwrite"]
    // The digests of restic's format are not those of whole files.
    let check = copy.kind == .encrypted ? "if-changed" : "if-different"
    return Self.keepingSettings(of: source)
      + [treering(words + ["if-changed"]), treering(words + [check, "--dry-run"])]
  }

  func restoreByRestic(_ source: PlanFacts.Source) -> [String] {
    if let host = source.host {
      let words = [
        "restore", "latest", "--host", label, "--tag", "label=\(host)", "--include", "/" + source.stored,
      ]
      return [restic(words + ["--target", "/mnt", "--verify"])]
    }
    let words = ["restore", "latest", "--host", label, "--path", source.path, "--include", source.path, "--verify"]
    guard source.path == "/etc" else { return [restic(words + ["--target", Self.target(of: source)])] }
    // restic before 0.17 replaces no symbolic link, and a new machine has some of /etc already.
    return Self.keepingSettings(of: source)
      + [restic(words + ["--target", Self.dumps]), Self.copying("\(Self.dumps)/etc", to: "/etc")]
  }

  private static func copying(_ directory: String, to target: String) -> String {
    line(["cp", "-a", "--remove-destination", "\(directory)/.", "\(target)/"])
  }

  /// Copies a source from a repository of treering on this machine, whose snapshots are plain trees.
  func copyPlainly(_ source: PlanFacts.Source) -> [String] {
    let isRoot = source.path == "/"
    let target = isRoot ? Self.target(of: source) : source.path
    if let host = source.host {
      let place = Self.target(of: source) + (isRoot ? "" : source.path)
      return [
        Self.line(["mkdir", "-p", place]), Self.copying("\(copy.address)/latest/\(host)\(source.path)", to: place),
      ]
    }
    let stored = copy.address + "/latest/" + label + (isRoot ? "" : source.path)
    return Self.keepingSettings(of: source)
      + [Self.line(["mkdir", "-p", target]), Self.copying(stored, to: target)]
  }

  // MARK: Databases

  /// Loads a dump, or makes a directory of it, by treering.
  func load(_ database: PlanFacts.Database) -> [String] {
    let settings = database.settings
    let loading = PlanLoading(of: database, in: Self.dumps)
    func restore(_ words: [String]) -> String { treering(["database", "restore", database.name] + words) }
    switch (settings.kind, settings.mode) {
    case (.pgbackrest, _): return loading.lines
    // The snapshots of an encrypted copy do not name the kind of a dump.
    case _ where copy.kind == .encrypted: return fetchDump(database) + loading.lines
    case (.postgresql, .logical), (.mysql, .logical):
      guard let place = loading.place else { return fetchDump(database) + loading.lines }
      let globals = settings.kind == .postgresql ? ["--globals"] : []
      return [restore(["--into"] + place + globals + ["--yes"])] + loading.looks
    case (.sqlite, _):
      let path = settings.path ?? ""
      let parent = path.split(separator: "/").dropLast().joined(separator: "/")
      return [Self.line(["mkdir", "-p", "/\(parent)"]), restore(["--into", path, "--replace", "--yes"])] + loading.looks
    case (.postgresql, .physical):
      return [Self.line(["mkdir", "-p", "/var/lib/postgresql"]), restore(["--to", loading.data])] + loading.start
        + loading.looks
    case (.mysql, .physical):
      let made = "\(loading.data)-\(database.name)"
      return [restore(["--to", made])] + loading.stop + [Self.line(["mv", made, loading.data])] + loading.start
        + loading.looks
    case (.command, _): return [restore(["--to", "\(Self.dumps)/databases/\(database.name)"])]
    }
  }

  /// Brings the dump back by treering, as files.
  private func fetchDump(_ database: PlanFacts.Database) -> [String] {
    let words = ["restore", "latest", "databases/\(database.name)", "--to", "\(Self.dumps)/databases"]
    return [Self.line(["mkdir", "-p", Self.dumps]), treering(words + ["--overwrite", "if-changed"])]
  }

  func loadByRestic(_ database: PlanFacts.Database) -> [String] {
    let loading = PlanLoading(of: database, in: Self.dumps)
    if database.settings.kind == .pgbackrest { return loading.lines }
    let words = ["restore", "latest", "--host", label, "--tag", "label=databases", "--target", Self.dumps]
    return [restic(words + ["--include", "/databases/\(database.name)", "--verify"])] + loading.lines
  }
}
