public import Engine
public import Model

/// `source`: the first frame of a machine that receives a source of a host. The host then speaks as the client.
public struct WantedSource: Sendable {
  /// The absolute path on the host.
  public var path: [UInt8]
  /// The first directory of the source inside the snapshot.
  public var label: Name
  /// Patterns of gitignore(5), relative to the source.
  public var patterns: [[UInt8]] = []
  public var isOneFileSystem = false
  /// The size in bytes above which a regular file is left out.
  public var largestFile: UInt64?
  public var changeDetection = ChangeDetection.ctime
  /// True if the operator accepts that another file system is mounted than before.
  public var acceptsChanges = false
  /// 1 for the first attempt. Another one follows if files change before they are sent.
  public var attempt = 1
  public static let attempts = 3

  public init(path: [UInt8], label: Name) { (self.path, self.label) = (path, label) }
}

extension WantedSource: FrameMessage {
  static let type = FrameType.source
  /// The version of this message.
  private static let version: UInt64 = 1

  init(from reader: inout MessageReader) throws {
    guard try reader.bytes(Wire.magic.count) == Wire.magic, try reader.integer() == Self.version else {
      throw ProtocolViolation("a request for a source is of another version")
    }
    path = try reader.text(limit: Wire.repositoryPathBytes)
    guard let label = Name(try reader.text(limit: Wire.nameBytes)) else {
      throw ProtocolViolation("a source has an impossible label")
    }
    self.label = label
    for _ in 0..<(try reader.count(limit: Wire.frameBytes)) {
      patterns.append(try reader.text(limit: Wire.frameBytes))
    }
    isOneFileSystem = try reader.flag()
    largestFile = try reader.flag() ? try reader.integer() : nil
    guard let detection = ChangeDetection(rawValue: try reader.sentence()) else {
      throw ProtocolViolation("a source has an unknown change detection")
    }
    changeDetection = detection
    acceptsChanges = try reader.flag()
    attempt = try reader.count(limit: Self.attempts)
    guard attempt > 0 else { throw ProtocolViolation("a source is wanted without an attempt") }
  }

  func encode(to writer: inout MessageWriter) {
    writer.raw(Wire.magic)
    writer.integer(Self.version)
    writer.text(path)
    writer.text(label.bytes)
    writer.count(patterns.count)
    for pattern in patterns { writer.text(pattern) }
    writer.flag(isOneFileSystem)
    writer.flag(largestFile != nil)
    if let largestFile { writer.integer(largestFile) }
    writer.sentence(changeDetection.rawValue)
    writer.flag(acceptsChanges)
    writer.count(attempt)
  }
}

/// `report`: an entry that is not in the snapshot as it is on the host, or the state of the whole source.
struct SourceReport {
  enum Kind: Int, CaseIterable {
    case entry, absence, unchanged
    /// The source was sent, and every entry that is not as there was reported.
    case done
    /// The host has treering, but it cannot work there.
    case unable
  }

  var kind = Kind.entry
  /// The absolute path on the host.
  let path: [UInt8]
  let text: String
}

extension SourceReport: FrameMessage {
  static let type = FrameType.report

  init(from reader: inout MessageReader) throws {
    guard let kind = Kind(rawValue: try reader.count(limit: Kind.allCases.count)) else {
      throw ProtocolViolation("a report is unknown")
    }
    self.kind = kind
    path = try reader.text(limit: Wire.repositoryPathBytes)
    text = try reader.sentence()
  }

  func encode(to writer: inout MessageWriter) {
    writer.count(kind.rawValue)
    writer.text(path.prefix(Wire.repositoryPathBytes))
    writer.sentence(text)
  }
}
