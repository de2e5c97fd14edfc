internal import Foundation

/// Two network namespaces with a cable between them, which can be cut without either end hearing of it. Needs root.
public final class Namespaces: Sendable {
  public let client: ByteString
  public let server: ByteString
  public static let clientAddress: ByteString = "10.231.7.1"
  public static let serverAddress: ByteString = "10.231.7.2"
  /// What the cable's end is called in both.
  private static let device: ByteString = "veth0"

  public init() throws {
    let name = ByteString("treering-\(UUID().uuidString.prefix(8))")
    (client, server) = (name + "-client", name + "-server")
    try tool("ip", ["netns", "add", client])
    try tool("ip", ["netns", "add", server])
    try tool(
      "ip",
      ["-n", client, "link", "add", Self.device, "type", "veth", "peer", "name", Self.device, "netns", server])
    for (namespace, address, _) in ends {
      try tool("ip", ["-n", namespace, "address", "add", address + "/24", "dev", Self.device])
      try tool("ip", ["-n", namespace, "link", "set", "lo", "up"])
      try tool("ip", ["-n", namespace, "link", "set", Self.device, "up"])
    }
  }

  deinit {
    for namespace in [client, server] { _ = try? runCommand("ip", ["netns", "delete", namespace]) }
  }

  /// The words that run a program in a namespace, to be followed by those of the program.
  public static func words(in namespace: ByteString) -> [ByteString] { ["ip", "netns", "exec", namespace] }

  /// From now on nothing arrives on either side, and nobody is told: no link goes down and no address goes away, but
  /// each end sends to an Ethernet address that the other does not have.
  public func dropPackets() throws {
    for (namespace, _, peer) in ends {
      try tool(
        "ip",
        [
          "-n", namespace, "neighbour", "replace", peer, "lladdr", "02:00:00:00:00:99", "dev", Self.device, "nud",
          "permanent",
        ])
    }
  }

  /// Ends `dropPackets`; what was sent meanwhile TCP sends again, at its own pace.
  public func passPackets() throws {
    for (namespace, _, peer) in ends {
      try tool("ip", ["-n", namespace, "neighbour", "delete", peer, "dev", Self.device])
    }
  }

  private var ends: [(namespace: ByteString, address: ByteString, peer: ByteString)] {
    [(client, Self.clientAddress, Self.serverAddress), (server, Self.serverAddress, Self.clientAddress)]
  }
}
