import Foundation

extension Benchmark {
  /// Jobs on a kernel source: many directories, files of a few kilobytes.
  func kernelJobs() throws -> [Row] {
    let kernel = try Trees.kernel(options)
    var rows: [Row] = []
    if options.jobs.contains(1) {
      let repository = disk + "/kernel-repository"
      try makeRepository(repository)
      progress("1: the first snapshot of \(kernel)")
      _ = try snapshot(kernel, in: repository)
      rows.append(
        try unchanged(
          "1 kernel, second snapshot, disk", source: kernel, repository: repository, must: 6, aim: 10))
      try Child.remove(repository)
    }
    if options.jobs.isDisjoint(with: [2, 3]) { return rows }

    let source = memory + "/source"
    let repository = memory + "/repository"
    let copy = memory + "/copy"
    try Child.run(["cp", "-a", kernel, source])
    if options.jobs.contains(2) {
      let times = try alternate("2: first snapshot, tmpfs", on: memory) {
        try makeRepository(repository)
        let usage = try snapshot(source, in: repository)
        try Child.remove(repository)
        return usage.seconds
      } _: {
        let usage = try Child.run(["rsync", "-aHAX", source + "/", copy + "/"])
        try Child.remove(copy)
        return usage.seconds
      }
      rows.append(ratioRow("2 kernel, first snapshot, tmpfs", times, must: 2, aim: 3))
    }
    if options.jobs.contains(3) {
      try makeRepository(repository)
      _ = try snapshot(source, in: repository)
      let times = try alternate("3: restore, tmpfs", on: memory) {
        let usage = try Child.run([treering, "restore", "latest", "--to", copy, "-r", repository])
        try Child.remove(copy)
        return usage.seconds
      } _: {
        let usage = try Child.run(["rsync", "-aHAX", repository + "/latest/localhost/", copy + "/"])
        try Child.remove(copy)
        return usage.seconds
      }
      rows.append(ratioRow("3 kernel, restore, tmpfs", times, must: 2, aim: 3))
    }
    try Child.remove(memory + "/source")
    try Child.remove(repository)
    return rows
  }
}
