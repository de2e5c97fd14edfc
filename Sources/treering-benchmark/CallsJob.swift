import Foundation

extension Benchmark {
  /// System calls of a second snapshot: those for a tree with files, less those for the same tree without.
  func callsOfAnUnchangedFile() throws -> Row {
    guard (try? Child.run(["strace", "--version"])) != nil else {
      throw Problem("strace counts the calls and is missing; install it with: apt-get install strace")
    }
    let files = 10_000
    let with = try calls(files: files)
    let without = try calls(files: 0)
    var perFile: [String: Double] = [:]
    for name in Set(with.keys).union(without.keys) {
      let difference = Double(with[name, default: 0] - without[name, default: 0]) / Double(files)
      // The catalog adds some reads and writes of 64 KiB, and memory adds some pages.
      if abs(difference) >= 0.02 { perFile[name] = difference }
    }
    let text = perFile.sorted { $0.key < $1.key }
      .map { "\($0.key) \(String(format: "%.3f", $0.value))" }.joined(separator: ", ")
    return Row(
      job: "7 calls of an unchanged file", measure: .calls, value: perFile.values.reduce(0, +),
      must: 2.01, aim: 2.01, note: text)
  }

  private func calls(files: Int) throws -> [String: Int] {
    let source = disk + "/calls-source"
    let repository = disk + "/calls-repository"
    let counts = disk + "/calls-counts"
    try Trees.generate(source, files: files, directories: 10)
    defer {
      try? Child.remove(source)
      try? Child.remove(repository)
    }
    try makeRepository(repository)
    usleep(100_000)
    _ = try snapshot(source, in: repository)
    usleep(1_200_000)
    // One thread, because waits between threads do not depend on the files.
    try Child.run([
      "strace", "-f", "-c", "-U", "name,calls", "-o", counts,
      treering, "snapshot", source, "--threads", "1", "-r", repository,
    ])
    var result: [String: Int] = [:]
    for line in try String(contentsOfFile: counts, encoding: .utf8).split(separator: "\n") {
      let words = line.split(separator: " ")
      if words.count == 2, let count = Int(words[1]), words[0] != "total" { result[String(words[0])] = count }
    }
    guard !result.isEmpty else { throw Problem("strace counted nothing") }
    return result
  }
}
