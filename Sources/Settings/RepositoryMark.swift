internal import TOMLKit

/// The file `.treering/repository.toml`, which makes a directory a repository.
public struct RepositoryMark: Sendable, Equatable {
  public static let currentVersion = 1

  /// The format of the repository.
  public var version: Int
  /// 32 hexadecimal digits, chosen at random when the repository was made.
  public var id: String
  /// The time of creation, in RFC 3339.
  public var created: String

  public init(version: Int, id: String, created: String) {
    self.version = version
    self.id = id
    self.created = created
  }

  /// Parses the file's text; throws a `SettingsError` with line and column.
  public init(text: String) throws {
    let table = try Locator.parse(text).table
    guard let version = table["version"]?.int, version >= 1 else {
      throw SettingsError(message: "\"version\" is missing or not a positive number")
    }
    self.version = version
    // The other keys of a newer format are unknown.
    guard version <= Self.currentVersion else {
      id = ""
      created = ""
      return
    }
    guard let id = table["id"]?.string, id.utf8.count == 32,
      id.utf8.allSatisfy({ Character(Unicode.Scalar($0)).isHexDigit })
    else { throw SettingsError(message: "\"id\" is missing or not 32 hexadecimal digits") }
    self.id = id
    created = table["created"]?.string ?? ""
  }

  public var text: String {
    """
    # A repository of treering snapshots. Nothing here is meant to be edited.
    version = \(version)
    id = "\(id)"
    created = "\(created)"

    """
  }
}

/// An error in a TOML file, with its place.
public struct SettingsError: Error, Sendable, CustomStringConvertible {
  /// From 1; `nil` if the error has no single place.
  public var line: Int?
  public var column: Int?
  public var message: String

  init(line: Int? = nil, column: Int? = nil, message: String) {
    self.line = line
    self.column = column
    self.message = message
  }

  public var description: String {
    if let line, let column { "line \(line), column \(column): \(message)" } else { message }
  }
}
