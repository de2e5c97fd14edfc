internal import Model

/// Tags of the messages inside the zstd stream of a push.
enum StreamTag: UInt64 {
  case record = 1
  case directory = 2
  case file = 3
  case baseFile = 4
  case baseDirectory = 5
  case signature = 6
  case end = 7
  case needed = 8
  case hints = 9
}

/// A message inside the zstd stream of a push.
enum StreamMessage {
  /// The record of a directory. Instructions for a body of `byteCount` bytes follow.
  case record(base: BaseDirectory?, byteCount: Int)
  /// A directory whose record came before.
  case directory(Digest, base: BaseDirectory?)
  /// The content of a file. Instructions from `offset` on follow.
  case file(skip: UInt64, source: CopySource, offset: UInt64)
  /// The path at which the base has the content of a file.
  case baseFile(skip: UInt64, path: TreePath)
  /// The path at which the base has the sub-directory with this number.
  case baseDirectory(index: Int, path: TreePath)
  /// Requests the signature of the base's file.
  case signature(path: TreePath)
  /// Hints about the source of the last record. Instructions for a body of `byteCount` bytes follow.
  case hints(byteCount: Int)
  case end
  /// The requested part. Instructions follow: for a record of `recordByteCount` bytes, or for a content.
  case needed(recordByteCount: Int?)

  /// `request` is the server's request without an answer.
  init(from source: inout some MessageSource, answering request: PartRequest? = nil) throws {
    let number = try source.integer()
    switch StreamTag(rawValue: number) {
    case .record:
      self = .record(base: try BaseDirectory.read(from: &source), byteCount: try source.count(limit: Wire.recordBytes))
    case .directory: self = .directory(try source.digest(), base: try BaseDirectory.read(from: &source))
    case .file:
      self = .file(skip: try source.integer(), source: try CopySource(from: &source), offset: try source.integer())
    case .baseFile: self = .baseFile(skip: try source.integer(), path: try source.path())
    case .baseDirectory:
      self = .baseDirectory(index: try source.count(limit: Int(Int32.max)), path: try source.path())
    case .signature: self = .signature(path: try source.path())
    case .hints: self = .hints(byteCount: try source.count(limit: Wire.recordBytes))
    case .end: self = .end
    case .needed:
      guard let request else { throw ProtocolViolation("what was not asked for came") }
      self = .needed(recordByteCount: request.isContent ? nil : try source.count(limit: Wire.recordBytes))
    case nil: throw ProtocolViolation("the stream has an unknown message \(number)")
    }
  }

  func encode(to writer: inout MessageWriter) {
    switch self {
    case .record(let base, let byteCount):
      writer.tag(.record)
      BaseDirectory.write(base, to: &writer)
      writer.count(byteCount)
    case .directory(let digest, let base):
      writer.tag(.directory)
      writer.digest(digest)
      BaseDirectory.write(base, to: &writer)
    case .file(let skip, let source, let offset):
      writer.tag(.file)
      writer.integer(skip)
      source.encode(to: &writer)
      writer.integer(offset)
    case .baseFile(let skip, let path):
      writer.tag(.baseFile)
      writer.integer(skip)
      writer.path(path)
    case .baseDirectory(let index, let path):
      writer.tag(.baseDirectory)
      writer.count(index)
      writer.path(path)
    case .signature(let path):
      writer.tag(.signature)
      writer.path(path)
    case .hints(let byteCount):
      writer.tag(.hints)
      writer.count(byteCount)
    case .end: writer.tag(.end)
    case .needed(let recordByteCount):
      writer.tag(.needed)
      if let recordByteCount { writer.count(recordByteCount) }
    }
  }
}

extension MessageWriter {
  fileprivate mutating func tag(_ tag: StreamTag) { integer(tag.rawValue) }
}

/// The counterpart of a directory in the base: the field `base`.
struct BaseDirectory {
  private enum Flags: UInt64 {
    case none = 0
    case sameName = 1
    case moved = 3
  }

  let path: TreePath
  /// True if the server would not choose the path by itself.
  let isMoved: Bool

  static func read(from source: inout some MessageSource) throws -> BaseDirectory? {
    guard let flags = Flags(rawValue: try source.integer())
    else { throw ProtocolViolation("a record has unknown flags") }
    return flags == .none ? nil : BaseDirectory(path: try source.path(), isMoved: flags == .moved)
  }

  static func write(_ base: BaseDirectory?, to writer: inout MessageWriter) {
    let flags: Flags = base.map { $0.isMoved ? .moved : .sameName } ?? .none
    writer.integer(flags.rawValue)
    if let base { writer.path(base.path) }
  }
}

/// The source of the copies in a file's instructions: the field `way`.
enum CopySource {
  case nothing
  /// The file of the same name in the counterpart of the directory.
  case comparedSubtree
  case path(TreePath)

  init(from source: inout some MessageSource) throws {
    switch try source.integer() {
    case 0: self = .nothing
    case 1: self = .comparedSubtree
    case 2: self = .path(try source.path())
    default: throw ProtocolViolation("a file is sent in an unknown way")
    }
  }

  func encode(to writer: inout MessageWriter) {
    switch self {
    case .nothing: writer.integer(0)
    case .comparedSubtree: writer.integer(1)
    case .path(let path):
      writer.integer(2)
      writer.path(path)
    }
  }
}
