extension RemoteAddress {
  /// The program and the arguments that run `remoteCommand` on `host`, for execve(2); no local shell reads them.
  ///
  /// The user, the port and `--` precede the host, so ssh(1) reads neither host nor command as an option. `-T`
  /// requests no terminal, because a terminal would change bytes. ssh(1) uses the first of repeated options, so a
  /// port or user in `command` overrides the address' own. The user's shell on the other machine reads
  /// `remoteCommand`, as always with ssh(1). A path therefore never belongs there.
  public static func sshArguments(
    command: String, user: [UInt8]?, host: [UInt8], port: UInt16?, remoteCommand: String
  ) throws(RemoteAddressError) -> [[UInt8]] {
    var arguments = try words(of: command)
    if let port { arguments += [Array("-p".utf8), Array("\(port)".utf8)] }
    if let user { arguments += [Array("-l".utf8), user] }
    return arguments + [Array("-T".utf8), Array("--".utf8), host, Array(remoteCommand.utf8)]
  }

  /// Splits a command into words at blanks; `'` and `"` keep the text between them. Backslashes, variables and
  /// patterns have no special meaning.
  public static func words(of command: String) throws(RemoteAddressError) -> [[UInt8]] {
    var words: [[UInt8]] = []
    var quote: UInt8?
    var isInWord = false
    for byte in command.utf8 {
      guard byte != 0 else { throw .forbiddenByte }
      if byte == quote {
        quote = nil
        continue
      }
      let isQuote = quote == nil && (byte == UInt8(ascii: "'") || byte == UInt8(ascii: "\""))
      if quote == nil, isBlank(byte) {
        isInWord = false
        continue
      }
      if !isInWord { words.append([]) }
      isInWord = true
      if isQuote { quote = byte } else { words[words.count - 1].append(byte) }
    }
    guard quote == nil else { throw .unclosedQuote }
    guard words.first?.isEmpty == false else { throw .emptyCommand }
    return words
  }
}
