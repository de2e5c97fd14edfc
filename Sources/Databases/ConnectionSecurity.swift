internal import Settings

extension DatabaseConfiguration {
  /// True if the connection leaves this machine.
  var isOnOtherHost: Bool {
    guard let host, socket == nil else { return false }
    return !(host == "localhost" || host == "::1" || host.hasPrefix("127.") || host.hasPrefix("/"))
  }

  /// The protection that is asked for; `nil` leaves it to the program.
  var effectiveTLS: TLS? { tls ?? (isOnOtherHost ? .verifyFull : nil) }

  /// True if the server's certificate is verified.
  var verifies: Bool { effectiveTLS == .verifyFull || effectiveTLS == .verifyCA }
}
