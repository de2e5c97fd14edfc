extension RemoteAddress {
  /// The program and the arguments that run `remoteCommand` on `host`, for execve(2): no shell reads them here.
  ///
  /// The user, the port and `--` precede the host, so that neither it nor the command is read as an option, and `-T`
  /// asks for no terminal, which would change bytes. Of options that are given twice ssh(1) takes the first: a port
  /// or a user that `command` names is used instead of the address' own. The user's shell on the other machine reads
  /// `remoteCommand`, as ssh(1) always has it, so a path never belongs there.
  public static func sshArguments(
    command: String, user: [UInt8]?, host: [UInt8], port: UInt16?, remoteCommand: String
  ) throws(RemoteAddressError) -> [[UInt8]] {
    var arguments = try words(command)
    if let port { arguments += [Array("-p".utf8), Array("\(port)".utf8)] }
    if let user { arguments += [Array("-l".utf8), user] }
    return arguments + [Array("-T".utf8), Array("--".utf8), host, Array(remoteCommand.utf8)]
  }

  /// The words of a command: blanks separate them, and `'` and `"` keep what is between them as it is. Nothing else
  /// means anything: no backslash, no variable, no pattern.
  public static func words(_ command: String) throws(RemoteAddressError) -> [[UInt8]] {
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
