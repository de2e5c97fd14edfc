internal import CPosix
internal import Glibc
public import Model

/// The process and its environment: users, limits, signals, clocks, terminal, standard streams.
public enum CurrentProcess {
  public static var effectiveUser: UInt32 { geteuid() }
  public static var effectiveGroup: UInt32 { getegid() }
  public static var identifier: Int32 { getpid() }
  /// The process that started this one; `getppid(2)`.
  public static var parent: Int32 { getppid() }

  /// Lets the engine give new files their exact mode: the mode creation mask becomes 0.
  ///
  /// Children get the mask with which the process was started.
  public static func clearCreationMask() { tr_clear_umask() }

  /// Raises the soft limit of open descriptors to the hard one; deep trees hold some for each level.
  ///
  /// Children get the limit with which the process was started.
  public static func raiseDescriptorLimit() { _ = tr_raise_descriptor_limit() }

  /// Opens `/dev/null` for each standard stream that was closed at the start of the process.
  public static func openStandardStreams() { tr_open_standard_streams() }

  /// Turns two fatal signals into errors. Their causes are a write to a pipe without a reader, and a write beyond the
  /// file size limit.
  public static func ignoreFileSignals() { tr_ignore_file_signals() }

  /// Remembers SIGINT, SIGTERM and SIGHUP from now on instead of ending the process, so that work can be saved first.
  /// An ignored signal stays ignored; see nohup(1).
  public static func rememberSignals() { tr_remember_signals() }

  /// The first remembered signal.
  public static var rememberedSignal: Int32? {
    let signal = tr_remembered_signal()
    return signal == 0 ? nil : signal
  }

  /// Sends SIGTERM to this process; `kill(2)`.
  public static func terminate() { _ = kill(getpid(), SIGTERM) }

  /// The value of an environment variable.
  public static func environment(_ name: String) -> [UInt8]? {
    getenv(name).map { Array(UnsafeRawBufferPointer(start: $0, count: strlen($0))) }
  }

  /// Identifies the present boot: data written before a reboot may be lost. Empty if proc(5) does not have it.
  public static let bootID: [UInt8] = {
    guard let file = try? Descriptor.open(path: Array("/proc/sys/kernel/random/boot_id".utf8), .read),
      let text = try? file.readToEnd(limit: 256)
    else { return [] }
    return Array(text.prefix(36))
  }()

  /// A random number from the kernel, never 0.
  public static func randomNumber() throws(Errno) -> UInt64 {
    try randomBytes(count: 8).reduce(0) { $0 << 8 | UInt64($1) } | 1
  }

  /// Random bytes from the kernel; `getrandom(2)`.
  public static func randomBytes(count: Int) throws(Errno) -> [UInt8] {
    var bytes = [UInt8](repeating: 0, count: count)
    _ = try perform(.getrandom) { bytes.withUnsafeMutableBytes { tr_random($0.baseAddress, $0.count) } }
    return bytes
  }

  /// The `count` strings of a C function's argument, such as `main`'s; each ends with NUL.
  public static func strings(_ count: Int32, pointers: UnsafePointer<UnsafePointer<CChar>?>) -> [[UInt8]] {
    (0..<max(0, Int(count))).compactMap { index in
      pointers[index].map { Array(UnsafeRawBufferPointer(start: $0, count: strlen($0))) }
    }
  }

  /// The program file of this process, without symbolic links; throws if it no longer exists.
  ///
  /// Its path is the one given to `execve(2)`, `AT_EXECFN` of getauxval(3). Unlike `/proc/self/exe`, it needs no
  /// proc(5), and names the new program after an upgrade.
  public static func programFile() throws(Errno) -> [UInt8] {
    guard let path = tr_program_path() else { throw .noSuchEntry }
    return try realPath([UInt8](UnsafeRawBufferPointer(start: path, count: strlen(path))))
  }

  /// The name of this machine; `gethostname(2)`.
  public static func hostName() -> [UInt8] {
    var name = [CChar](repeating: 0, count: 256)
    guard gethostname(&name, name.count - 1) == 0 else { return [] }
    return name.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }
  }

  /// True if a process with this number exists; `kill(2)` with signal 0.
  public static func exists(process: Int32) -> Bool {
    guard process > 0 else { return false }
    do throws(Errno) { _ = try perform(.kill) { tr_kill(process, 0) } } catch { return error == .notPermitted }
    return true
  }

  /// The names of the parent process, its parent and so on, as in `/proc/PID/stat`; proc_pid_stat(5). Empty without
  /// proc(5).
  public static func ancestors() -> [[UInt8]] {
    var names: [[UInt8]] = []
    var process = getppid()
    // A chain that changes while it is read could be a circle.
    while process > 0, names.count < 64,
      let line = try? Descriptor.open(path: Array("/proc/\(process)/stat".utf8), .read).readWhole(limit: 1 << 12),
      let begin = line.firstIndex(of: UInt8(ascii: "(")), let end = line.lastIndex(of: UInt8(ascii: ")")), begin < end
    {
      names.append(Array(line[(begin + 1)..<end]))
      // State and number of the parent follow the name.
      let fields = line[(end + 1)...].split(separator: UInt8(ascii: " "))
      guard fields.count > 1, let parent = Int32(String(decoding: fields[1], as: UTF8.self)) else { break }
      process = parent
    }
    return names
  }

  /// The working directory; `getcwd(3)`.
  public static func workingDirectory() throws(Errno) -> [UInt8] { try path { tr_getcwd($0, $1) } }

  /// A path with every symbolic link, `.` and `..` resolved; `realpath(3)`.
  public static func realPath(_ path: [UInt8]) throws(Errno) -> [UInt8] {
    try Self.path { buffer, count in withCString(path) { tr_realpath($0, buffer, count) } }
  }

  private static func path(body: (UnsafeMutablePointer<CChar>, Int) -> Int) throws(Errno) -> [UInt8] {
    let capacity = 1 << 16
    let buffer = UnsafeMutableBufferPointer<CChar>.allocate(capacity: capacity)
    defer { buffer.deallocate() }
    let count = try perform(.realpath) { body(buffer.baseAddress!, capacity) }
    return [UInt8](UnsafeRawBufferPointer(start: buffer.baseAddress, count: count))
  }

  /// The width of a standard stream's terminal in columns; `nil` if the stream is not a terminal.
  public static func terminalWidth(of stream: StandardStream) -> Int? {
    let width = tr_terminal_width(stream.rawValue)
    return width > 0 ? width : nil
  }

  /// Lets the terminal of standard input show what is typed, or not; `tcsetattr(3)`.
  public static func setEcho(on: Bool) { _ = tr_set_echo(StandardStream.input.rawValue, on ? 1 : 0) }

  /// Writes all bytes to a standard stream. A remembered signal ends the wait for the reader (`interrupted`);
  /// `write(2)`.
  public static func write(_ bytes: [UInt8], to stream: StandardStream) throws(Errno) {
    try write(bytes.span.bytes, to: stream)
  }

  /// Writes all bytes of a buffer.
  public static func write(_ bytes: UnsafeRawBufferPointer, to stream: StandardStream) throws(Errno) {
    try write(RawSpan(_unsafeBytes: bytes), to: stream)
  }

  private static func write(_ bytes: RawSpan, to stream: StandardStream) throws(Errno) {
    var done = 0
    while done < bytes.byteCount {
      done += try perform(.write, endsAtSignal: true) {
        bytes.withUnsafeBytes { tr_write_unless_signaled(stream.rawValue, $0.baseAddress! + done, $0.count - done) }
      }
    }
  }

  /// A second descriptor of a standard stream, for a protocol over it; `fcntl(2)` `F_DUPFD_CLOEXEC`.
  public static func standardStream(_ stream: StandardStream) throws(Errno) -> Descriptor {
    Descriptor(raw: CInt(try perform(.fcntl) { tr_duplicate(stream.rawValue) }))
  }

  /// Ends the process.
  public static func exit(status: Int32) -> Never { Glibc.exit(status) }

  /// Pauses this thread; `usleep(3)`.
  public static func sleep(milliseconds: Int) { usleep(UInt32(milliseconds) * 1000) }
}

public enum StandardStream: Int32, Sendable {
  case input = 0
  case output = 1
  case error = 2
}

extension Timestamp {
  /// The difference between two times in seconds.
  public static func - (a: Timestamp, b: Timestamp) -> Double {
    Double(a.seconds) - Double(b.seconds) + (Double(a.nanoseconds) - Double(b.nanoseconds)) / 1e9
  }
}

public enum Clock {
  /// Wall-clock time; `clock_gettime(2)` `CLOCK_REALTIME`.
  public static func now() -> Timestamp { read(CLOCK_REALTIME) }

  /// The clock of file systems' timestamps; never ahead of the next timestamp.
  public static func fileStampNow() -> Timestamp { read(tr_clock_realtime_coarse) }

  /// A clock for durations; an adjustment of the time of day does not affect it.
  public static func monotonic() -> Timestamp { read(CLOCK_MONOTONIC) }

  /// The time for which the calling thread has run.
  public static func thread() -> Timestamp { read(CLOCK_THREAD_CPUTIME_ID) }

  private static func read(_ clock: CInt) -> Timestamp {
    var seconds: Int64 = 0
    var nanoseconds = 0
    _ = tr_clock(clock, &seconds, &nanoseconds)
    return Timestamp(seconds: seconds, nanoseconds: UInt32(nanoseconds))
  }

  /// Year, month, day, hour, minute and second in the time zone of the process (`TZ`); `localtime(3)`.
  public static func localFields(of seconds: Int64) -> [Int] {
    var fields = [CInt](repeating: 0, count: 6)
    tr_local_time(seconds, &fields)
    return fields.map(Int.init)
  }

  /// The time of such local fields; the inverse of `localFields`. Numbers beyond their range count on.
  /// Of an hour that a clock change repeats, the C library chooses one; `mktime(3)`.
  public static func seconds(ofLocal fields: [Int]) -> Int64 {
    tr_time_of_local(fields.map { CInt(truncatingIfNeeded: $0) })
  }
}
