import Foundation
import TestSupport
import Testing

/// A world with a bucket of its own, and a configuration with the remote `cloud` in it.
final class BucketWorld {
  struct Object: Decodable {
    let key: String
    /// The mode of its lock, and the days until the lock ends.
    let mode: String?
    let days: Double?
    /// The storage class; `nil` for the standard one.
    let storage: String?
  }

  let world: World
  /// The credentials of the machine.
  var environment: [String: String]
  private let storage: StorageServer
  private let address: ByteString
  private let files: Tree

  /// `keys` are those of the remote's table.
  init(_ keys: String, openActions: Int? = nil) throws {
    world = try World("bucket")
    storage = try StorageServer(.s3, in: world.directory.path, openActions: openActions)
    environment = storage.environment
    address = ByteString(storage.address.text.replacing("web 01", with: "web01"))
    files = Tree(world.directory.path)
    try files.write("password", "correct horse\n", mode: 0o600)
    try files.write(
      "c.toml",
      """
      repository = "\(world.repository.root)"
      [[source]]
      path = "\(world.source.root)"
      [retention]
      daily = 7
      [remote.cloud]
      url = "\(address)"
      password_file = "\(files.root)/password"
      \(keys)

      """)
  }

  /// Runs treering with the configuration.
  @discardableResult
  func treering(
    _ arguments: [ByteString], status: Int32 = 0, at location: SourceLocation = #_sourceLocation
  ) throws -> CommandResult {
    let result = try runCommand(
      try treeringBinary(), arguments + ["-c", files.root / "c.toml"], in: files.root, environment: environment)
    #expect(
      result.status == status, "\(arguments.map(\.text)): \(result.outputText) \(result.errorText)",
      sourceLocation: location)
    return result
  }

  /// Runs stock restic without a lock, which could not be removed again.
  @discardableResult
  func restic(_ arguments: [ByteString]) throws -> CommandResult {
    let result = try runCommand(
      "restic", ["-r", address, "--no-cache", "--no-lock", "--password-file", files.root / "password"] + arguments,
      in: files.root, environment: environment)
    #expect(result.status == 0, "restic \(arguments.map(\.text)): \(result.outputText) \(result.errorText)")
    return result
  }

  /// Works on the bucket without treering; see `s3.py`.
  @discardableResult
  func bucket(_ arguments: [ByteString], as credentials: [String: String]? = nil) throws -> String {
    let script = URL(filePath: #filePath).deletingLastPathComponent().appending(path: "s3.py").path
    let endpoint = address.text.replacing("s3:", with: "").replacing("/bucket/web01", with: "")
    let python = try StorageServer.packageDirectory() / ".build/moto/bin/python"
    let result = try runCommand(
      python, [ByteString(script), ByteString(endpoint)] + arguments, in: files.root,
      environment: credentials ?? environment)
    guard result.status == 0 else { throw TestSupportError("s3.py \(arguments.map(\.text)): \(result.errorText)") }
    return result.outputText
  }

  func objects(as credentials: [String: String]? = nil) throws -> [Object] {
    try JSONDecoder().decode([Object].self, from: Data(bucket(["list"], as: credentials).utf8))
  }

  /// Makes a user with a policy, and returns the credentials.
  func user(_ name: ByteString, policy: String) throws -> [String: String] {
    let text = try bucket(["user", name, ByteString(policy)])
    return try JSONDecoder().decode([String: String].self, from: Data(text.utf8)).merging(
      ["AWS_DEFAULT_REGION": "us-east-1"]) { $1 }
  }

  /// Requires that a restore gives the source again.
  func expectRestored(_ options: [ByteString] = []) throws {
    let out = files.root / "out"
    try treering(["restore", "latest", "--to", out, "-r", "cloud"] + options)
    #expect(try differences(world.source.root, out / world.source.root) == [])
    try files.remove("out")
  }
}
