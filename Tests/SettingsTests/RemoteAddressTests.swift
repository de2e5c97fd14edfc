import Settings
import Testing

@Suite("Addresses of remotes")
struct RemoteAddressTests {
  private static func ssh(
    _ host: String, _ path: String, user: String? = nil, port: UInt16? = nil
  ) -> RemoteAddress {
    .ssh(user: user.map { Array($0.utf8) }, host: Array(host.utf8), port: port, path: Array(path.utf8))
  }

  private static func local(_ path: String) -> RemoteAddress { .local(Array(path.utf8)) }

  @Test(
    "what is read",
    arguments: [
      ("ssh://nas/srv/r", ssh("nas", "/srv/r")),
      ("SSH://nas/srv/r", ssh("nas", "/srv/r")),
      ("ssh://backup@nas.example.org:2222/srv/r", ssh("nas.example.org", "/srv/r", user: "backup", port: 2222)),
      ("ssh://nas:65535/", ssh("nas", "/", port: 65535)),
      ("ssh://nas:00022/r", ssh("nas", "/r", port: 22)),
      ("ssh://nas//r/", ssh("nas", "//r/")),
      ("ssh://nas/~/r", ssh("nas", "r")),
      ("ssh://nas/~u/r", ssh("nas", "/~u/r")),
      ("ssh://nas/%7E/r", ssh("nas", "/~/r")),
      ("ssh://nas/a%20b%2fc%25?d#e", ssh("nas", "/a b/c%?d#e")),
      ("ssh://nas/a:b@c", ssh("nas", "/a:b@c")),
      ("ssh://a@b@nas/r", ssh("nas", "/r", user: "a@b")),
      ("ssh://DOMAIN\\u@nas/r", ssh("nas", "/r", user: "DOMAIN\\u")),
      ("ssh://[::1]/r", ssh("::1", "/r")),
      ("ssh://u@[fe80::1%eth0]:22/r", ssh("fe80::1%eth0", "/r", user: "u", port: 22)),
      ("nas:r", ssh("nas", "r")),
      ("nas:/srv/r", ssh("nas", "/srv/r")),
      ("u@nas:r/a:b", ssh("nas", "r/a:b", user: "u")),
      ("nas:a@b", ssh("nas", "a@b")),
      ("nas:a@b:c", ssh("nas", "a@b:c")),
      ("nas:[x]", ssh("nas", "[x]")),
      ("a@b@nas:r", ssh("nas", "r", user: "a@b")),
      ("nas:~/r", ssh("nas", "r")),
      ("nas:~u/r", ssh("nas", "~u/r")),
      ("nas:%41 'b'$(c)", ssh("nas", "%41 'b'$(c)")),
      ("nas:-r", ssh("nas", "-r")),
      ("ssh:r", ssh("ssh", "r")),
      ("http:/r", ssh("http", "/r")),
      ("[::1]:r", ssh("::1", "r")),
      ("u@[::1]:/r", ssh("::1", "/r", user: "u")),
      ("[nas]:r", ssh("nas", "r")),
      ("/srv/r", local("/srv/r")),
      ("./a:b", local("./a:b")),
      ("/a:b", local("/a:b")),
      ("a/b:c", local("a/b:c")),
      ("a/ssh://b/c", local("a/ssh://b/c")),
      ("r", local("r")),
      ("-r", local("-r")),
      ("[r]", local("[r]")),
      ("a@b", local("a@b")),
      ("./sftp://x", local("./sftp://x")),
    ])
  func read(_ text: String, _ address: RemoteAddress) throws { #expect(try RemoteAddress(text) == address) }

  @Test(
    "one form is recorded, however an address is written, and it is read again as the same",
    arguments: [
      ("/mnt/x", ["/mnt/x/", "//mnt/./x", "/mnt//x/."]), ("/", ["//", "/."]),
      ("ssh://nas/srv/r", ["ssh://nas/srv/r/", "nas:/srv/r", "SSH://nas//srv/./r", "ssh://nas/%73rv/r"]),
      ("ssh://u@nas:22/srv/r", ["ssh://u@nas:22//srv/r"]),
      ("ssh://nas/~/r", ["nas:r", "nas:~/r", "nas:./r/"]), ("ssh://nas/%7E/r", ["nas:/~/r"]),
      ("ssh://nas/~/~u/r", ["nas:~u/r"]), ("ssh://[::1]/r", ["[::1]:/r"]),
      ("ssh://nas/a%20b%25", ["nas:/a b%", "ssh://nas/a%20b%25/"]), ("ssh://nas/é", ["nas:/é", "ssh://nas/%c3%a9"]),
    ])
  func recorded(form: String, others: [String]) throws {
    for text in [form] + others {
      #expect(String(decoding: try RemoteAddress(text).recorded, as: UTF8.self) == form, "\(text)")
    }
    let bytes = Array("ssh://nas/".utf8) + Array("a%FFb".utf8)
    #expect(try RemoteAddress(bytes).recorded == bytes)
  }

  @Test("bytes that are no text stay what they are")
  func bytes() throws {
    let host = Array("nas".utf8)
    #expect(
      try RemoteAddress(host + [0x3A, 0x72, 0xFF]) == .ssh(user: nil, host: host, port: nil, path: [0x72, 0xFF]))
    #expect(try RemoteAddress("ssh://nas/%fF") == .ssh(user: nil, host: host, port: nil, path: [0x2F, 0xFF]))
    #expect(try RemoteAddress([0x2F, 0xFE]) == .local([0x2F, 0xFE]))
  }

  @Test(
    "what is wrong",
    arguments: [
      ("", .emptyPath),
      ("ssh://nas", .emptyPath),
      ("ssh://nas:22", .emptyPath),
      ("ssh://nas/~", .emptyPath),
      ("ssh://nas/~/", .emptyPath),
      ("nas:", .emptyPath),
      ("nas:~", .emptyPath),
      ("nas:~/", .emptyPath),
      ("[::1]:", .emptyPath),
      ("ssh:///r", .empty(.host)),
      ("ssh://", .empty(.host)),
      ("ssh://:22/r", .empty(.host)),
      ("ssh://u@/r", .empty(.host)),
      ("ssh://[]/r", .empty(.host)),
      (":r", .empty(.host)),
      ("u@:r", .empty(.host)),
      ("[]:r", .empty(.host)),
      ("::1:r", .empty(.host)),
      ("ssh://@nas/r", .empty(.user)),
      ("@nas:r", .empty(.user)),
      ("ssh://-oProxyCommand=x/r", .option(.host)),
      ("ssh://[-x]/r", .option(.host)),
      ("-oProxyCommand=x:r", .option(.host)),
      ("[-x]:r", .option(.host)),
      ("ssh://-x@nas/r", .option(.user)),
      ("-x@nas:r", .option(.user)),
      ("ssh://na s/r", .forbiddenCharacter(.host)),
      ("$(x):r", .forbiddenCharacter(.host)),
      ("`x`:r", .forbiddenCharacter(.host)),
      ("a;b:r", .forbiddenCharacter(.host)),
      ("a[b:r", .forbiddenCharacter(.host)),
      ("na\ts:r", .forbiddenCharacter(.host)),
      ("u;x@nas:r", .forbiddenCharacter(.user)),
      ("u\\@nas:r", .forbiddenCharacter(.user)),
      ("ssh://u:p@nas/r", .password),
      ("ssh://:p@nas/r", .password),
      ("ssh://nas:/r", .impossiblePort),
      ("ssh://nas:0/r", .impossiblePort),
      ("ssh://nas:65536/r", .impossiblePort),
      ("ssh://nas:+22/r", .impossiblePort),
      ("ssh://nas:22x/r", .impossiblePort),
      ("ssh://nas:99999999999999999999/r", .impossiblePort),
      ("ssh://fe80::1/r", .impossiblePort),
      ("ssh://[::1]:/r", .impossiblePort),
      ("ssh://[::1/r", .brokenBrackets),
      ("ssh://[::1]22/r", .brokenBrackets),
      ("[::1:r", .brokenBrackets),
      ("[::1]r", .brokenBrackets),
      ("[::1]/r", .brokenBrackets),
      ("u@[::1]x:r", .brokenBrackets),
      ("ssh://nas/%", .impossibleEscape),
      ("ssh://nas/%4", .impossibleEscape),
      ("ssh://nas/%4g", .impossibleEscape),
      ("ssh://nas/%+4", .impossibleEscape),
      ("ssh://nas/%00", .forbiddenByte),
      ("ssh://nas/%0a", .forbiddenByte),
      ("nas:a\nb", .forbiddenByte),
      ("/a\0b", .forbiddenByte),
      ("ftp://nas/r", .unknownScheme("ftp")),
      ("s3:", .empty(.host)), ("s3:https://host", .missingBucket), ("s3:host/", .missingBucket),
      ("s3:https://key:secret@host/bucket", .loginInURL), ("s3:https://ho st/bucket", .forbiddenCharacter(.host)),
      ("rest:host/r", .missingScheme), ("rest:https://ann:secret@host/r", .loginInURL),
      ("rest:https://host/a b", .impossibleURL), ("rest:https://host/a?b", .impossibleURL),
      ("sftp:host", .emptyPath), ("sftp:host:", .emptyPath), ("sftp://host/", .emptyPath),
      ("sftp:-oProxyCommand=x:/r", .option(.host)), ("sftp://u:p@host/r", .password),
      ("http://nas/r", .unknownScheme("http")),
      ("file:///r", .unknownScheme("file")),
      ("x+y.z-1://r", .unknownScheme("x+y.z-1")),
    ] as [(String, RemoteAddressError)])
  func wrong(_ text: String, _ error: RemoteAddressError) {
    #expect(throws: error) { try RemoteAddress(text) }
  }

  @Test("restic: leads to a directory of this machine, and is recorded tidily")
  func restic() throws {
    let address = try RemoteAddress("restic:/mnt//usb/./r/")
    #expect(address == .restic(Array("/mnt//usb/./r/".utf8)))
    #expect(String(decoding: address.recorded, as: UTF8.self) == "restic:/mnt/usb/r")
    #expect(throws: RemoteAddressError.emptyPath) { try RemoteAddress("restic:") }
    #expect(try RemoteAddress("ssh://restic/r") != address)
  }

  @Test(
    "addresses of storages are read as restic writes them, and recorded in one form",
    arguments: [
      (
        "s3:https://s3.example.org:9000/bucket/a/b",
        .s3(scheme: "https", host: "s3.example.org:9000", bucket: "bucket", prefix: "a/b"), nil
      ),
      (
        "s3:S3.example.org:443/bucket//a/", .s3(scheme: "https", host: "s3.example.org", bucket: "bucket", prefix: "a"),
        "s3:https://s3.example.org/bucket/a"
      ),
      (
        "s3://host/bucket", .s3(scheme: "https", host: "host", bucket: "bucket", prefix: ""),
        "s3:https://host/bucket"
      ),
      ("s3:http://[::1]:80/b", .s3(scheme: "http", host: "[::1]", bucket: "b", prefix: ""), "s3:http://[::1]/b"),
      ("rest:https://host:8000/a//b", .rest(url: "https://host:8000/a/b/"), "rest:https://host:8000/a/b/"),
      ("rest:http://host", .rest(url: "http://host/"), "rest:http://host/"),
      ("sftp:u@nas:/srv/r", Self.sftp("/srv/r", user: "u"), "sftp://u@nas//srv/r"),
      ("sftp:nas:r/./x", Self.sftp("r/./x"), "sftp://nas/r/x"),
      ("sftp://nas:2222//srv/r%20", Self.sftp("/srv/r ", port: 2222), "sftp://nas:2222//srv/r%20"),
      ("sftp://nas/r", Self.sftp("r"), nil),
    ] as [(String, StorageAddress, String?)])
  func storages(text: String, address: StorageAddress, recorded: String?) throws {
    let read = try RemoteAddress(text)
    #expect(read == .storage(address))
    let form = String(decoding: read.recorded, as: UTF8.self)
    #expect(form == recorded ?? text)
    #expect(try RemoteAddress(form).recorded == Array(form.utf8))
  }

  private static func sftp(_ path: String, user: String? = nil, port: UInt16? = nil) -> StorageAddress {
    .sftp(user: user.map { Array($0.utf8) }, host: Array("nas".utf8), port: port, path: Array(path.utf8))
  }

  @Test("credentials are read in AWS's form")
  func credentials() {
    let file = StorageCredentials(
      text: Array("a = 1\n# b = 2\n[ x ]\nKey=  a=b \n;c=3\nnonsense\n[y]\n[default]\nz=\n".utf8))
    #expect(file.values(of: "default") == ["a": "1", "z": ""])
    #expect(file.values(of: "x") == ["key": "a=b"])
    #expect(file.values(of: "y") == [:] && file.values(of: "none") == nil)
  }

  @Test(
    "keys of a storage belong to their storage",
    arguments: [
      "url = \"/r\"\ncredentials_file = \"/c\"", "url = \"rest:https://h/\"\npassword_file = \"/p\"\nregion = \"x\"",
      "url = \"sftp:h:/r\"\npassword_file = \"/p\"\nprofile = \"x\"", "url = \"s3:h/b\"",
      "url = \"s3:h/b\"\npassword_file = \"/p\"\nstorage_class = \"GLACIER\"",
      "url = \"restic:/r\"\npassword_file = \"/p\"\npath_style = true",
      "url = \"sftp:h:/r\"\npassword_file = \"/p\"\nlock = \"30d\"",
      "url = \"rest:https://h/\"\npassword_file = \"/p\"\narchive_class = \"GLACIER\"",
      "url = \"s3:h/b\"\npassword_file = \"/p\"\nlock = \"1h\"",
      "url = \"s3:h/b\"\npassword_file = \"/p\"\nlock_mode = \"compliance\"",
      "url = \"s3:h/b\"\npassword_file = \"/p\"\nlock = \"30d\"\nlock_mode = \"soft\"",
      "url = \"s3:h/b\"\npassword_file = \"/p\"\narchive_class = \"STANDARD\"",
    ])
  func storageKeys(table: String) {
    #expect(throws: (any Error).self) { try Configuration(text: "[remote.x]\n\(table)\n") }
  }

  @Test("a lock is one of compliance unless another mode is named, and nothing may be removed then")
  func lock() throws {
    let base = "[remote.x]\nurl = \"s3:h/b\"\npassword_file = \"/p\"\nlock = \"30d\"\n"
    let remote = try #require(try Configuration(text: base).remotes.first)
    #expect(remote.lockSeconds == 30 * 86_400 && remote.lockMode == .compliance && remote.isAppendOnly)
    let other = try #require(try Configuration(text: base + "lock_mode = \"governance\"\n").remotes.first)
    #expect(other.lockMode == .governance)
  }

  @Test(
    "a password belongs to a remote of restic's format, and to each",
    arguments: [
      "url = \"restic:/r\"", "url = \"/r\"\npassword_file = \"/p\"", "url = \"h:/r\"\npassword_command = \"x\"",
      "url = \"restic:/r\"\npassword_file = \"/p\"\npassword_command = \"x\"",
      "url = \"restic:r\"\npassword_file = \"/p\"", "url = \"restic:/r\"\npassword_command = \"'\"",
    ])
  func passwords(table: String) {
    #expect(throws: (any Error).self) { try Configuration(text: "[remote.x]\n\(table)\n") }
  }

  @Test("every fault has a sentence of its own")
  func sentences() {
    let faults: [RemoteAddressError] = [
      .empty(.host), .empty(.user), .option(.host), .option(.user), .forbiddenCharacter(.host),
      .forbiddenCharacter(.user), .password, .brokenBrackets, .impossiblePort, .emptyPath, .impossibleEscape,
      .forbiddenByte, .unknownScheme("ftp"), .emptyCommand, .unclosedQuote, .missingScheme, .missingBucket,
      .impossibleURL, .loginInURL,
    ]
    #expect(Set(faults.map(\.description)).count == faults.count)
    #expect(
      RemoteAddressError.unknownScheme("ftp").description
        == "\"ftp://\" is not understood; an address is ssh://host/path, host:path, restic:/path, s3:, rest:, sftp: or "
        + "a local path")
    #expect(
      RemoteAddressError.option(.user).description == "the user begins with \"-\", and would be read as an option")
  }

  @Test("no bytes stop the reader, and what it takes is safe to hand to ssh")
  func mutations() {
    var generator = SystemRandomNumberGenerator()
    let spice = Array("ssh://u@[:]-%~/4\0\n".utf8) + [0xFF]
    for _ in 0..<20_000 {
      let bytes = (0..<Int.random(in: 0...12, using: &generator)).map { _ in spice.randomElement(using: &generator)! }
      let text = (Bool.random(using: &generator) ? Array("ssh://".utf8) : []) + bytes
      guard let address = try? RemoteAddress(text) else { continue }
      switch address {
      case .local(let path): #expect(path == text)
      case .restic, .storage: Issue.record("no letters of these schemes are in the text")
      case .ssh(let user, let host, let port, let path):
        #expect(!host.isEmpty && host.first != UInt8(ascii: "-") && user?.first != UInt8(ascii: "-"))
        #expect(user?.isEmpty != true && port != 0 && !path.isEmpty && !path.contains(0))
      }
    }
  }

  // MARK: The command

  private func arguments(
    _ command: String, user: String? = nil, host: String = "nas", port: UInt16? = nil,
    runs remote: String = "treering serve"
  ) throws -> [String] {
    try RemoteAddress.sshArguments(
      command: command, user: user.map { Array($0.utf8) }, host: Array(host.utf8), port: port, remoteCommand: remote
    ).map { String(decoding: $0, as: UTF8.self) }
  }

  @Test("options come before the host, and no shell reads any of it")
  func sshArguments() throws {
    #expect(try arguments("ssh") == ["ssh", "-T", "--", "nas", "treering serve"])
    let subsystem = try RemoteAddress.sshArguments(
      command: "ssh", user: nil, host: Array("nas".utf8), port: nil, remoteCommand: "sftp", isSubsystem: true)
    #expect(subsystem.map { String(decoding: $0, as: UTF8.self) } == ["ssh", "-s", "-T", "--", "nas", "sftp"])
    #expect(
      try arguments("ssh -i /k", user: "u", host: "::1", port: 22, runs: "-x 'y'")
        == ["ssh", "-i", "/k", "-p", "22", "-l", "u", "-T", "--", "::1", "-x 'y'"])
  }

  @Test(
    "words of a command",
    arguments: [
      ("ssh", ["ssh"]),
      (" \t ssh  -p\n22 ", ["ssh", "-p", "22"]),
      ("ssh -i '/a b' \"-o X=c d\"", ["ssh", "-i", "/a b", "-o X=c d"]),
      ("'a b'c\"d e\"", ["a bcd e"]),
      ("a '' \"\" b", ["a", "", "", "b"]),
      ("a\"'\"b '\"'", ["a'b", "\""]),
      ("a\\ b $HOME *;|& #c", ["a\\", "b", "$HOME", "*;|&", "#c"]),
      ("é 'ü '", ["é", "ü "]),
    ])
  func words(_ command: String, _ words: [String]) throws {
    #expect(try RemoteAddress.words(of: command).map { String(decoding: $0, as: UTF8.self) } == words)
  }

  @Test(
    "no words",
    arguments: [
      ("", .emptyCommand), (" \t", .emptyCommand), ("''", .emptyCommand), ("'' ssh", .emptyCommand),
      ("ssh '", .unclosedQuote), ("ssh \"a'", .unclosedQuote), ("a'b\"", .unclosedQuote), ("a\0b", .forbiddenByte),
    ] as [(String, RemoteAddressError)])
  func noWords(_ command: String, _ error: RemoteAddressError) {
    #expect(throws: error) { try RemoteAddress.words(of: command) }
  }
}
