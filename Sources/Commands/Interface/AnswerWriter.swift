internal import Posix

/// Writes the lines of a long answer to standard output, many at once. A terminal gets each line immediately.
final class AnswerWriter {
  private var pending: [UInt8] = []
  private let limit = CurrentProcess.terminalWidth(of: .output) == nil ? 32 << 10 : 0

  /// Writes a line; throws if standard output has failed, so that a long command can end.
  func line(_ text: String) throws(Errno) { try write(text + "\n") }

  func write(_ text: String) throws(Errno) { try write(Array(text.utf8)) }

  func write(_ bytes: [UInt8]) throws(Errno) {
    pending += bytes
    if pending.count > limit { flush() }
    try Console.checkOutput()
  }

  /// Must follow the last line, and precede a message to standard error that refers to earlier lines.
  func flush() {
    if pending.isEmpty { return }
    Console.write(pending, to: .output)
    pending.removeAll(keepingCapacity: true)
  }
}
