import Foundation
import Posix

/// Runs the jobs and collects the rows of the table.
final class Benchmark {
  let options: Options
  let treering: String
  /// The working directories on the disk and on the tmpfs; both are removed at the end.
  let disk: String
  let memory: String
  private var lastSnapshot = Clock.monotonic()

  init(_ options: Options) throws {
    self.options = options
    let own = try FileManager.default.destinationOfSymbolicLink(atPath: "/proc/self/exe")
    treering = (own as NSString).deletingLastPathComponent + "/treering"
    guard FileManager.default.isExecutableFile(atPath: treering) else {
      throw Problem("\(treering) does not exist; build it with: swift build -c release")
    }
    guard (try? Child.run(["rsync", "--version"])) != nil else {
      throw Problem("rsync is the peer and is missing; install it with: apt-get install rsync")
    }
    disk = options.work + "/run-\(getpid())"
    memory = options.tmpfs + "/treering-benchmark-\(getpid())"
    umask(0o022)
  }

  func run() throws -> Report {
    try FileManager.default.createDirectory(atPath: disk, withIntermediateDirectories: true)
    try FileManager.default.createDirectory(atPath: memory, withIntermediateDirectories: true)
    defer {
      try? Child.remove(disk)
      try? Child.remove(memory)
    }
    var rows: [Row] = []
    if !options.jobs.isDisjoint(with: [1, 2, 3]) { rows += try kernelJobs() }
    if !options.jobs.isDisjoint(with: [4, 5, 6, 8, 9, 28, 29]) { rows += try manyFilesJobs() }
    if options.jobs.contains(7) { rows.append(try callsOfAnUnchangedFile()) }
    if !options.jobs.isDisjoint(with: [10, 11]) { rows += try changeJobs() }
    if !options.jobs.isDisjoint(with: [12, 13, 14, 15]) { rows += try rotationJobs() }
    if !options.jobs.isDisjoint(with: Set(16...24)) { rows += try pushJobs() }
    if !options.jobs.isDisjoint(with: Set(25...27)) { rows += try historyJobs() }
    if !options.jobs.isDisjoint(with: Set(30...37)) { rows += try resticJobs() }
    if !options.jobs.isDisjoint(with: Set(38...41)) { rows += try hostJobs() }
    rows.sort { (Int($0.job.prefix { $0 != " " }) ?? 0) < (Int($1.job.prefix { $0 != " " }) ?? 0) }
    return Report(machine: try machine(), quick: options.quick, runs: options.runs, rows: rows)
  }

  private func machine() throws -> [String: String] {
    func line(_ arguments: [String]) throws -> String {
      let text = try Child.text(arguments)
      return text.split(separator: "\n").first.map(String.init) ?? ""
    }
    return [
      "cores": "\(ProcessInfo.processInfo.activeProcessorCount)",
      "memory": "\(ProcessInfo.processInfo.physicalMemory >> 20) MiB",
      "kernel": try line(["uname", "-r"]),
      "work": "\(options.work), \(try line(["findmnt", "-no", "FSTYPE", "-T", disk]))",
      "tmpfs": "\(options.tmpfs), \(try line(["findmnt", "-no", "FSTYPE", "-T", memory]))",
      "treering": try line([treering, "--version"]),
      "peer": try line(["rsync", "--version"]),
    ]
  }

  // MARK: Building blocks

  func makeRepository(_ path: String) throws { try Child.run([treering, "init", path]) }

  /// Takes a snapshot in a new second. treering would wait for that second, and the wait is not work.
  func snapshot(_ source: String, in repository: String, measuringMemory: Bool = false) throws -> Usage {
    let idle = Clock.monotonic() - lastSnapshot
    if idle < 1.1 { usleep(UInt32((1.1 - idle) * 1e6)) }
    defer { lastSnapshot = Clock.monotonic() }
    return try Child.run(
      [treering, "snapshot", source, "-r", repository], measuringMemory: measuringMemory)
  }

  /// Runs treering and rsync in turn, after one uncounted run of each that warms the cache.
  func alternate(
    _ what: String, on path: String, _ ours: () throws -> Double, _ theirs: () throws -> Double
  ) throws -> (ours: [Double], theirs: [Double]) {
    var result: (ours: [Double], theirs: [Double]) = ([], [])
    for run in 0...options.runs {
      try Child.settle(path, memory)
      let a = try ours()
      try Child.settle(path, memory)
      let b = try theirs()
      let text = String(format: "treering %.3f s, peer %.3f s", a, b)
      progress("\(what): \(run == 0 ? "warming" : "run \(run)"): \(text)")
      if run > 0 {
        result.ours.append(a)
        result.theirs.append(b)
      }
    }
    return result
  }

  func ratioRow(_ job: String, _ times: (ours: [Double], theirs: [Double]), must: Double, aim: Double) -> Row {
    let (ours, theirs) = (median(times.ours), median(times.theirs))
    return Row(
      job: job, treering: ours, peer: theirs, measure: .ratio, value: theirs / ours, must: must,
      aim: aim, treeringRuns: times.ours, peerRuns: times.theirs)
  }

  /// The next snapshot of an unchanged tree, against the next `rsync --link-dest` of it.
  func unchanged(
    _ job: String, source: String, repository: String, must: Double, aim: Double
  ) throws -> Row {
    let first = disk + "/rsync-first"
    let next = disk + "/rsync-next"
    progress("\(job): the first copy of the peer")
    try Child.run(["rsync", "-aHAX", source + "/", first + "/"])
    defer { try? Child.remove(first) }
    let times = try alternate(job, on: disk) {
      try snapshot(source, in: repository).seconds
    } _: {
      let usage = try Child.run(["rsync", "-aHAX", "--link-dest=\(first)", source + "/", next + "/"])
      try Child.remove(next)
      return usage.seconds
    }
    return ratioRow(job, times, must: must, aim: aim)
  }
}
