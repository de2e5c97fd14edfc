internal import Catalog
internal import Engine
internal import Model
internal import Posix

/// The progress line of a long run, shown only on a terminal.
struct ProgressLine {
  private let ticker: Ticker?

  /// `verb` names the activity, such as "snapshot".
  init(for verb: String, of progress: Progress, options: CommonOptions) {
    self.init(options: options) { Self.line(for: verb, of: progress, elapsedSeconds: $0) }
  }

  /// `text` returns the line for an elapsed time in seconds.
  init(options: CommonOptions, _ text: @escaping @Sendable (Double) -> String) {
    guard !options.quiet, !options.json,
      let width = CurrentProcess.terminalWidth(of: .error)
    else {
      ticker = nil
      return
    }
    let start = Clock.monotonic()
    ticker = Ticker(intervalMilliseconds: 200) {
      let elapsed = Clock.monotonic() - start
      Console.progress(String(text(elapsed).prefix(width - 1)))
    }
  }

  func stop() {
    guard let ticker else { return }
    ticker.stop()
    Console.clearProgress()
  }

  private static func line(for verb: String, of progress: Progress, elapsedSeconds: Double) -> String {
    let entries = progress.entries.value
    let bytes = progress.bytesRead.value
    var line = "\(verb): \(grouped(entries)) entries, \(byteText(bytes)) read"
    if elapsedSeconds > 0 {
      // If no file changed, nothing is read, and the entries show the pace.
      line +=
        bytes > 0
        ? ", \(byteText(UInt64(Double(bytes) / elapsedSeconds)))/s"
        : ", \(grouped(UInt64(Double(entries) / elapsedSeconds))) entries/s"
    }
    let expected = progress.expectedEntries.value
    if expected > 0, entries > 0, elapsedSeconds >= 1 {
      let share = min(1, Double(entries) / Double(expected))
      let left = elapsedSeconds / share - elapsedSeconds
      line += ", \(Int(share * 100)) %, about \(durationText(left)) left"
    }
    return line
  }
}
