import Foundation

/// The trees that the jobs measure.
enum Trees {
  static let kernelArchive = "/usr/src/linux-source-6.1.tar.xz"

  /// The kernel source: the given tree, or a tree unpacked once below `work` and kept for later runs.
  static func kernel(_ options: Options) throws -> String {
    if let given = options.kernelTree {
      guard FileManager.default.fileExists(atPath: given + "/Makefile") else {
        throw Problem("\(given) is no unpacked kernel source")
      }
      return given
    }
    let unpacked = options.work + "/linux-source-6.1"
    if FileManager.default.fileExists(atPath: unpacked + "/Makefile") { return unpacked }
    guard FileManager.default.fileExists(atPath: kernelArchive) else {
      throw Problem(
        "\(kernelArchive) is missing; install it with: apt-get install linux-source-6.1, "
          + "or give --kernel-tree DIR")
    }
    progress("unpacking \(kernelArchive)")
    let partial = options.work + "/unpacking"
    try Child.remove(partial)
    try FileManager.default.createDirectory(atPath: partial, withIntermediateDirectories: true)
    try Child.run(["tar", "-xJf", kernelArchive, "-C", partial])
    try FileManager.default.moveItem(atPath: partial + "/linux-source-6.1", toPath: unpacked)
    try Child.remove(partial)
    return unpacked
  }

  /// Small files, evenly spread over directories.
  static func generate(_ path: String, files: Int, directories: Int) throws {
    progress("making \(files) files in \(directories) directories")
    try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true)
    for directory in 0..<directories {
      let below = "\(path)/directory\(directory)"
      guard mkdir(below, 0o755) == 0 else { throw Problem("cannot make \(below)") }
      for index in stride(from: directory, to: files, by: directories) {
        try write("\(below)/file\(index)", "content of file \(index)\n")
      }
    }
  }

  static func write(_ path: String, _ text: String) throws {
    let file = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0o644)
    guard file >= 0 else { throw Problem("cannot make \(path)") }
    defer { close(file) }
    let count = text.utf8.count
    guard text.withCString({ Foundation.write(file, $0, count) }) == count else {
      throw Problem("cannot write \(path)")
    }
  }

  /// Changes a byte or two in the middle of a file, like an edit of one line.
  static func edit(_ path: String) throws {
    let text = try Data(contentsOf: URL(fileURLWithPath: path))
    let middle = text.count / 2
    try (text.prefix(middle) + Data("edited ".utf8) + text.dropFirst(middle)).write(to: URL(fileURLWithPath: path))
  }

  /// Overwrites blocks of 4 KiB at random places, and inserts bytes at the start.
  static func overwriteBlocks(_ path: String, count: Int, inserting inserted: Int) throws {
    let random = try FileHandle(forReadingFrom: URL(fileURLWithPath: "/dev/urandom"))
    func bytes(_ count: Int) throws -> Data { try random.read(upToCount: count) ?? Data() }
    let file = try FileHandle(forUpdating: URL(fileURLWithPath: path))
    let blocks = try file.seekToEnd() / 4096
    var chosen: Set<UInt64> = []
    while chosen.count < count { chosen.insert(UInt64.random(in: 0..<blocks)) }
    for block in chosen {
      try file.seek(toOffset: block * 4096)
      try file.write(contentsOf: bytes(4096))
    }
    try file.close()
    try bytes(inserted).write(to: URL(fileURLWithPath: path + ".new"))
    try Child.run(["sh", "-c", "cat \"$0\" >> \"$0.new\" && mv \"$0.new\" \"$0\"", path])
  }
}
