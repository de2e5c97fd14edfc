internal import Model
internal import Posix
internal import Repository

/// A mount namespace for frozen snapshots, which no other process is in; mount_namespaces(7).
///
/// Its only process ends with this one, and with it all its mounts.
final class FreezeNamespace {
  /// The directory of the mounts. In the namespace, an empty file system of its own is mounted there.
  private static let directory = Array("/run/treering".utf8)

  private let programs: FreezePrograms
  private let process: Int32
  private let holder: BackgroundProgram
  private var pointCount = 0

  /// A mount or its removal comes from other namespaces, so that no disk stays busy, and goes to none.
  private static let script = """
    mkdir -p -m 700 "$0"
    mount -t tmpfs -o mode=700,nosuid,nodev,size=1m tmpfs "$0"
    echo $$
    exec sleep infinity
    """

  init(programs: FreezePrograms) throws(Failure) {
    self.programs = programs
    holder = programs.start(
      try programs.words(
        "unshare", of: "util-linux",
        arguments: words("--mount", "--propagation", "slave", "--", "/bin/sh", "-euc", Self.script) + [Self.directory]))
    do {
      process = try holder.firstNumber(
        within: 60, of: "the mount namespace of the frozen snapshots",
        hint: "it needs root, and a kernel or container that allows it")
    } catch {
      holder.end()
      throw error
    }
  }

  /// The path by which this process reaches a path of the namespace; proc_pid_root(5).
  func reaching(_ path: [UInt8]) -> [UInt8] { Array("/proc/\(process)/root".utf8) + path }

  /// Runs a program in the namespace, which must succeed.
  @discardableResult
  func run(
    _ name: String, of package: String, arguments: [[UInt8]], finishes: Bool = false
  ) throws(Failure) -> [[UInt8]] {
    let command = try programs.words(name, of: package, arguments: arguments)
    let entering = words("--target", "\(process)", "--mount", "--")
    return try programs.run(
      try programs.words("nsenter", of: "util-linux", arguments: entering + command), finishes: finishes)
  }

  /// Makes a mount point.
  func makePoint() throws(Failure) -> [UInt8] {
    pointCount += 1
    let point = Self.directory + Array("/\(pointCount)".utf8)
    let (parent, name) = splitLast(of: reaching(point))
    do { try Descriptor.open(path: parent, [.read, .directory]).makeDirectory(name.span, mode: 0o700) } catch {
      throw .writing("make the directory", at: point, because: error)
    }
    return point
  }

  func mount(_ source: [UInt8], at point: [UInt8], options: [[UInt8]], finishes: Bool = false) throws(Failure) {
    try run("mount", of: "mount", arguments: options + [source, point], finishes: finishes)
  }

  /// Shows the directories at some paths of the namespace at others, too. Returns those of the others that failed.
  func bind(_ pairs: [(from: [UInt8], to: [UInt8])]) throws(Failure) -> [[UInt8]] {
    if pairs.isEmpty { return [] }
    let script = """
      while [ $# -gt 0 ]; do
        mount --bind "$1" "$2" || echo "$2"
        shift 2
      done
      """
    return try run("sh", of: "dash", arguments: words("-uc", script, "bind") + pairs.flatMap { [$0.from, $0.to] })
  }

  /// Unmounts everything at a point. It is not used any more.
  func unmount(_ point: [UInt8]) throws(Failure) {
    try run("umount", of: "mount", arguments: words("--recursive") + [point], finishes: true)
  }

  func end() { holder.end() }
}
