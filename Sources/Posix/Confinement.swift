internal import CPosix

extension CurrentProcess {
  /// Permanently denies this thread access outside `directories`, and all TCP connections; `landlock(7)`.
  ///
  /// Threads and programs that the thread starts later inherit the denial. Call it before other threads start.
  /// Outside, no file or directory can be opened, made, linked, renamed or removed, by any path or descriptor. Such a
  /// call throws `accessDenied`; links and renames across the border throw `crossDevice`. Open files stay open. The
  /// kernel does not guard status, mode, owner, times and attributes.
  ///
  /// False, with no effect, if the kernel has no Landlock, or if a container's filter refuses the call
  /// (`notPermitted`). Also false on Linux 5.13 to 5.18, whose Landlock forbids all links into another directory.
  public static func confine(to directories: [Directory]) throws(Errno) -> Bool {
    let version = try landlockVersion()
    guard version >= 2 else { return false }
    // These functions read system files once, at their first use, and would silently do without them later.
    _ = tr_may_copy_xattr("user.none")
    _ = Clock.localFields(of: 0)
    let raw = directories.map { $0.descriptor.raw }
    _ = try perform(.landlock_restrict_self) { tr_landlock_confine(raw, raw.count, CInt(version)) }
    return true
  }

  /// Moves this thread, and the programs that it starts later, into the network namespace of a process; `setns(2)`.
  public static func enterNetwork(of process: Int32) throws(Errno) {
    _ = try perform(.setns) { tr_enter_network(process) }
  }

  /// The version of the kernel's Landlock; 0 if the kernel has none or was started without it.
  static func landlockVersion() throws(Errno) -> Int {
    do throws(Errno) { return try perform(.landlock_create_ruleset) { tr_landlock_abi() } } catch {
      if [.notImplemented, .notSupported, .notPermitted].contains(error) { return 0 }
      throw error
    }
  }
}
