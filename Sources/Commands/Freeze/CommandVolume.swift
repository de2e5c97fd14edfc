internal import Model
internal import Posix
internal import Repository
internal import Settings

/// A source that a program of the operator freezes; treering.toml(5).
struct CommandVolume: FreezableVolume {
  private let programs: FreezePrograms
  private let command: [String]
  private let path: String

  init(of place: SourcePlace, command: [String], programs: FreezePrograms) {
    (self.command, self.programs, path) = (command, programs, place.source.path)
  }

  var key: String { "command \(path)" }

  func item(named name: String) -> FrozenItem { FrozenItem(.command, name: name, volume: path) }

  func make(_ item: FrozenItem, in namespace: FreezeNamespace) throws(Failure) -> FrozenTree {
    let lines = try programs.run((command + ["make", item.name, path]).map { Array($0.utf8) })
    guard lines.count == 1, lines[0].first == slash else {
      throw Failure(
        .failed, "\(command[0]) did not print one line with the absolute path of the frozen directory",
        hint: "see FROZEN SOURCES in treering.toml(5)")
    }
    return FrozenTree(directory: lines[0], point: nil, root: [])
  }

  /// Removes what a call with `make` made or left.
  static func remove(_ item: FrozenItem, with command: [String], by programs: FreezePrograms) throws(Failure) {
    _ = try programs.run((command + ["remove", item.name, item.volume]).map { Array($0.utf8) }, finishes: true)
  }
}
