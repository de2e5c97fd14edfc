import Foundation
import Posix

/// The cost of one push, or of one copy by rsync.
private struct Transfer {
  var seconds: Double
  /// The sum of both directions.
  var bytes: Double
}

extension Benchmark {
  /// Pushes a snapshot over ssh, against rsync over the same ssh.
  func pushJobs() throws -> [Row] {
    let server = try SSHServer(in: disk + "/ssh")
    var rows: [Row] = []
    if !options.jobs.isDisjoint(with: [16, 17, 18, 22, 23]) { rows += try kernelPushes(server) }
    if !options.jobs.isDisjoint(with: [19, 20]) { rows += try imagePushes(server) }
    if options.jobs.contains(21) { rows.append(try renamePush(server)) }
    if options.jobs.contains(24) { rows.append(try pushMemory(server)) }
    return rows.filter { row in options.jobs.contains(Int(row.job.prefix { $0 != " " }) ?? 0) }
  }

  // MARK: Building blocks

  private func push(
    _ repository: String, to remote: String, over server: SSHServer, reading files: [String] = []
  ) throws -> Transfer {
    let answer = disk + "/push.json"
    try Child.settle(disk, memory, reading: files)
    let usage = try Child.run(
      [
        treering, "push", "ssh://\(server.host)\(remote)", "-r", repository, "--ssh",
        server.command.joined(separator: " "), "--remote-command", "\(treering) serve", "--json",
      ], output: answer)
    let document = try JSONSerialization.jsonObject(with: Data(contentsOf: URL(fileURLWithPath: answer)))
    guard let fields = document as? [String: Any], let sent = fields["bytes_sent"] as? Double,
      let received = fields["bytes_received"] as? Double
    else { throw Problem("push printed no JSON") }
    return Transfer(seconds: usage.seconds, bytes: sent + received)
  }

  private func copy(
    _ source: String, to target: String, linking previous: String? = nil, over server: SSHServer, compressed: Bool,
    reading files: [String] = []
  ) throws -> Transfer {
    let answer = disk + "/rsync.txt"
    let link = previous.map { ["--link-dest=\($0)"] } ?? []
    try Child.settle(disk, memory, reading: files)
    let usage = try Child.run(
      ["rsync", compressed ? "-aHAXz" : "-aHAX", "--delete", "--stats", "--no-human-readable"] + link
        + ["-e", server.command.joined(separator: " "), source + "/", "\(server.host):\(target)/"],
      output: answer)
    var bytes = 0.0
    for line in try String(contentsOfFile: answer, encoding: .utf8).split(separator: "\n")
    where line.hasPrefix("Total bytes sent:") || line.hasPrefix("Total bytes received:") {
      bytes += Double(line.split(separator: " ").last.map { $0.filter(\.isNumber) } ?? "") ?? 0
    }
    return Transfer(seconds: usage.seconds, bytes: bytes)
  }

  private func bytesRow(_ job: String, _ ours: [Transfer], _ theirs: [Transfer], must: Double, aim: Double) -> Row {
    let (a, b) = (median(ours.map(\.bytes)), median(theirs.map(\.bytes)))
    return Row(
      job: job, measure: .ratio, value: b / a, must: must, aim: aim,
      note: String(format: "bytes both ways: treering %.0f, peer %.0f", a, b))
  }

  private func amountRow(_ job: String, _ ours: [Transfer], _ theirs: [Transfer], must: Double, aim: Double) -> Row {
    var row = bytesRow(job, ours, theirs, must: must, aim: aim)
    row.measure = .kibibytes
    row.value = median(ours.map(\.bytes)) / 1024
    return row
  }

  /// Runs treering and rsync in turn, after one uncounted run of each.
  private func transfers(
    _ job: String, _ ours: () throws -> Transfer, _ theirs: () throws -> Transfer
  ) throws -> (ours: [Transfer], theirs: [Transfer]) {
    var result: (ours: [Transfer], theirs: [Transfer]) = ([], [])
    var last: (Transfer, Transfer)?
    _ = try alternate(job, on: disk) {
      let transfer = try ours()
      last = (transfer, transfer)
      return transfer.seconds
    } _: {
      let transfer = try theirs()
      result.ours.append(last!.0)
      result.theirs.append(transfer)
      progress(String(format: "  bytes: treering %.0f, peer %.0f", last!.0.bytes, transfer.bytes))
      return transfer.seconds
    }
    result.ours.removeFirst()
    result.theirs.removeFirst()
    return result
  }

  private func timeRow(
    _ job: String, _ times: (ours: [Transfer], theirs: [Transfer]), must: Double, aim: Double
  ) -> Row {
    ratioRow(job, (times.ours.map(\.seconds), times.theirs.map(\.seconds)), must: must, aim: aim)
  }

  // MARK: Jobs

  private func kernelPushes(_ server: SSHServer) throws -> [Row] {
    let source = disk + "/push-source"
    let repository = disk + "/push-repository"
    let remote = disk + "/push-remote"
    let copies = disk + "/push-rsync"
    var rows: [Row] = []
    try Child.run(["cp", "-a", try Trees.kernel(options), source])
    defer { _ = try? Child.run(["sh", "-c", "rm -rf \"$0\"/push-*", disk]) }
    try makeRepository(repository)
    _ = try snapshot(source, in: repository)

    if !options.jobs.isDisjoint(with: [22, 23]) {
      let first = try transfers("22 kernel, first push, against rsync -z") {
        try makeRepository(remote)
        defer { try? Child.remove(remote) }
        return try push(repository, to: remote, over: server)
      } _: {
        defer { try? Child.remove(copies) }
        return try copy(source, to: copies, over: server, compressed: true)
      }
      rows.append(timeRow("22 kernel, first push, against rsync -z", first, must: 1, aim: 2))
      rows.append(bytesRow("23 the same, the peer's bytes over ours", first.ours, first.theirs, must: 1, aim: 1.25))
    }
    if options.jobs.isDisjoint(with: [16, 17, 18]) { return rows }

    try makeRepository(remote)
    _ = try push(repository, to: remote, over: server)
    var generation = 0
    func copyNext(compressed: Bool) throws -> Transfer {
      generation += 1
      return try copy(
        source, to: "\(copies)\(generation)", linking: generation > 1 ? "\(copies)\(generation - 1)" : nil,
        over: server, compressed: compressed)
    }
    _ = try copyNext(compressed: false)
    if !options.jobs.isDisjoint(with: [16, 17]) {
      let unchanged = try transfers("17 kernel, nothing changed") {
        _ = try snapshot(source, in: repository)
        return try push(repository, to: remote, over: server)
      } _: {
        try copyNext(compressed: false)
      }
      rows.append(
        amountRow("16 kernel, nothing changed, bytes on the wire", unchanged.ours, unchanged.theirs, must: 32, aim: 4))
      rows.append(timeRow("17 the same, whole command", unchanged, must: 3, aim: 10))
    }
    if options.jobs.contains(18) {
      let files = try Child.text(["find", source, "-type", "f"]).split(separator: "\n").map(String.init)
      var offset = 0
      let changed = try transfers("18 kernel, 1% of files edited, against rsync -z") {
        offset = (offset + 1) % 100
        for index in stride(from: offset, to: files.count, by: 100) { try Trees.edit(files[index]) }
        _ = try snapshot(source, in: repository)
        return try push(repository, to: remote, over: server)
      } _: {
        try copyNext(compressed: true)
      }
      rows.append(
        bytesRow("18 kernel, 1% edited, rsync -z's bytes over ours", changed.ours, changed.theirs, must: 2, aim: 4))
    }
    return rows
  }

  private func imagePushes(_ server: SSHServer) throws -> [Row] {
    let source = disk + "/push-source"
    let repository = disk + "/push-repository"
    let remote = disk + "/push-remote"
    let copies = disk + "/push-rsync"
    defer { _ = try? Child.run(["sh", "-c", "rm -rf \"$0\"/push-*", disk]) }
    try FileManager.default.createDirectory(atPath: source, withIntermediateDirectories: true)
    let image = source + "/image"
    let mebibytes = options.quick ? 100 : 1024
    progress("making an image of \(mebibytes) MiB")
    try Child.run(["sh", "-c", "head -c \(mebibytes)M /dev/urandom > \"$0\"", image])
    try makeRepository(repository)
    try makeRepository(remote)
    _ = try snapshot(source, in: repository)
    _ = try push(repository, to: remote, over: server)
    var generation = 1
    _ = try copy(source, to: copies + "1", over: server, compressed: false)
    let result = try transfers("19 image, 1,000 blocks overwritten and 100 bytes inserted") {
      try Trees.overwriteBlocks(image, count: 1000, inserting: 100)
      _ = try snapshot(source, in: repository)
      // One older version stays, as with rsync. With more versions, the system finds more memory each time.
      defer { try? keepTwo(in: [repository, remote]) }
      return try push(
        repository, to: remote, over: server, reading: images(in: repository, newest: 2) + images(in: remote, newest: 1)
      )
    } _: {
      generation += 1
      defer { try? Child.remove("\(copies)\(generation - 1)") }
      return try copy(
        source, to: "\(copies)\(generation)", linking: "\(copies)\(generation - 1)", over: server, compressed: false,
        reading: [image, "\(copies)\(generation - 1)/image"])
    }
    return [
      amountRow(
        "19 image, 1,000 blocks and 100 bytes, bytes on the wire", result.ours, result.theirs,
        must: 4_500_000 / 1024, aim: 4_200_000 / 1024),
      timeRow("20 the same, whole command", result, must: 1, aim: 2),
    ]
  }

  private func images(in repository: String, newest count: Int) throws -> [String] {
    let names = try FileManager.default.contentsOfDirectory(atPath: repository).filter { $0.hasPrefix("2") }.sorted()
    return names.suffix(count).map { "\(repository)/\($0)/localhost\(disk)/push-source/image" }
  }

  private func keepTwo(in repositories: [String]) throws {
    for repository in repositories {
      try Child.run([treering, "rotate", "--keep-last", "2", "-r", repository])
      try Child.run(["sh", "-c", "rm -rf \"$0\"/.treering/spare/*", repository])
    }
  }

  private func renamePush(_ server: SSHServer) throws -> Row {
    let source = disk + "/push-source"
    let repository = disk + "/push-repository"
    let remote = disk + "/push-remote"
    defer { _ = try? Child.run(["sh", "-c", "rm -rf \"$0\"/push-*", disk]) }
    try Trees.generate(source + "/0", files: options.quick ? 5000 : 50_000, directories: 500)
    try makeRepository(repository)
    try makeRepository(remote)
    _ = try snapshot(source, in: repository)
    _ = try push(repository, to: remote, over: server)
    var name = 0
    let result = try (0..<options.runs).map { _ in
      try FileManager.default.moveItem(atPath: "\(source)/\(name)", toPath: "\(source)/\(name + 1)")
      name += 1
      _ = try snapshot(source, in: repository)
      return try push(repository, to: remote, over: server)
    }
    return amountRow("21 directory of 50,000 files renamed, bytes", result, result, must: 1024, aim: 64)
  }

  /// The larger peak memory of client and server.
  private func pushMemory(_ server: SSHServer) throws -> Row {
    let source = disk + "/push-source"
    let repository = disk + "/push-repository"
    let remote = disk + "/push-remote"
    defer { _ = try? Child.run(["sh", "-c", "rm -rf \"$0\"/push-*", disk]) }
    let scale = options.quick ? 10 : 1
    try Trees.generate(source, files: 1_000_000 / scale, directories: 1000 / scale)
    try makeRepository(repository)
    try makeRepository(remote)
    _ = try snapshot(source, in: repository)
    progress("the first push of a million files")
    _ = try push(repository, to: remote, over: server)
    var peaks: [Double] = []
    var ends: [(Double, Double)] = []
    for run in 0..<min(3, options.runs) {
      for file in 0..<10 { try Trees.write("\(source)/directory\(file * 7)/file\(file * 7)", "run \(run)\n") }
      _ = try snapshot(source, in: repository)
      let far = FarSide(program: treering)
      let usage = try Child.run(
        [
          treering, "push", "ssh://\(server.host)\(remote)", "-r", repository, "--ssh",
          server.command.joined(separator: " "), "--remote-command", "\(treering) serve",
        ], measuringMemory: true)
      ends.append((usage.peakBytes, far.stop()))
      peaks.append(max(usage.peakBytes, ends.last!.1))
    }
    let notes = ends.map { String(format: "client %.1f MiB, server %.1f MiB", $0.0 / 1_048_576, $0.1 / 1_048_576) }
    return Row(
      job: "24 million files, ten changed, memory at each end", measure: .mebibytes, value: median(peaks) / 1_048_576,
      must: 64, aim: 32, note: notes.joined(separator: "; "))
  }
}

/// Samples the server's memory and keeps the peak.
private final class FarSide: @unchecked Sendable {
  private let program: String
  private let lock = NSLock()
  private var isStopped = false
  private var peak = 0.0
  private var thread: Thread?

  init(program: String) {
    self.program = program
    thread = Thread { [self] in
      while !lock.withLock({ isStopped }) {
        sample()
        usleep(5000)
      }
    }
    thread?.start()
  }

  private func sample() {
    for name in (try? FileManager.default.contentsOfDirectory(atPath: "/proc")) ?? [] {
      guard let process = pid_t(name), let line = try? String(contentsOfFile: "/proc/\(name)/cmdline", encoding: .utf8),
        line == "\(program)\0serve\0"
      else { continue }
      let found = Child.highWaterMark(process)
      lock.withLock { peak = max(peak, found) }
    }
  }

  func stop() -> Double {
    lock.withLock {
      isStopped = true
      return peak
    }
  }
}
