internal import Model
internal import Repository

/// A frozen snapshot that exists or may exist: a line of `.treering/frozen`.
struct FrozenItem: Codable, Equatable {
  enum Kind: String, Codable { case lvm, btrfs, zfs, command }

  let kind: Kind
  /// The name that treering gave it.
  let name: String
  /// The volume group, the dataset, or the source of a btrfs or a command.
  let volume: String
  /// The number of the btrfs, from its UUID.
  var fileSystem: UInt64?

  /// The beginning of all names of a repository. Nothing with another name is ever removed.
  static func prefix(of repository: Repository) -> String {
    "treering-\(String(decoding: repository.id.prefix(8), as: UTF8.self))-"
  }

  /// A line of the record. `nil` if it is damaged, or names something that cannot be of this repository: an ordinary
  /// user may own the repository in which root works.
  init?(line: [UInt8], of repository: Repository) {
    guard let item = FrozenItem(json: line) else { return nil }
    let prefix = Self.prefix(of: repository)
    let isName = item.name.hasPrefix(prefix) && item.name.dropFirst(prefix.count).allSatisfy { "a"..."z" ~= $0 }
    let isVolume =
      switch item.kind {
      case .btrfs, .command: item.volume.hasPrefix("/")
      case .lvm, .zfs: !item.volume.hasPrefix("-") && !item.volume.contains { "@, ".contains($0) }
      }
    guard isName, isVolume else { return nil }
    self = item
  }

  init(_ kind: Kind, name: String, volume: String, fileSystem: UInt64? = nil) {
    (self.kind, self.name, self.volume, self.fileSystem) = (kind, name, volume, fileSystem)
  }

  var line: String { jsonText(self, isLine: true, isPart: true) }
  var description: String { "\(kind.rawValue) \(displayName(Array(volume.utf8))) \(name)" }
}
