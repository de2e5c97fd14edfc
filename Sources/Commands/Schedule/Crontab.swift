internal import Model
internal import Posix
internal import Repository
internal import Settings

/// The crontab of this user, with the job of `schedule` in it; `crontab(1)`.
struct Crontab {
  private var before: [UInt8] = []
  private var after: [UInt8] = []
  /// The marked lines.
  var job: [UInt8]?

  /// Divides a crontab. The job ends with the first line that is no comment.
  init(text: [UInt8]) {
    var rest = text[...]
    while let line = Self.removeLine(from: &rest) {
      if job == nil, MarkedText.isMark(line) {
        var lines = line
        while lines.last == newline, let next = Self.removeLine(from: &rest) {
          lines += next
          if next.first != UInt8(ascii: "#") { break }
        }
        job = Array(lines)
      } else if job == nil {
        before += line
      } else {
        after += line
      }
    }
  }

  private static func removeLine(from text: inout ArraySlice<UInt8>) -> ArraySlice<UInt8>? {
    guard !text.isEmpty else { return nil }
    let end = text.firstIndex(of: newline).map { $0 + 1 } ?? text.endIndex
    defer { text = text[end...] }
    return text[..<end]
  }

  static func read() throws(Failure) -> Crontab {
    let tool = Tool(["crontab", "-l"])
    let result = try tool.result()
    if result.end == .exited(0) { return Crontab(text: result.output) }
    // Any other failure may hide a crontab, which would be lost.
    guard result.errors.contains(where: { displayName($0).contains("no crontab for") })
    else { throw tool.failure(of: result) }
    return Crontab(text: [])
  }

  /// Refuses to change an edited job, and to add one beside a person's own.
  func checkUnedited() throws(Failure) {
    if let job, !MarkedText.isUnedited(job) {
      throw Failure(
        .refused, "the job in the crontab was edited, and stays as it is", hint: "remove it with crontab -e first")
    }
    if let own = Self.runs(in: before + after).first {
      throw Failure(
        .refused, "the crontab runs treering already: \(displayName(own))",
        hint: "remove that line with crontab -e first")
    }
  }

  /// The lines of a crontab, a script or a unit that run treering, all or those with this configuration.
  static func runs(in text: [UInt8], of configuration: [UInt8]? = nil) -> [[UInt8]] {
    text.split(separator: newline).map { Array($0) }.filter { runs(line: $0, of: configuration) }
  }

  /// True for `treering run` as words of a command in this order, and `-c` with the configuration or without one.
  private static func runs(line: [UInt8], of configuration: [UInt8]?) -> Bool {
    guard line.first(where: { !isBlank($0) }) != UInt8(ascii: "#") else { return false }
    let text = String(decoding: line, as: UTF8.self)
    let words = ((try? RemoteAddress.words(of: text)) ?? line.split(whereSeparator: isBlank).map { Array($0) })
    return words.indices.contains { index in
      guard splitLast(of: words[index]).name.elementsEqual("treering".utf8),
        let file = configurationOfRun(in: words[(index + 1)...])
      else { return false }
      guard let configuration else { return true }
      let path = file ?? ConfigurationFile.installedPath
      if path == configuration { return true }
      guard let real = try? CurrentProcess.realPath(path) else { return false }
      return real == (try? CurrentProcess.realPath(configuration))
    }
  }

  /// The value of `-c` in the words after `treering`; `nil` if they are no run.
  private static func configurationOfRun(in words: ArraySlice<[UInt8]>) -> [UInt8]?? {
    var (isRun, file, takesFile) = (false, [UInt8]?.none, false)
    for word in words {
      let part = word.prefix { !";&|<>()".utf8.contains($0) }
      let text = displayName(part)
      if takesFile {
        (file, takesFile) = (Array(part), false)
      } else if text == "-c" || text == "--config" {
        takesFile = true
      } else if text.hasPrefix("--config=") {
        file = Array(part.dropFirst("--config=".utf8.count))
      } else if !isRun, !text.isEmpty, !text.hasPrefix("-") {
        guard text == "run" else { return nil }
        isRun = true
      }
      if part.count < word.count { break }
    }
    return isRun ? .some(file) : nil
  }

  /// True if this user's crontab runs treering with a configuration.
  func runsTreering(with configuration: [UInt8]) -> Bool {
    !Self.runs(in: before + (job ?? []) + after, of: configuration).isEmpty
  }

  func write() throws(Failure) {
    var text = before
    if let last = text.last, last != newline { text.append(newline) }
    try Tool(["crontab", "-"], input: text + (job ?? []) + after).run()
  }
}
