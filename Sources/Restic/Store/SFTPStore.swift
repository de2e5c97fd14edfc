public import Model
internal import Posix
internal import Repository

/// A repository in a directory of an SFTP server, in restic's own layout.
public final class SFTPStore: ObjectStore, @unchecked Sendable {
  public let displayName: String
  public let connections = 4
  public let showsWritesAtOnce = true
  private let command: [[UInt8]]
  private let path: [UInt8]
  private let timeoutSeconds: Double
  private let gate = Gate()
  private var idle: [SFTPConnection] = []
  private var connected = 0

  private static let temporarySuffix = Array("-tmp-treering".utf8)
  /// The size of a write or a read. Every server takes 32 KiB.
  private static let partBytes = 32 << 10

  /// `command` runs the SFTP server of the other machine; nothing is sent yet.
  public init(command: [[UInt8]], path: [UInt8], displayName: String, timeoutSeconds: Double) {
    (self.command, self.path, self.displayName) = (command, path, displayName)
    self.timeoutSeconds = timeoutSeconds
  }

  // MARK: Connections

  /// Calls `body` with a connection that no other thread uses, and once more if an old connection turns out to be lost.
  ///
  /// Every call of a store may be repeated.
  func withConnection<R>(isLast: Bool = false, _ body: (SFTPConnection) throws -> R) throws -> R {
    let (connection, isNew) = try takeConnection(isLast: isLast)
    do {
      defer { giveBack(connection) }
      return try body(connection)
    } catch {
      guard connection.isBroken, !isNew, isLast || CurrentProcess.rememberedSignal == nil else { throw error }
    }
    let (second, _) = try takeConnection(isLast: isLast, isNew: true)
    defer { giveBack(second) }
    return try body(second)
  }

  private func takeConnection(isLast: Bool, isNew: Bool = false) throws -> (SFTPConnection, isNew: Bool) {
    let kept: SFTPConnection? = gate.locked {
      while true {
        if !isNew, let connection = idle.popLast() { return connection }
        if connected < connections || isLast {
          connected += 1
          return nil
        }
        if isNew, !idle.isEmpty {
          idle.removeLast()
          return nil
        }
        gate.wait()
      }
    }
    if let kept { return (kept, false) }
    do {
      let timeout = isLast && CurrentProcess.rememberedSignal != nil ? min(timeoutSeconds, 5) : timeoutSeconds
      return (
        try SFTPConnection(command, displayName: displayName, timeoutSeconds: timeout, mindsSignals: !isLast), true
      )
    } catch {
      gate.locked {
        connected -= 1
        gate.wakeAll()
      }
      throw error
    }
  }

  private func giveBack(_ connection: SFTPConnection) {
    gate.locked {
      if connection.isBroken { connected -= 1 } else { idle.append(connection) }
      gate.wakeAll()
    }
  }

  // MARK: Paths

  func place(_ text: some Collection<UInt8>) -> [UInt8] { path + [slash] + text }
  private func place(of name: ObjectName) -> [UInt8] { place(name.path.utf8) }

  func failure(_ what: String, _ status: SFTPConnection.Status) -> Failure {
    let reason =
      switch status.code {
      case 2: "no such file"
      case 3: "permission denied"
      case 8: "the server cannot do it"
      default: status.text.isEmpty ? "failure \(status.code)" : Model.displayName(Array(status.text.prefix(200)))
      }
    // Version 3 has one code for a full disk and all other failures.
    return Failure(
      .remote, "\(displayName): cannot \(what): \(reason)",
      hint: status.code == SFTPConnection.Status.failed ? "is the disk of the server full?" : nil)
  }

  func unexpected(_ what: String) -> Failure {
    Failure(.remote, "\(displayName): cannot \(what): the server's answer is of another kind")
  }

  /// Throws unless an answer says that all is well.
  func require(_ answer: SFTPConnection.Answer, to what: String) throws {
    guard case .status(let status) = answer else { throw unexpected(what) }
    guard status.code == 0 else { throw failure(what, status) }
  }

  /// The handle of an opened file or directory; `nil` if there is none.
  func handle(_ answer: SFTPConnection.Answer, of what: String) throws -> [UInt8]? {
    switch answer {
    case .handle(let handle): return handle
    case .status(let status) where status.code == SFTPConnection.Status.noSuchFile: return nil
    case .status(let status): throw failure(what, status)
    default: throw unexpected(what)
    }
  }

  // MARK: The store

  /// Makes the directories of a new repository, except those above it.
  public func create() throws {
    try withConnection { connection in
      func make(_ paths: [[UInt8]]) throws {
        let answers = try connection.answers(
          to: paths.map { path in
            var fields = SFTPWriter.of(path)
            fields.permissions(0o700)
            return (.mkdir, fields)
          })
        // Version 3 does not tell whether a directory exists.
        for (path, answer) in zip(paths, answers) {
          if case .status(let status) = answer, status.code == 0 { continue }
          guard case .attributes = try connection.answer(to: .stat, .of(path)) else {
            try require(answer, to: "make the directory \(Model.displayName(path))")
            continue
          }
        }
      }
      try make([path])
      try make(ObjectKind.allCases.filter { $0 != .config }.map { place($0.rawValue.utf8) })
      try make(Self.dataDirectories.map { place($0.utf8) })
    }
  }

  private static let dataDirectories = (0..<256).map { byte in
    "data/" + String(decoding: [hexDigits[byte >> 4], hexDigits[byte & 15]], as: UTF8.self)
  }

  private typealias Entry = (path: [UInt8], attributes: SFTPConnection.Attributes)

  /// The entries of all directories of a kind, with their names.
  private func entries(of kind: ObjectKind, over connection: SFTPConnection) throws -> [Entry] {
    var left = (kind == .data ? Self.dataDirectories : [kind.rawValue]).map { place($0.utf8) }[...]
    var found: [Entry] = []
    let what = "list \(kind.rawValue)"
    while !left.isEmpty {
      // Servers limit the number of open handles.
      let paths = left.prefix(Self.handles)
      left = left.dropFirst(Self.handles)
      var open: [(path: [UInt8], handle: [UInt8])] = []
      for (path, answer) in zip(paths, try connection.answers(to: paths.map { (.opendir, .of($0)) })) {
        if let handle = try handle(answer, of: what) { open.append((path, handle)) }
      }
      var reading = open
      while !reading.isEmpty {
        let answers = try connection.answers(to: reading.map { (.readdir, .of($0.handle)) })
        reading = try zip(reading, answers).compactMap { directory, answer in
          switch answer {
          case .names(let names):
            found += names.map { (directory.path + [slash] + $0.name, $0.attributes) }
            return directory
          case .status(let status) where status.code == SFTPConnection.Status.end: return nil
          case .status(let status): throw failure(what, status)
          default: throw unexpected(what)
          }
        }
      }
      _ = try connection.answers(to: open.map { (.close, .of($0.handle)) })
    }
    return found
  }

  private static let handles = 32

  public func list(_ kind: ObjectKind) throws -> [(id: Digest, byteCount: UInt64)] {
    try withConnection { connection in
      try entries(of: kind, over: connection).compactMap { entry in
        let name = splitLast(of: entry.path).name
        guard name.count == 64, entry.attributes.isRegular else { return nil }
        return Digest(hexadecimal: name).map { ($0, entry.attributes.size) }
      }
    }
  }

  public func byteCount(of name: ObjectName) throws -> UInt64? {
    try withConnection { try size(of: place(of: name), named: "\(name)", over: $0) }
  }

  private func size(of path: [UInt8], named name: String, over connection: SFTPConnection) throws -> UInt64? {
    switch try connection.answer(to: .stat, .of(path)) {
    case .attributes(let attributes): return attributes.size
    case .status(let status) where status.code == SFTPConnection.Status.noSuchFile: return nil
    case .status(let status): throw failure("look at \(name)", status)
    default: throw unexpected("look at \(name)")
    }
  }

  public func read(_ name: ObjectName, at offset: UInt64, count: Int) throws -> [UInt8]? {
    try withConnection { connection in
      var fields = SFTPWriter.of(place(of: name))
      fields.uint32(1)
      fields.uint32(0)
      guard let handle = try handle(connection.answer(to: .open, fields), of: "read \(name)") else { return nil }
      let bytes = try read(name, handle, from: offset, count: count, over: connection)
      try require(try connection.answer(to: .close, .of(handle)), to: "read \(name)")
      return bytes
    }
  }

  /// Reads parts, of which many are under way at once. A server may send less than a part.
  private func read(
    _ name: ObjectName, _ handle: [UInt8], from offset: UInt64, count: Int, over connection: SFTPConnection
  ) throws -> [UInt8] {
    var bytes: [UInt8] = []
    while bytes.count < count {
      // The first part tells whether the file is a short one.
      let parts = bytes.isEmpty ? 1 : SFTPConnection.window
      var requests: [(SFTPConnection.Request, SFTPWriter)] = []
      var place = bytes.count
      var lengths: [Int] = []
      while place < count, requests.count < parts {
        let length = min(Self.partBytes, count - place)
        var fields = SFTPWriter.of(handle)
        fields.uint64(offset + UInt64(place))
        fields.uint32(UInt32(length))
        requests.append((.read, fields))
        lengths.append(length)
        place += length
      }
      for (length, answer) in zip(lengths, try connection.answers(to: requests)) {
        switch answer {
        case .data(let data):
          guard !data.isEmpty, data.count <= length else { throw unexpected("read \(name)") }
          bytes += data
          // The parts after a short one are read again, from the right place.
          if data.count < length { break }
          continue
        case .status(let status) where status.code == SFTPConnection.Status.end: return bytes
        case .status(let status): throw failure("read \(name)", status)
        default: throw unexpected("read \(name)")
        }
        break
      }
    }
    return bytes
  }

  public func write(_ name: ObjectName, _ bytes: [UInt8]) throws {
    let final = place(of: name)
    let number = try CurrentProcess.randomNumber()
    let temporary = final + Array("-\(String(number, radix: 16))".utf8) + Self.temporarySuffix
    try withConnection { connection in
      let handle = try open(temporary, for: name, over: connection)
      do {
        try write(bytes, to: handle, of: name, over: connection)
        try rename(temporary, to: final, of: name, byteCount: bytes.count, over: connection)
      } catch {
        if !connection.isBroken { _ = try? connection.answer(to: .remove, .of(temporary)) }
        throw error
      }
    }
  }

  /// Opens a new file; makes a missing directory, because restic makes some only when they are needed.
  private func open(_ path: [UInt8], for name: ObjectName, over connection: SFTPConnection) throws -> [UInt8] {
    var fields = SFTPWriter.of(path)
    // Write, create, exclusive.
    fields.uint32(0x02 | 0x08 | 0x20)
    fields.permissions(0o400)
    if let handle = try handle(connection.answer(to: .open, fields), of: "write \(name)") { return handle }
    for directory in [place(name.kind.rawValue.utf8), splitLast(of: path).parent] {
      var make = SFTPWriter.of(directory)
      make.permissions(0o700)
      _ = try connection.answer(to: .mkdir, make)
    }
    guard let handle = try handle(connection.answer(to: .open, fields), of: "write \(name)") else {
      throw failure("write \(name)", SFTPConnection.Status(code: SFTPConnection.Status.noSuchFile, text: []))
    }
    return handle
  }

  private func write(
    _ bytes: [UInt8], to handle: [UInt8], of name: ObjectName, over connection: SFTPConnection
  ) throws {
    var requests: [(SFTPConnection.Request, SFTPWriter)] = []
    for start in stride(from: 0, to: bytes.count, by: Self.partBytes) {
      var fields = SFTPWriter.of(handle)
      fields.uint64(UInt64(start))
      fields.string(bytes[start..<min(start + Self.partBytes, bytes.count)])
      requests.append((.write, fields))
    }
    var answers = try connection.answers(to: requests)
    // Without this extension, the server's file system decides when the file is durable.
    if connection.extensions.contains("fsync@openssh.com") {
      answers.append(try connection.answer(to: .extended, .of(Array("fsync@openssh.com".utf8), handle)))
    }
    answers.append(try connection.answer(to: .close, .of(handle)))
    for answer in answers { try require(answer, to: "write \(name)") }
  }

  /// Renames a complete file. A file of this name has the same content, because the name is its digest.
  private func rename(
    _ from: [UInt8], to final: [UInt8], of name: ObjectName, byteCount: Int, over connection: SFTPConnection
  ) throws {
    let extended = "posix-rename@openssh.com"
    if connection.extensions.contains(extended) {
      let answer = try connection.answer(to: .extended, .of(Array(extended.utf8), from, final))
      return try require(answer, to: "write \(name)")
    }
    let answer = try connection.answer(to: .rename, .of(from, final))
    if case .status(let status) = answer, status.code != 0,
      try size(of: final, named: "\(name)", over: connection) == UInt64(byteCount)
    {
      return try require(try connection.answer(to: .remove, .of(from)), to: "write \(name)")
    }
    try require(answer, to: "write \(name)")
  }

  public func remove(_ name: ObjectName) throws {
    try withConnection(isLast: name.kind == .locks) { connection in
      let answer = try connection.answer(to: .remove, .of(place(of: name)))
      if case .status(let status) = answer, status.code == SFTPConnection.Status.noSuchFile { return }
      try require(answer, to: "remove \(name)")
    }
  }

  /// The age of a temporary file from which on its writer is taken for dead, in seconds.
  private static let leftoverSeconds: Int64 = 86_400

  public func removeLeftovers() throws {
    let now = Clock.now().seconds
    try withConnection { connection in
      for kind in ObjectKind.allCases where kind != .config {
        for entry in try entries(of: kind, over: connection)
        where Array(entry.path.suffix(Self.temporarySuffix.count)) == Self.temporarySuffix
          && now - Int64(entry.attributes.modified) > Self.leftoverSeconds
        {
          _ = try connection.answer(to: .remove, .of(entry.path))
        }
      }
    }
  }
}
