internal import Model
internal import Posix
internal import Repository
internal import Restic
internal import Settings

/// The credentials for a storage: those of the configuration, then the environment's, then those of the user's file.
struct StorageAccess {
  let remote: RemoteConfiguration
  /// The address, for messages.
  let name: String

  static func environment(_ name: String) -> String? {
    CurrentProcess.environment(name).flatMap { $0.isEmpty ? nil : String(decoding: $0, as: UTF8.self) }
  }

  private func environment(_ name: String) -> String? { Self.environment(name) }

  /// The credentials for a bucket, as AWS's own tools find them.
  func s3() throws(Failure) -> S3Credentials {
    if remote.credentialsFile == nil, remote.profile == nil, let key = environment("AWS_ACCESS_KEY_ID"),
      let secret = environment("AWS_SECRET_ACCESS_KEY")
    {
      return S3Credentials(accessKey: key, secretKey: secret, sessionToken: environment("AWS_SESSION_TOKEN"))
    }
    let home = environment("HOME").map { $0 + "/.aws/credentials" }
    let file = remote.credentialsFile ?? environment("AWS_SHARED_CREDENTIALS_FILE") ?? home
    guard let file, let (values, place) = try values(of: file, profileVariable: "AWS_PROFILE") else {
      throw Failure(
        .usage, "the storage \(name) needs credentials",
        hint: "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or name their file: see credentials_file in "
          + "treering.toml(5)")
    }
    guard let key = values["aws_access_key_id"], let secret = values["aws_secret_access_key"]
    else { throw Failure(.usage, "\(place) lacks aws_access_key_id or aws_secret_access_key") }
    return S3Credentials(accessKey: key, secretKey: secret, sessionToken: values["aws_session_token"])
  }

  /// User and password for a REST server; `nil` if it needs none.
  func login() throws(Failure) -> (user: String, password: String)? {
    guard let file = remote.credentialsFile else {
      guard let user = environment("RESTIC_REST_USERNAME") else { return nil }
      return (user, environment("RESTIC_REST_PASSWORD") ?? "")
    }
    guard let (values, place) = try values(of: file, profileVariable: nil) else { return nil }
    guard let user = values["username"], let password = values["password"]
    else { throw Failure(.usage, "\(place) lacks username or password") }
    return (user, password)
  }

  /// The section of a file; `nil` if the file is not named by the user and is missing.
  private func values(
    of file: String, profileVariable: String?
  ) throws(Failure) -> (values: [String: String], place: String)? {
    let path = Array(file.utf8)
    if remote.credentialsFile == nil, (try? Descriptor.open(path: path, .pathOnly)) == nil { return nil }
    let profile = remote.profile ?? profileVariable.flatMap { environment($0) } ?? "default"
    let place = "the section [\(displayName(Array(profile.utf8)))] of \(displayName(path))"
    let text = try ResticAccess.read(path, named: "the file of credentials \(displayName(path))")
    guard let values = StorageCredentials(text: text).values(of: profile) else {
      throw Failure(.usage, "there is no section [\(displayName(Array(profile.utf8)))] in \(displayName(path))")
    }
    return (values, place)
  }

  /// The region that a bucket's requests are signed for. Providers name it in the host: `s3.eu-central-1.example.com`.
  func region(of host: String) throws(Failure) -> String {
    if let region = remote.region ?? environment("AWS_REGION") ?? environment("AWS_DEFAULT_REGION") { return region }
    let labels = host.split(separator: ".")
    let isRegion = labels.count >= 4 && labels[0] == "s3" && labels[1].contains("-")
    return isRegion ? String(labels[1]) : "us-east-1"
  }
}
