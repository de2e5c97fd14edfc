internal import Posix

/// The colours of answers and messages: for a terminal alone, and never with `NO_COLOR` or `TERM=dumb`.
enum Color: Int {
  case red = 31
  case green = 32
  case yellow = 33

  /// The text in this colour, if the stream shows colours.
  func painted(_ text: String, on stream: StandardStream) -> String {
    Self.isShown(on: stream) ? "\u{1B}[\(rawValue)m\(text)\u{1B}[m" : text
  }

  private static func isShown(on stream: StandardStream) -> Bool { stream == .error ? onError : onOutput }
  private static let onOutput = isTerminal(.output)
  private static let onError = isTerminal(.error)

  /// See <https://no-color.org>.
  private static func isTerminal(_ stream: StandardStream) -> Bool {
    guard CurrentProcess.terminalWidth(of: stream) != nil, CurrentProcess.environment("NO_COLOR") ?? [] == []
    else { return false }
    return CurrentProcess.environment("TERM").map { !$0.isEmpty && !$0.elementsEqual("dumb".utf8) } ?? false
  }
}
