import Foundation

extension Benchmark {
  /// A complete hourly rotation: a new snapshot is added and the oldest one removed.
  func rotationJobs() throws -> [Row] {
    var rows: [Row] = []
    if !options.jobs.isDisjoint(with: [12, 13, 15]) {
      let image = disk + "/rotation.img"
      let mount = disk + "/rotation"
      try FileManager.default.createDirectory(atPath: mount, withIntermediateDirectories: true)
      try Child.run(["truncate", "-s", "16G", image])
      try Child.run(["mkfs.ext4", "-q", image])
      try Child.run(["mount", "-o", "loop", image, mount])
      defer {
        _ = try? Child.run(["umount", mount])
        try? Child.remove(image)
      }
      let source = mount + "/source"
      try Child.run(["cp", "-a", try Trees.kernel(options), source])
      if !options.jobs.isDisjoint(with: [12, 15]) {
        rows += try rotation("12 kernel, one rotation", source, on: mount, must: 15, aim: 30) {}
      }
      if options.jobs.contains(13) {
        let files = try Child.text(["find", source, "-type", "f"]).split(separator: "\n").map(String.init)
        var offset = 0
        rows += try rotation("13 the same, 1% changed", source, on: mount, must: 10, aim: 20) {
          offset = (offset + 1) % 100
          for index in stride(from: offset, to: files.count, by: 100) {
            let file = open(files[index], O_WRONLY | O_APPEND)
            guard file >= 0, write(file, "x", 1) == 1, close(file) == 0 else {
              throw Problem("cannot append to \(files[index])")
            }
          }
        }
      }
    }
    if options.jobs.contains(14) {
      let scale = options.quick ? 10 : 1
      let source = disk + "/rotation-source"
      try Trees.generate(source, files: 1_000_000 / scale, directories: 1000 / scale)
      defer { try? Child.remove(source) }
      rows += try rotation(
        "14 \(1000 / scale)k files, one rotation", source, on: disk, must: 10, aim: 20
      ) {}
    }
    return rows.filter { row in options.jobs.contains(Int(row.job.prefix { $0 != " " }) ?? 0) }
  }

  /// treering runs snapshot and rotate, with a spare since the warm-up run. rsync copies to a new directory, and the
  /// oldest is deleted. Each keeps three. The second row has the bytes written.
  private func rotation(
    _ job: String, _ source: String, on path: String, must: Double, aim: Double, _ change: () throws -> Void
  ) throws -> [Row] {
    let repository = path + "/rotated"
    defer {
      _ = try? Child.run(["sh", "-c", "rm -rf \"$0\"*", repository])
    }
    try makeRepository(repository)
    let rotate = [treering, "rotate", "--keep-last", "3", "-r", repository]
    for _ in 0..<4 {
      progress("\(job): what is there before")
      _ = try snapshot(source, in: repository)
      try Child.run(rotate)
    }
    var generation = 0
    func copy() throws -> Double {
      generation += 1
      let link = generation > 1 ? ["--link-dest=\(repository)-rsync\(generation - 1)"] : []
      return try Child.run(
        ["rsync", "-aHAX", "--delete"] + link + [source + "/", "\(repository)-rsync\(generation)/"]
      ).seconds
    }
    for _ in 0..<3 { _ = try copy() }
    var bytes: (ours: [Double], theirs: [Double]) = ([], [])
    let times = try alternate(job, on: path) {
      try change()
      let before = try written(path)
      let seconds = try snapshot(source, in: repository).seconds + Child.run(rotate).seconds
      bytes.ours.append(try written(path) - before)
      return seconds
    } _: {
      try change()
      let before = try written(path)
      var seconds = try copy()
      seconds += try Child.run(["rm", "-rf", "\(repository)-rsync\(generation - 3)"]).seconds
      bytes.theirs.append(try written(path) - before)
      return seconds
    }
    var row = ratioRow(job, times, must: must, aim: aim)
    let (ours, theirs) = (median(bytes.ours), median(bytes.theirs))
    row.note = String(format: "written: treering %.2f MiB, peer %.2f MiB", ours / 1_048_576, theirs / 1_048_576)
    guard job.hasPrefix("12 ") else { return [row] }
    let share = Row(
      job: "15 bytes written, the peer's over ours", measure: .ratio, value: theirs / ours, must: 10, aim: 50,
      note: row.note)
    return [row, share]
  }

  /// The bytes that the disk below a path has written, after all data has reached it.
  private func written(_ path: String) throws -> Double {
    try Child.settle(path, memory)
    let device = try Child.text(["findmnt", "-no", "MAJ:MIN", "-T", path])
      .trimmingCharacters(in: .whitespacesAndNewlines)
    let fields = try String(contentsOfFile: "/sys/dev/block/\(device)/stat", encoding: .utf8)
      .split(separator: " ")
    guard fields.count > 6, let sectors = Double(fields[6]) else { throw Problem("no figures of \(device)") }
    return sectors * 512
  }
}
