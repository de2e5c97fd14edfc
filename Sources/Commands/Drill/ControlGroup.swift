internal import Model
internal import Posix
internal import Repository
internal import Settings

/// The control group that limits the programs of a drill; cgroups(7), both versions.
struct ControlGroup {
  private static let root = Array("/sys/fs/cgroup".utf8)
  private static let prefix = Array("treering-drill-".utf8)

  /// The directories of the group; empty if the machine has none that can be used.
  private(set) var directories: [[UInt8]] = []
  /// The reason that memory or processes are not limited.
  private(set) var problem: String?

  /// Makes a group, and removes those that a killed drill left.
  init(limits: DrillConfiguration.Limits) {
    let settings: [(directory: String, controller: String, file: String, value: String)] =
      Self.exists(Self.root + Array("/cgroup.controllers".utf8))
      ? [("", "memory", "memory.max", "\(limits.memory)"), ("", "pids", "pids.max", "\(limits.processes)")]
      : [
        ("/memory", "memory", "memory.limit_in_bytes", "\(limits.memory)"),
        ("/pids", "processes", "pids.max", "\(limits.processes)"),
      ]
    do throws(Errno) {
      let name = Self.prefix + (try CurrentProcess.randomBytes(count: 12).map { 97 + $0 % 26 })
      for setting in settings {
        let parent = Self.root + Array(setting.directory.utf8)
        let above = Directory(try Descriptor.open(path: parent, [.read, .directory]))
        for old in try above.names() where old.starts(with: Self.prefix) && old != name {
          // A group with processes cannot be removed.
          try? above.descriptor.removeDirectory(old.span)
        }
        let path = parent + [slash] + name
        if !directories.contains(path) {
          try above.descriptor.makeDirectory(name.span, mode: 0o755)
          directories.append(path)
        }
        let file = Array(setting.file.utf8)
        try above.directory(name.span).descriptor.open(file.span, .readWrite).write(Array(setting.value.utf8))
      }
    } catch {
      problem = "memory and processes were not limited, because control groups cannot be used: \(error)"
      remove()
      directories = []
    }
  }

  private static func exists(_ path: [UInt8]) -> Bool { (try? Descriptor.open(path: path, .pathOnly)) != nil }

  /// Removes the group, whose processes have ended or are about to.
  func remove() {
    for directory in directories {
      let (parent, name) = splitLast(of: directory)
      for _ in 0..<100 {
        guard let above = try? Descriptor.open(path: parent, [.read, .directory]) else { break }
        do throws(Errno) {
          try above.removeDirectory(name.span)
          break
        } catch { if error != .busy { break } }
        CurrentProcess.sleep(milliseconds: 20)
      }
    }
  }
}
