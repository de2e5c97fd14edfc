import Foundation
import Posix

extension Benchmark {
  /// Pushes to a repository of restic's format over SFTP, against restic itself over the same sshd.
  func resticJobs() throws -> [Row] {
    guard (try? Child.run(["restic", "version"])) != nil else {
      throw Problem("restic is the peer and is missing; install it with: apt-get install restic")
    }
    let peer = ResticPeer(treering: treering, disk: disk, server: try SSHServer(in: disk + "/ssh"))
    try Trees.write(peer.password, "correct horse\n")
    try Child.run(["chmod", "600", peer.password])
    defer { _ = try? Child.run(["sh", "-c", "rm -rf \"$0\"/restic-*", disk]) }
    var rows: [Row] = []
    if !options.jobs.isDisjoint(with: Set(30...35)) { rows += try resticKernelJobs(peer) }
    if !options.jobs.isDisjoint(with: [36, 37]) { rows += try resticMillionJobs(peer) }
    return rows.filter { row in options.jobs.contains(Int(row.job.prefix { $0 != " " }) ?? 0) }
  }

  private func resticKernelJobs(_ peer: ResticPeer) throws -> [Row] {
    let source = disk + "/restic-source"
    let repository = disk + "/restic-repository"
    try Child.run(["cp", "-a", try Trees.kernel(options), source])
    try makeRepository(repository)
    _ = try snapshot(source, in: repository)
    var sizes: (ours: [Double], theirs: [Double]) = ([], [])
    let first = try alternate("30 kernel, first push, against restic backup", on: disk) {
      try peer.initialize(.ours)
      defer { sizes.ours.append((try? peer.byteCount(.ours)) ?? 0) }
      return try peer.push(repository).seconds
    } _: {
      try peer.initialize(.theirs)
      defer { sizes.theirs.append((try? peer.byteCount(.theirs)) ?? 0) }
      return try peer.backUp(source).seconds
    }
    var rows = [ratioRow("30 kernel, first push, against restic backup", first, must: 1, aim: 1.5)]
    rows.append(peer.sizeRow("31 kernel, first push, bytes stored", sizes))
    let unchanged = try alternate("32 kernel, nothing changed, against restic backup", on: disk) {
      _ = try snapshot(source, in: repository)
      try Child.settle(disk, memory)
      return try peer.push(repository).seconds
    } _: {
      try peer.backUp(source).seconds
    }
    rows.append(ratioRow("32 kernel, nothing changed, against restic backup", unchanged, must: 10, aim: 30))
    rows += try editedJobs(peer, source: source, repository: repository)
    let out = disk + "/restic-out"
    let restores = try alternate("35 kernel, full restore, against restic restore", on: disk) {
      defer { try? Child.remove(out) }
      return try peer.restore(.ours, to: out).seconds
    } _: {
      defer { try? Child.remove(out) }
      return try peer.restore(.theirs, to: out).seconds
    }
    rows.append(ratioRow("35 kernel, full restore, against restic restore", restores, must: 1.5, aim: 3))
    return rows
  }

  private func editedJobs(_ peer: ResticPeer, source: String, repository: String) throws -> [Row] {
    let files = try Child.text(["find", source, "-type", "f", "-size", "+0"]).split(separator: "\n").map(String.init)
    var run = 0
    var sizes: (ours: [Double], theirs: [Double]) = ([], [])
    let edited = try alternate("33 kernel, 1 % of files edited, against restic backup", on: disk) {
      for index in stride(from: run, to: files.count, by: 100) { try Trees.edit(files[index]) }
      run += 1
      _ = try snapshot(source, in: repository)
      try Child.settle(disk, memory)
      let before = try peer.byteCount(.ours)
      let usage = try peer.push(repository)
      sizes.ours.append(try peer.byteCount(.ours) - before)
      return usage.seconds
    } _: {
      let before = try peer.byteCount(.theirs)
      let usage = try peer.backUp(source)
      sizes.theirs.append(try peer.byteCount(.theirs) - before)
      return usage.seconds
    }
    return [
      ratioRow("33 kernel, 1 % of files edited, against restic backup", edited, must: 5, aim: 10),
      peer.sizeRow("34 kernel, 1 % of files edited, bytes stored", sizes),
    ]
  }

  private func resticMillionJobs(_ peer: ResticPeer) throws -> [Row] {
    let source = disk + "/restic-million"
    let repository = disk + "/restic-million-repository"
    let scale = options.quick ? 10 : 1
    try Trees.generate(source, files: 1_000_000 / scale, directories: 1000 / scale)
    try makeRepository(repository)
    _ = try snapshot(source, in: repository)
    try peer.initialize(.ours)
    progress("the first push of a million files")
    _ = try peer.push(repository)
    var usages: [Usage] = []
    for run in 0..<min(3, options.runs) {
      for file in 0..<10 { try Trees.write("\(source)/directory\(file * 7)/file\(file * 7)", "run \(run)\n") }
      _ = try snapshot(source, in: repository)
      try Child.settle(disk, memory)
      usages.append(try peer.push(repository, measuringMemory: true))
    }
    return [
      Row(
        job: "36 million files, ten changed, push", measure: .milliseconds,
        value: median(usages.map(\.seconds)) * 1000, must: 3000, aim: 1000),
      Row(
        job: "37 million files, ten changed, push: memory", measure: .mebibytes,
        value: median(usages.map(\.peakBytes)) / 1_048_576, must: 64, aim: 32),
    ]
  }
}

/// Two repositories of restic's format behind one sshd: treering's and restic's own.
private struct ResticPeer {
  enum Side: String { case ours, theirs }

  let treering: String
  let disk: String
  let server: SSHServer

  var password: String { disk + "/restic-password" }

  private func path(_ side: Side) -> String { "\(disk)/restic-\(side.rawValue)" }
  private func address(_ side: Side) -> String { "sftp:\(server.host):\(path(side))" }

  private var ownOptions: [String] { ["--ssh", server.command.joined(separator: " "), "--password-file", password] }

  private func restic(_ arguments: [String]) -> [String] {
    let command = (server.command + [server.host, "-s", "sftp"]).joined(separator: " ")
    return [
      "restic", "-q", "-r", address(.theirs), "--password-file", password, "--cache-dir", disk + "/restic-cache", "-o",
      "sftp.command=\(command)",
    ] + arguments
  }

  /// Makes an empty repository, in place of an earlier one.
  func initialize(_ side: Side) throws {
    try Child.remove(path(side))
    try Child.run(side == .ours ? [treering, "init", "-r", address(.ours)] + ownOptions : restic(["init"]))
  }

  func push(_ repository: String, measuringMemory: Bool = false) throws -> Usage {
    try Child.run(
      [treering, "push", address(.ours), "-r", repository, "-q"] + ownOptions, measuringMemory: measuringMemory)
  }

  func backUp(_ source: String) throws -> Usage { try Child.run(restic(["backup", source])) }

  func restore(_ side: Side, to directory: String) throws -> Usage {
    try Child.run(
      side == .ours
        ? [treering, "restore", "latest", "--to", directory, "-r", address(.ours), "-q"] + ownOptions
        : restic(["restore", "latest", "--target", directory]))
  }

  /// The bytes that a repository has.
  func byteCount(_ side: Side) throws -> Double {
    Double(try Child.text(["du", "-sb", path(side)]).prefix { $0.isNumber }) ?? 0
  }

  /// The bytes of treering divided by those of restic. The first, uncounted run is left out.
  func sizeRow(_ job: String, _ sizes: (ours: [Double], theirs: [Double])) -> Row {
    let (ours, theirs) = (median(Array(sizes.ours.dropFirst())), median(Array(sizes.theirs.dropFirst())))
    return Row(
      job: job, measure: .growth, value: ours / theirs, must: 1, aim: 1,
      note: String(format: "bytes: treering %.0f, peer %.0f", ours, theirs))
  }
}
