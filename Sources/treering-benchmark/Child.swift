import Foundation
import Posix

/// The resources that a child process used.
struct Usage {
  var seconds: Double
  var peakBytes: Double
  var status: Int32
}

enum Child {
  /// Runs a program to its end, with its output discarded or written to `output`. Throws unless it exits with 0.
  @discardableResult
  static func run(
    _ arguments: [String], output: String = "/dev/null", measuringMemory: Bool = false
  ) throws -> Usage {
    var actions = posix_spawn_file_actions_t()
    posix_spawn_file_actions_init(&actions)
    defer { posix_spawn_file_actions_destroy(&actions) }
    posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0)
    posix_spawn_file_actions_addopen(&actions, 1, output, O_WRONLY | O_CREAT | O_TRUNC, 0o600)
    let words = arguments.map { strdup($0) } + [nil]
    defer { for word in words { free(word) } }
    var child: pid_t = 0
    let start = Clock.monotonic()
    let spawned = posix_spawnp(&child, arguments[0], &actions, nil, words, environ)
    guard spawned == 0 else {
      throw Problem("cannot run \(arguments[0]): \(String(cString: strerror(spawned)))")
    }
    var status: Int32 = 0
    var usage = rusage()
    var sampled = 0.0
    if measuringMemory {
      // The kernel counts the child's memory before exec, a copy of ours, in its ru_maxrss. The high-water mark in
      // /proc does not count it, but disappears with the process.
      while wait4(child, &status, WNOHANG, &usage) == 0 {
        sampled = max(sampled, highWaterMark(child))
        usleep(1000)
      }
    } else {
      while wait4(child, &status, 0, &usage) < 0 && errno == EINTR {}
    }
    let seconds = Clock.monotonic() - start
    let counted = Double(usage.ru_maxrss) * 1024
    let isOurs = counted <= highWaterMark(getpid())
    let result = Usage(
      seconds: seconds, peakBytes: measuringMemory && isOurs ? sampled : counted, status: status)
    guard status == 0 else {
      throw Problem("\(arguments.joined(separator: " ")) failed with wait status \(status)")
    }
    return result
  }

  static func highWaterMark(_ process: pid_t) -> Double {
    guard let text = try? String(contentsOfFile: "/proc/\(process)/status", encoding: .utf8),
      let line = text.split(separator: "\n").first(where: { $0.hasPrefix("VmHWM:") })
    else { return 0 }
    return (Double(line.split(whereSeparator: \.isWhitespace)[1]) ?? 0) * 1024
  }

  /// The output of a program.
  static func text(_ arguments: [String]) throws -> String {
    let file = NSTemporaryDirectory() + "/treering-benchmark-output-\(getpid())"
    defer { unlink(file) }
    try run(arguments, output: file)
    return try String(contentsOfFile: file, encoding: .utf8)
  }

  static func remove(_ path: String) throws { try run(["rm", "-rf", "--", path]) }

  /// Gives each program in turn the same start.
  ///
  /// All writes are on the disk, free memory is the machine's, and the files `reading` are cached. A virtual machine
  /// may give free memory back to its host. The first use of a page then waits for the host. Copying into new cache
  /// pages was measured at 0.3 GB/s. It reached 2.5 GB/s with memory that had just been used and freed. A program
  /// that runs after a large removal would win by that alone. Files that have not been read for a minute may also
  /// have left the cache (DAMON's pageout).
  static func settle(_ path: String, _ memory: String, reading files: [String] = []) throws {
    try Descriptor.open(path: Array(path.utf8), [.read, .directory]).synchronizeFileSystem()
    let mebibytes = min(3072, ProcessInfo.processInfo.physicalMemory >> 22)
    try run(["dd", "if=/dev/zero", "of=\(memory)/memory", "bs=1M", "count=\(mebibytes)", "status=none"])
    try remove(memory + "/memory")
    if !files.isEmpty { try run(["cat", "--"] + files) }
  }
}

func progress(_ text: String) { FileHandle.standardError.write(Data("\(text)\n".utf8)) }

func median(_ values: [Double]) -> Double {
  let sorted = values.sorted()
  let middle = sorted.count / 2
  return sorted.count % 2 == 1 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2
}
