internal import Model
internal import Posix
internal import Repository

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

  /// The lines of a crontab, or of a script, that run treering.
  static func runs(in text: [UInt8]) -> [[UInt8]] {
    text.split(separator: newline).map { Array($0) }.filter { line in
      let text = displayName(line)
      return line.first != UInt8(ascii: "#") && text.contains("treering") && text.contains(" run")
    }
  }

  /// True if this user's crontab runs treering.
  var runsTreering: Bool { !Self.runs(in: before + (job ?? []) + after).isEmpty }

  func write() throws(Failure) {
    var text = before
    if let last = text.last, last != newline { text.append(newline) }
    try Tool(["crontab", "-"], input: text + (job ?? []) + after).run()
  }
}
