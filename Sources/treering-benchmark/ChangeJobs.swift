import Foundation
import Posix

extension Benchmark {
  /// Jobs on trees with many changes and little to write.
  func changeJobs() throws -> [Row] {
    var rows: [Row] = []
    if options.jobs.contains(10) { rows.append(try renamedDirectory()) }
    if options.jobs.contains(11) { rows.append(try changedModes()) }
    return rows
  }

  /// A directory of 50,000 files is renamed before every run of treering and of rsync.
  private func renamedDirectory() throws -> Row {
    let files = options.quick ? 5000 : 50_000
    let source = disk + "/renamed"
    let repository = disk + "/renamed-repository"
    try Trees.generate(source, files: files, directories: 1)
    defer {
      try? Child.remove(source)
      try? Child.remove(repository)
    }
    var name = "directory0"
    func rename() throws {
      let next = name == "other" ? "directory0" : "other"
      try FileManager.default.moveItem(atPath: "\(source)/\(name)", toPath: "\(source)/\(next)")
      name = next
    }
    return try changed("10 directory of \(files / 1000)k files renamed", source, repository, on: disk, rename)
  }

  /// Every file gets another mode before every run of treering and of rsync, on a file system with reflinks.
  private func changedModes() throws -> Row {
    let files = options.quick ? 2000 : 20_000
    let image = disk + "/xfs.img"
    let mount = disk + "/xfs"
    try FileManager.default.createDirectory(atPath: mount, withIntermediateDirectories: true)
    try Child.run(["truncate", "-s", "6G", image])
    try Child.run(["mkfs.xfs", "-q", image])
    try Child.run(["mount", "-o", "loop", image, mount])
    defer {
      _ = try? Child.run(["umount", mount])
      try? Child.remove(image)
    }
    let source = mount + "/source"
    try Trees.generate(source, files: files, directories: files / 100)
    // 16 KiB each; smaller files would have no blocks to share.
    let content = String(repeating: "0123456789abcdef", count: 1024)
    for directory in 0..<files / 100 {
      let path = "\(source)/directory\(directory)"
      for name in try FileManager.default.contentsOfDirectory(atPath: path) {
        try Trees.write("\(path)/\(name)", content + name)
      }
    }
    var isOpen = false
    return try changed("11 chmod -R of \(files / 1000)k files, xfs", source, mount + "/repository", on: mount) {
      isOpen.toggle()
      try Child.run(["chmod", "-R", isOpen ? "g+w" : "g-w", source])
    }
  }

  /// The next snapshots of treering and of rsync after the same change, with the bytes each takes on the disk.
  private func changed(
    _ job: String, _ source: String, _ repository: String, on path: String, _ change: () throws -> Void
  ) throws -> Row {
    try makeRepository(repository)
    progress("\(job): the first snapshots")
    _ = try snapshot(source, in: repository)
    var last = "\(repository)-rsync0"
    try Child.run(["rsync", "-aHAX", source + "/", last + "/"])
    var count = 0
    var bytes: (ours: [Double], theirs: [Double]) = ([], [])
    func used() throws -> Double {
      try Child.settle(path, memory)
      let system = try Descriptor.open(path: Array(path.utf8), [.read, .directory]).fileSystem()
      return Double(system.bytesUsed)
    }
    let times = try alternate(job, on: path) {
      try change()
      let before = try used()
      let seconds = try snapshot(source, in: repository).seconds
      bytes.ours.append(try used() - before)
      return seconds
    } _: {
      count += 1
      let next = "\(repository)-rsync\(count)"
      let before = try used()
      let seconds = try Child.run([
        "rsync", "-aHAX", "--fuzzy", "--link-dest=\(last)", source + "/", next + "/",
      ]).seconds
      bytes.theirs.append(try used() - before)
      try Child.remove(last)
      last = next
      return seconds
    }
    try Child.remove(last)
    var row = ratioRow(job, times, must: 1, aim: 3)
    row.note = String(
      format: "space taken: treering %.1f MiB, rsync --fuzzy --link-dest %.1f MiB",
      median(bytes.ours) / 1_048_576, median(bytes.theirs) / 1_048_576)
    return row
  }
}
