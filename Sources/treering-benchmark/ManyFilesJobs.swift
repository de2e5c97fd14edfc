import Foundation

extension Benchmark {
  /// Jobs on generated trees: hundreds of thousands of tiny files.
  func manyFilesJobs() throws -> [Row] {
    let scale = options.quick ? 10 : 1
    var rows: [Row] = []
    if !options.jobs.isDisjoint(with: [4, 5, 8, 9, 28, 29]) {
      rows += try millionJobs(files: 1_000_000 / scale, directories: 1000 / scale)
    }
    if options.jobs.contains(6) {
      let small = try peakOfSecondSnapshot(files: 200_000 / scale, directories: 200 / scale)
      let large = try peakOfSecondSnapshot(files: 2_000_000 / scale, directories: 2000 / scale)
      let text = "peak \(mebibytes(large)) over \(mebibytes(small))"
      rows.append(
        Row(
          job: "6 memory, ten times the files", measure: .growth, value: large / small, must: 1.3,
          aim: 1.1, note: text))
    }
    return rows
  }

  private func mebibytes(_ bytes: Double) -> String { String(format: "%.1f MiB", bytes / 1_048_576) }

  private func peakOfSecondSnapshot(files: Int, directories: Int) throws -> Double {
    let source = disk + "/memory-source"
    let repository = disk + "/memory-repository"
    try Trees.generate(source, files: files, directories: directories)
    defer {
      try? Child.remove(source)
      try? Child.remove(repository)
    }
    try makeRepository(repository)
    progress("the first snapshot of \(files) files")
    _ = try snapshot(source, in: repository)
    return median(
      try (0..<min(3, options.runs)).map { _ in
        try snapshot(source, in: repository, measuringMemory: true).peakBytes
      })
  }

  private func millionJobs(files: Int, directories: Int) throws -> [Row] {
    let source = disk + "/many"
    let repository = disk + "/many-repository"
    var rows: [Row] = []
    try Trees.generate(source, files: files, directories: directories)
    defer {
      try? Child.remove(source)
      try? Child.remove(repository)
    }
    try makeRepository(repository)
    progress("the first snapshot of \(files) files")
    _ = try snapshot(source, in: repository)
    let thousands = files / 1000
    if options.jobs.contains(9) {
      rows.append(
        try unchanged(
          "9 \(thousands)k files, second snapshot, disk", source: source, repository: repository,
          must: 4, aim: 6))
    }
    if options.jobs.contains(5) {
      let peaks = try (0..<min(3, options.runs)).map { _ in
        try snapshot(source, in: repository, measuringMemory: true).peakBytes / 1_048_576
      }
      rows.append(
        Row(
          job: "5 \(thousands)k files, memory of a snapshot", measure: .mebibytes,
          value: median(peaks), must: 64, aim: 32, treeringRuns: peaks))
    }
    if options.jobs.contains(4) {
      let before = try newest(repository)
      for index in 0..<10 {
        let directory = index * directories / 10
        try Trees.write("\(source)/directory\(directory)/file\(directory)", "changed \(index)\n")
      }
      _ = try snapshot(source, in: repository)
      let after = try newest(repository)
      let lines = try Child.text([treering, "diff", before, after, "-r", repository])
      let count = lines.split(separator: "\n").count { $0.contains("/file") }
      guard count == 10 else { throw Problem("diff tells of \(count) files, not of 10:\n\(lines)") }
      rows.append(
        try milliseconds("4 \(thousands)k files, diff of ten changes", must: 50, aim: 10) {
          try Child.run([treering, "diff", before, after, "-r", repository]).seconds
        })
    }
    if options.jobs.contains(8) {
      let number = directories / 2 + directories * (files / directories / 2)
      let wanted = "\(source)/directory\(directories / 2)/file\(number)"
      let copy = disk + "/restored"
      rows.append(
        try milliseconds("8 \(thousands)k files, restore one", must: 50, aim: 10) {
          let usage = try Child.run([treering, "restore", "latest", wanted, "--to", copy, "-r", repository])
          guard FileManager.default.contentsEqual(atPath: copy + wanted, andPath: wanted) else {
            throw Problem("\(wanted) was not restored")
          }
          try Child.remove(copy)
          return usage.seconds
        })
    }
    let directory = "\(source)/directory\(directories / 2)"
    if options.jobs.contains(28) {
      rows.append(
        try milliseconds("28 \(thousands)k files, list one directory", must: 50, aim: 20) {
          try Child.run([treering, "ls", "-l", "latest", directory, "-r", repository]).seconds
        })
    }
    if options.jobs.contains(29) {
      let file = "\(directory)/file\(directories / 2)"
      guard
        try Child.text([treering, "cat", "latest", file, "-r", repository])
          == String(contentsOfFile: file, encoding: .utf8)
      else { throw Problem("\(file) is not what it was") }
      rows.append(
        try milliseconds("29 \(thousands)k files, print one", must: 50, aim: 20) {
          try Child.run([treering, "cat", "latest", file, "-r", repository]).seconds
        })
    }
    return rows
  }

  func milliseconds(
    _ job: String, must: Double, aim: Double, body: () throws -> Double
  ) throws -> Row {
    _ = try body()
    let times = try (0..<options.runs).map { _ in try body() }
    progress("\(job): " + times.map { String(format: "%.4f", $0) }.joined(separator: " "))
    return Row(
      job: job, treering: median(times), measure: .milliseconds, value: median(times) * 1000,
      must: must, aim: aim, treeringRuns: times)
  }

  private func newest(_ repository: String) throws -> String {
    try FileManager.default.destinationOfSymbolicLink(atPath: repository + "/latest")
  }
}
