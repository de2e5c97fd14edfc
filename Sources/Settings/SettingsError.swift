/// An error in a TOML file, with its place.
public struct SettingsError: Error, Sendable, CustomStringConvertible {
  /// From 1; `nil` if the error has no single place.
  public var line: Int?
  public var column: Int?
  public var message: String

  init(line: Int? = nil, column: Int? = nil, message: String) {
    (self.line, self.column, self.message) = (line, column, message)
  }

  public var description: String {
    if let line, let column { "line \(line), column \(column): \(message)" } else { message }
  }
}
