import Foundation
import Posix

extension Benchmark {
  /// Jobs with another host: an unchanged kernel source is fetched from it, or saved to it without a local repository.
  func hostJobs() throws -> [Row] {
    let server = try SSHServer(in: disk + "/host-ssh")
    let kernel = try Trees.kernel(options)
    setenv("XDG_CACHE_HOME", disk + "/host-cache", 1)
    defer { _ = try? Child.run(["sh", "-c", "rm -rf \"$0\"/host-*", disk]) }
    var rows: [Row] = []
    if options.jobs.contains(38) { rows.append(try fetch(of: kernel, from: server, by: .rsync)) }
    if !options.jobs.isDisjoint(with: [39, 40]) { rows += try directSnapshots(of: kernel, to: server) }
    if options.jobs.contains(41) { rows.append(try fetch(of: kernel, from: server, by: .treering)) }
    return rows
  }

  private enum Fetcher: String { case rsync, treering }

  /// The next fetch of an unchanged tree, against the next `rsync --link-dest` over the same sshd.
  private func fetch(of source: String, from server: SSHServer, by fetcher: Fetcher) throws -> Row {
    let (first, next) = (disk + "/host-first", disk + "/host-next")
    let peer = ["rsync", "-aHAXS", "--numeric-ids", "-e", server.command.joined(separator: " ")]
    try Child.run(peer + ["\(server.host):\(source)/", first + "/"])
    let (repository, file) = (disk + "/host-repository", disk + "/host.toml")
    try makeRepository(repository)
    try Trees.write(
      file,
      """
      repository = "\(repository)"
      [[source]]
      host = "\(server.host)"
      label = "host"
      path = "\(source)"
      ssh = "\(server.command.joined(separator: " "))"
      fetch = "\(fetcher)"
      treering = ["\(treering)"]

      """)
    let number = fetcher == .rsync ? 38 : 41
    progress("\(number): the first fetch")
    _ = try timed([treering, "snapshot", "-c", file])
    let job = "\(number) kernel, unchanged, fetched by \(fetcher), against rsync --link-dest"
    let times = try alternate(job, on: disk) {
      try timed([treering, "snapshot", "-c", file])
    } _: {
      let usage = try Child.run(peer + ["--link-dest=\(first)", "\(server.host):\(source)/", next + "/"])
      try Child.remove(next)
      return usage.seconds
    }
    try Child.run(["rm", "-rf", first, repository])
    return ratioRow(job, times, must: fetcher == .rsync ? 0.91 : 5, aim: fetcher == .rsync ? 1 : 10)
  }

  /// The next snapshot of an unchanged tree in a repository on the host alone.
  private func directSnapshots(of source: String, to server: SSHServer) throws -> [Row] {
    let ssh = server.command.joined(separator: " ")
    let connection = ["--ssh", ssh, "--remote-command", "\(treering) serve"]
    let remote = disk + "/host-direct"
    try makeRepository(remote)
    func direct() throws -> Double {
      try timed([treering, "snapshot", source, "-r", "ssh://\(server.host)\(remote)"] + connection)
    }
    progress("39: the first direct snapshot")
    _ = try direct()
    var rows: [Row] = []
    if options.jobs.contains(39) {
      let (repository, far) = (disk + "/host-local", disk + "/host-pushed")
      try makeRepository(repository)
      try makeRepository(far)
      func snapshotAndPush() throws -> Double {
        let taken = try timed([treering, "snapshot", source, "-r", repository])
        let pushed = try Child.run([treering, "push", "ssh://\(server.host)\(far)", "-r", repository] + connection)
        return taken + pushed.seconds
      }
      _ = try snapshotAndPush()
      let job = "39 kernel, unchanged, direct snapshot, against a local one and its push"
      rows.append(ratioRow(job, try alternate(job, on: disk, direct, snapshotAndPush), must: 1, aim: 1.5))
    }
    if options.jobs.contains(40) {
      setenv("RESTIC_PASSWORD", "benchmark", 1)
      let restic = [
        "restic", "-r", "sftp:\(server.host):\(disk)/host-restic", "--cache-dir", disk + "/host-restic-cache", "-o",
        "sftp.command=\(ssh) \(server.host) -s sftp",
      ]
      try Child.run(restic + ["init"])
      try Child.run(restic + ["backup", source])
      let job = "40 kernel, unchanged, direct snapshot, against restic backup over sftp"
      let times = try alternate(job, on: disk, direct) { try Child.run(restic + ["backup", source]).seconds }
      rows.append(ratioRow(job, times, must: 5, aim: 8))
    }
    return rows
  }

  /// Runs a program that names a snapshot by the second, after the second of the last one.
  private func timed(_ words: [String]) throws -> Double {
    usleep(1_100_000)
    return try Child.run(words).seconds
  }
}
