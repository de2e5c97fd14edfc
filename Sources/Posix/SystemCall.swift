import Synchronization

/// The calls that `SystemCallTrace` can count and fail, by their names in section 2 of the manual.
public enum SystemCall: String, CaseIterable, Sendable {
  case openat, close, read, pread, write, pwrite, lseek, ftruncate, fallocate, ioctl, statx, fstatfs, getdents64
  case linkat, unlinkat, mkdirat, mknodat, symlinkat, readlinkat, renameat2
  case fchmod, fchownat, utimensat, listxattr, getxattr, setxattr, removexattr
  case fsync, syncfs, flock, getrandom, realpath, fpathconf, fork, poll, waitpid, kill, sendto
  case fcntl, memfd_create, landlock_create_ruleset, landlock_restrict_self, setns
}

/// Runs one call: the only place that retries EINTR and turns a negated errno into an error.
///
/// `close` is never retried: Linux has released the descriptor even if it reports EINTR. Use `endsAtSignal` for a
/// call that may wait forever, such as for another program. It then throws `interrupted` after a remembered signal.
@inline(__always)
func perform(_ call: SystemCall, endsAtSignal: Bool = false, body: () -> Int) throws(Errno) -> Int {
  #if DEBUG
    if let forced = SystemCallTrace.enter(call) { throw forced }
  #endif
  while true {
    let result = body()
    if result >= 0 { return result }
    let error = Errno(Int32(truncatingIfNeeded: -result))
    if error == .interrupted, call != .close, !endsAtSignal || CurrentProcess.rememberedSignal == nil { continue }
    throw error
  }
}

/// Counts calls and makes chosen calls fail in debug builds; does nothing in release builds.
///
/// Process-wide: a test that uses it must run alone.
public enum SystemCallTrace {
  struct State {
    var recording = false
    var counts: [SystemCall: Int] = [:]
    var failures: [SystemCall: (countdown: Int, error: Errno)] = [:]
  }
  private static let state = Mutex(State())

  /// True if the build can record.
  public static var isAvailable: Bool {
    #if DEBUG
      true
    #else
      false
    #endif
  }

  /// Counts the calls of `body` on any thread; `failing` makes the n-th call of a kind (from 1) fail.
  public static func record(
    failing failures: [SystemCall: (nth: Int, error: Errno)] = [:], body: () throws -> Void
  ) rethrows -> [SystemCall: Int] {
    state.withLock {
      $0 = State(recording: true, counts: [:], failures: failures.mapValues { (countdown: $0.nth, error: $0.error) })
    }
    defer { state.withLock { $0 = State() } }
    try body()
    return state.withLock { $0.counts }
  }

  /// Runs `body` uncounted, because its calls depend on other processes.
  static func uncounted<R>(body: () throws(Errno) -> R) throws(Errno) -> R {
    #if DEBUG
      let wasRecording = state.withLock { state in
        defer { state.recording = false }
        return state.recording
      }
      defer { state.withLock { $0.recording = wasRecording } }
    #endif
    return try body()
  }

  #if DEBUG
    static func enter(_ call: SystemCall) -> Errno? {
      state.withLock { state in
        guard state.recording else { return nil }
        state.counts[call, default: 0] += 1
        guard let failure = state.failures[call] else { return nil }
        state.failures[call]!.countdown -= 1
        return failure.countdown == 1 ? failure.error : nil
      }
    }
  #endif
}
