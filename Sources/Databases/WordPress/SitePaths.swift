internal import Model
public import Posix
internal import Settings

/// The paths of a WordPress site, as its dump has them: so a snapshot alone tells which files belong to the database.
public struct SitePaths: Sendable, Equatable {
  /// The file beside the dump: lines such as `path /var/www/site`. Bytes that a line cannot have are `%XX`.
  public static let name = Array("site.txt".utf8)
  private static let longestText = 1 << 16

  /// The directory of WordPress.
  public var path: [UInt8]
  /// The file with the site's constants.
  public var config: [UInt8]
  /// The site's other directories.
  public var directories: [[UInt8]] = []

  /// Writes the file into the directory of a dump.
  public func write(into directory: Directory) throws(Errno) {
    let lines = [("path", path), ("config", config)] + directories.map { ("directory", $0) }
    let text = lines.flatMap { word, path in
      Array("\(word) ".utf8)
        + percentEncoded(path) { $0 < 0x20 || $0 == UInt8(ascii: "%") || $0 == 0x7F } + [10]
    }
    let file = try directory.descriptor.open(Self.name.span, [.write, .create, .exclusive], mode: 0o600)
    try file.write(text)
  }

  /// Reads the file of a dump. Throws `invalid` for a path that is not absolute or has `..`.
  public init(in directory: Directory) throws(Errno) {
    let text = try directory.descriptor.openToRead(Self.name.span).readAll(limit: Self.longestText)
    (path, config) = ([], [])
    for line in text.split(separator: 10) {
      let word = line.prefix { $0 != 32 }
      guard let found = percentDecoded(line.dropFirst(word.count + 1)), found.first == slash, !found.contains(0),
        !found.split(separator: slash).contains(where: { $0.elementsEqual("..".utf8) || $0.elementsEqual(".".utf8) })
      else { throw .invalid }
      switch String(decoding: word, as: UTF8.self) {
      case "path": path = found
      case "config": config = found
      case "directory": directories.append(found)
      default: continue
      }
    }
    if path.isEmpty || config.isEmpty { throw .invalid }
  }

  init(path: [UInt8], config: [UInt8], directories: [[UInt8]]) {
    (self.path, self.config, self.directories) = (path, config, directories)
  }

  /// All that a restore of the site needs.
  public var all: [[UInt8]] { [path] + (directories + [config]).filter { !isBelow(path, $0) } }
}
