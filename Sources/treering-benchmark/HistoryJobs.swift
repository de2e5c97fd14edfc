import Foundation

extension Benchmark {
  /// Searches through many snapshots with few changes. They read catalogs alone, so the older trees are empty.
  func historyJobs() throws -> [Row] {
    let (snapshots, files, directories) = options.quick ? (100, 10_000, 100) : (1000, 99_000, 1000)
    let source = disk + "/history"
    let repository = disk + "/history-repository"
    try Trees.generate(source, files: files, directories: directories)
    defer {
      try? Child.remove(source)
      try? Child.remove(repository)
    }
    try makeRepository(repository)
    progress("\(snapshots) snapshots of \(files + directories) entries")
    for number in 0..<snapshots {
      try change(source, directories: directories, number: number)
      try takeSnapshot(number, of: source, in: repository)
    }
    let what = "\(snapshots) snapshots of \((files + directories) / 1000)k entries"
    let file = "\(source)/directory7/file7"
    let jobs: [(number: Int, job: String, arguments: [String])] = [
      (25, "find a name in", ["find", "report-*"]), (26, "usage of", ["usage"]),
      (27, "versions of one file in", ["versions", file]),
    ]
    return try jobs.filter { options.jobs.contains($0.number) }.map { number, job, arguments in
      try milliseconds("\(number) \(job) \(what)", must: 1000, aim: 500) {
        try Child.run([treering] + arguments + ["-r", repository]).seconds
      }
    }
  }

  /// Four files change, and one comes and goes.
  private func change(_ source: String, directories: Int, number: Int) throws {
    for place in 0..<4 {
      let index = (number * 7 + place * 131) % directories
      try Trees.write("\(source)/directory\(index)/file\(index)", "changed in \(number)\n")
    }
    try Trees.write("\(source)/directory\(number % directories)/report-\(number)", "report\n")
    try? FileManager.default.removeItem(atPath: "\(source)/directory\((number - 5) % directories)/report-\(number - 5)")
  }

  /// Takes the snapshot of a coming hour from the tree of the hour before, whose directory then is empty.
  private func takeSnapshot(_ number: Int, of source: String, in repository: String) throws {
    let hour = Int(Date().timeIntervalSince1970) + number * 3600
    try Child.run([
      "env", "FAKETIME_FMT=%s", "faketime", "-f", "@\(hour)", treering, "snapshot", source, "-q", "-r", repository,
    ])
    guard number > 0 else { return }
    let names = try FileManager.default.contentsOfDirectory(atPath: repository).filter { $0.hasPrefix("20") }.sorted()
    let before = names[names.count - 2]
    let spare = repository + "/.treering/spare"
    guard try FileManager.default.contentsOfDirectory(atPath: spare).isEmpty else { return }
    try FileManager.default.moveItem(atPath: "\(repository)/\(before)", toPath: "\(spare)/\(before)")
    try FileManager.default.createDirectory(atPath: "\(repository)/\(before)", withIntermediateDirectories: false)
  }
}
