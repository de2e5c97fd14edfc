public import Model

/// A file below `snapshots/`.
public struct SnapshotFile: Sendable, Equatable {
  public var time: Timestamp
  public var tree: Digest
  /// Absolute paths.
  public var paths: [[UInt8]]
  public var host: [UInt8] = []
  public var user: [UInt8] = []
  public var userID: UInt64 = 0
  public var groupID: UInt64 = 0
  public var tags: [[UInt8]] = []
  /// The snapshot before, whose unchanged files were not read.
  public var parent: Digest?
  /// The program that made it, as restic 0.17 and later name it.
  public var program: [UInt8] = []
  /// The totals, as restic 0.17 and later write them; 0 if they are unknown.
  public var totals = Totals()

  public struct Totals: Sendable, Equatable {
    public var files: UInt64 = 0
    public var bytes: UInt64 = 0
    /// The bytes that the snapshot added to the repository.
    public var bytesAdded: UInt64 = 0
    public var started: Timestamp?
    public var finished: Timestamp?
  }

  init(time: Timestamp, tree: Digest, paths: [[UInt8]]) { (self.time, self.tree, self.paths) = (time, tree, paths) }

  var json: [UInt8] {
    var writer = JSONWriter()
    writer.raw("{\"time\":")
    writer.time(time)
    if let parent {
      writer.raw(",\"parent\":")
      writer.digest(parent)
    }
    writer.raw(",\"tree\":")
    writer.digest(tree)
    writer.raw(",\"paths\":")
    writer.strings(paths)
    if !host.isEmpty {
      writer.raw(",\"hostname\":")
      writer.string(host)
    }
    if !user.isEmpty {
      writer.raw(",\"username\":")
      writer.string(user)
    }
    if userID != 0 {
      writer.raw(",\"uid\":")
      writer.number(userID)
    }
    if groupID != 0 {
      writer.raw(",\"gid\":")
      writer.number(groupID)
    }
    if !tags.isEmpty {
      writer.raw(",\"tags\":")
      writer.strings(tags)
    }
    if !program.isEmpty {
      writer.raw(",\"program_version\":")
      writer.string(program)
    }
    if let started = totals.started, let finished = totals.finished {
      writer.raw(",\"summary\":{\"backup_start\":")
      writer.time(started)
      writer.raw(",\"backup_end\":")
      writer.time(finished)
      writer.raw(",\"data_added_packed\":")
      writer.number(totals.bytesAdded)
      writer.raw(",\"total_files_processed\":")
      writer.number(totals.files)
      writer.raw(",\"total_bytes_processed\":")
      writer.number(totals.bytes)
      writer.raw("}")
    }
    writer.raw("}")
    return writer.bytes
  }

  init(json: [UInt8]) throws {
    var time: Timestamp?
    var tree: Digest?
    self.init(time: Timestamp(seconds: 0, nanoseconds: 0), tree: Digest(words: (0, 0, 0, 0)), paths: [])
    try JSONCursor.read(json) { cursor in
      try cursor.members { cursor, key in
        switch key {
        case "time": time = try cursor.time()
        case "tree": tree = try cursor.digest()
        case "paths": try cursor.elements { paths.append(try $0.string()) }
        case "hostname": host = try cursor.string()
        case "username": user = try cursor.string()
        case "uid": userID = try cursor.unsigned(atMost: UInt64(UInt32.max))
        case "gid": groupID = try cursor.unsigned(atMost: UInt64(UInt32.max))
        case "tags": try cursor.elements { tags.append(try $0.string()) }
        case "parent": parent = try cursor.takeNull() ? nil : try cursor.digest()
        case "program_version": program = try cursor.string()
        case "summary": totals = try Totals(&cursor)
        default: try cursor.skip()
        }
      }
    }
    guard let time, let tree else { throw ResticError("it has no time or no tree") }
    (self.time, self.tree) = (time, tree)
  }
}

extension SnapshotFile.Totals {
  /// More than any file system can hold.
  private static let most: UInt64 = 1 << 60

  fileprivate init(_ cursor: inout JSONCursor) throws {
    try cursor.members { cursor, key in
      switch key {
      case "backup_start": started = try cursor.time()
      case "backup_end": finished = try cursor.time()
      case "data_added_packed": bytesAdded = min(try cursor.unsigned(), Self.most)
      case "total_files_processed": files = min(try cursor.unsigned(), Self.most)
      case "total_bytes_processed": bytes = min(try cursor.unsigned(), Self.most)
      default: try cursor.skip()
      }
    }
  }
}

extension JSONWriter {
  mutating func strings(_ values: [[UInt8]]) {
    raw("[")
    for (number, value) in values.enumerated() {
      if number > 0 { raw(",") }
      string(value)
    }
    raw("]")
  }
}

/// A file below `locks/`.
struct LockFile: Equatable {
  var time: Timestamp
  var isExclusive = false
  var host: [UInt8] = []
  var user: [UInt8] = []
  var process: Int64 = 0
  var userID: UInt64 = 0
  var groupID: UInt64 = 0

  var json: [UInt8] {
    var writer = JSONWriter()
    writer.raw("{\"time\":")
    writer.time(time)
    if isExclusive {
      writer.raw(",\"exclusive\":true,\"hostname\":")
    } else {
      writer.raw(",\"exclusive\":false,\"hostname\":")
    }
    writer.string(host)
    writer.raw(",\"username\":")
    writer.string(user)
    writer.raw(",\"pid\":")
    writer.number(process)
    if userID != 0 {
      writer.raw(",\"uid\":")
      writer.number(userID)
    }
    if groupID != 0 {
      writer.raw(",\"gid\":")
      writer.number(groupID)
    }
    writer.raw("}")
    return writer.bytes
  }

  init(time: Timestamp) { self.time = time }

  init(json: [UInt8]) throws {
    var time: Timestamp?
    self.init(time: Timestamp(seconds: 0, nanoseconds: 0))
    try JSONCursor.read(json) { cursor in
      try cursor.members { cursor, key in
        switch key {
        case "time": time = try cursor.time()
        case "exclusive": isExclusive = try cursor.boolean()
        case "hostname": host = try cursor.string()
        case "username": user = try cursor.string()
        case "pid": process = Int64(try cursor.unsigned(atMost: UInt64(Int32.max)))
        case "uid": userID = try cursor.unsigned(atMost: UInt64(UInt32.max))
        case "gid": groupID = try cursor.unsigned(atMost: UInt64(UInt32.max))
        default: try cursor.skip()
        }
      }
    }
    guard let time else { throw ResticError("it has no time") }
    self.time = time
  }
}

/// The file `config`: the repository's version, ID, and chunker polynomial.
struct RepositoryConfig: Equatable {
  var version: UInt64 = 2
  var id: Digest
  var polynomial: Polynomial

  var json: [UInt8] {
    var writer = JSONWriter()
    writer.raw("{\"version\":")
    writer.number(version)
    writer.raw(",\"id\":")
    writer.digest(id)
    writer.raw(",\"chunker_polynomial\":")
    writer.string(Array(String(polynomial.bits, radix: 16).utf8))
    writer.raw("}")
    return writer.bytes
  }

  init(id: Digest, polynomial: Polynomial) { (self.id, self.polynomial) = (id, polynomial) }

  init(json: [UInt8]) throws {
    var (version, id): (UInt64?, Digest?)
    var polynomial: UInt64?
    try JSONCursor.read(json) { cursor in
      try cursor.members { cursor, key in
        switch key {
        case "version": version = try cursor.unsigned()
        case "id": id = try cursor.digest()
        case "chunker_polynomial":
          polynomial = UInt64(String(decoding: try cursor.string(), as: UTF8.self), radix: 16)
        default: try cursor.skip()
        }
      }
    }
    guard let version, let id, let polynomial else { throw ResticError("the configuration lacks a field") }
    self.init(id: id, polynomial: Polynomial(bits: polynomial))
    self.version = version
    guard self.polynomial.degree == Polynomial.chunkerDegree, self.polynomial.isIrreducible else {
      throw ResticError("the configuration has an impossible chunker polynomial")
    }
  }
}
