import TestSupport

/// Runs treering on a terminal of so many columns. The output is all that the terminal shows.
func onTerminal(
  _ arguments: [ByteString], columns: Int, in directory: ByteString, environment: [String: String] = [:],
  input: ByteString = "/dev/null"
) throws -> CommandResult {
  let words = ([try treeringBinary()] + arguments).map { "'\($0)'" }.joined(separator: " ")
  try Tree(directory).write("terminal.sh", "stty cols \(columns)\n\(words)\n")
  return try runCommand(
    "script", ["-qec", "sh \(directory)/terminal.sh", "/dev/null"], in: directory, environment: environment,
    input: input)
}

extension CommandResult {
  /// The lines that a terminal shows.
  var terminalLines: [String] {
    outputText.replacing("\r\n", with: "\n").split(separator: "\n").map { String($0.last == "\r" ? $0.dropLast() : $0) }
  }
}
