internal import Model
internal import Posix
internal import Repository
internal import Settings

/// The control group that limits the programs of a drill; cgroups(7), both versions.
struct ControlGroup {
  private static let root = Array("/sys/fs/cgroup".utf8)

  private let name: [UInt8]
  /// The directories of the group, separated by spaces; empty if the machine has none that can be used.
  private(set) var directories: [UInt8] = []
  /// The reason that memory or processes are not limited.
  private(set) var problem: String?

  /// Makes a group with the name of the drill's directory.
  init(named name: [UInt8], limits: DrillConfiguration.Limits) {
    self.name = name
    let files = Self.isUnified ? ["memory.max", "pids.max"] : ["memory.limit_in_bytes", "pids.max"]
    let values = ["\(limits.memory)", "\(limits.processes)"]
    var paths: [[UInt8]] = []
    do throws(Errno) {
      for parent in Self.parents {
        try Descriptor.open(path: parent, [.read, .directory]).makeDirectory(name.span, mode: 0o755)
        paths.append(parent + [slash] + name)
      }
      for (index, (file, value)) in zip(files, values).enumerated() {
        let path = paths[min(index, paths.count - 1)] + Array("/\(file)".utf8)
        try Descriptor.open(path: path, .readWrite).write(Array(value.utf8))
      }
      directories = Array(paths.joined(separator: [UInt8(ascii: " ")]))
    } catch {
      problem = "memory and processes were not limited, because control groups cannot be used: \(error)"
      remove()
    }
  }

  /// True for the one hierarchy of version 2.
  private static var isUnified: Bool {
    (try? Descriptor.open(path: root + Array("/cgroup.controllers".utf8), .pathOnly)) != nil
  }

  /// The directories of the hierarchies that limit memory and processes.
  private static var parents: [[UInt8]] { isUnified ? [root] : ["/memory", "/pids"].map { root + Array($0.utf8) } }

  func remove() { Self.remove(named: name) }

  /// Removes a group, whose processes have ended or are about to.
  static func remove(named name: [UInt8]) {
    for parent in parents {
      guard let above = try? Descriptor.open(path: parent, [.read, .directory]) else { continue }
      for _ in 0..<100 {
        do throws(Errno) {
          try above.removeDirectory(name.span)
          break
        } catch { if error != .busy { break } }
        CurrentProcess.sleep(milliseconds: 20)
      }
    }
  }
}
