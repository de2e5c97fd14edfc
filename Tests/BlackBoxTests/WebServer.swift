import Foundation
import TestSupport

/// A real server on loopback that writes down what it is sent; see `server.py` for how it answers.
final class WebServer {
  struct Request: Decodable {
    let method: String
    let path: String
    let body: String
    let bytes: Int
    let headers: [String: String]
    let time: Double
  }

  let port: Int
  private let process: RunningCommand
  private let log: ByteString

  /// Writes its files below `directory`; with a certificate it speaks HTTPS.
  init(_ directory: ByteString, certificate: Certificate? = nil) throws {
    let script = URL(filePath: #filePath).deletingLastPathComponent().appending(path: "server.py").path
    let portFile = directory / "server-port"
    log = directory / "server-log"
    let files = certificate.map { [$0.file, $0.key] } ?? []
    process = try RunningCommand("python3", [ByteString(script), portFile, log] + files)
    let deadline = Date().addingTimeInterval(60)
    while !Tree(directory).exists("server-port") {
      guard Date() < deadline else { throw TestSupportError("the server does not start") }
      usleep(5000)
    }
    let text = String(decoding: try tool("cat", [portFile]), as: UTF8.self)
    guard let port = Int(text) else { throw TestSupportError("the server says \(text)") }
    self.port = port
  }

  func requests() throws -> [Request] {
    guard Tree(log.parent).exists("server-log") else { return [] }
    return try tool("cat", [log]).split(separator: 10).map {
      try JSONDecoder().decode(Request.self, from: Data($0))
    }
  }
}

/// A certificate that vouches for itself, and its key.
struct Certificate {
  let file: ByteString
  let key: ByteString

  /// `subject` is a subjectAltName, such as `IP:127.0.0.1`; `made` moves the clock, as faketime(1) takes it.
  init(_ directory: ByteString, for subject: ByteString, made: ByteString = "+0d") throws {
    file = directory / "certificate.pem"
    key = directory / "key.pem"
    try tool(
      "faketime",
      [
        "-f", made, "openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=test",
        "-addext", "subjectAltName=" + subject, "-out", file, "-keyout", key,
      ])
  }
}
