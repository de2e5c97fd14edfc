internal import CPosix
internal import Catalog
internal import Glibc

extension Process {
  /// Takes away, for good, what this thread and the threads and programs it starts from now on can reach outside
  /// `directories`, and every TCP connection; so it is called before other threads start. `landlock(7)`.
  ///
  /// Outside, nothing can be opened, made, linked, renamed or removed (`accessDenied`; `crossDevice` for links and
  /// renames across the border): by whatever path, and also from a descriptor that leads there. Files that are
  /// open stay so. The kernel does not guard status, mode, owner, times and attributes.
  ///
  /// False, with nothing done, where the kernel has no Landlock, or the one of Linux 5.13 to 5.18, which lets nobody
  /// link a file into another directory, or where a filter of a container refuses the call (`notPermitted`).
  public static func confine(to directories: [Directory]) throws(Errno) -> Bool {
    let version = try landlockVersion()
    guard version >= 2 else { return false }
    // They read files of the system once, at their first use, and would do without in silence.
    _ = SHA256()
    _ = tr_may_copy_xattr("user.none")
    _ = Clock.localFields(0)
    let raw = directories.map { $0.descriptor.raw }
    _ = try perform(.landlock_restrict_self) { tr_landlock_confine(raw, raw.count, CInt(version)) }
    return true
  }

  /// The version of the kernel's Landlock; 0 where it has none, or was started without.
  static func landlockVersion() throws(Errno) -> Int {
    do throws(Errno) {
      return try perform(.landlock_create_ruleset) { tr_landlock_abi() }
    } catch {
      if [.notImplemented, .notSupported, .notPermitted].contains(error) { return 0 }
      throw error
    }
  }
}
