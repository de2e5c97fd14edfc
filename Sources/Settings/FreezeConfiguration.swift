internal import TOMLKit

extension Configuration {
  /// The kind of the snapshot of a block device or file system that is made of a source, and read in its place.
  public enum Freeze: Sendable, Equatable {
    case lvm
    case btrfs
    case zfs
    /// The absolute path of a program, and its first arguments.
    case command([String])

    /// The word for people, or the program.
    public var name: String {
      switch self {
      case .lvm: "lvm"
      case .btrfs: "btrfs"
      case .zfs: "zfs"
      case .command(let words): words[0]
      }
    }
  }

  /// The room for the changes of an LVM volume while its snapshot exists.
  public enum FreezeSize: Sendable, Equatable {
    case bytes(UInt64)
    /// A part of the volume, from 1 to 100.
    case percent(Int)
  }
}

extension Configuration.Source {
  /// Reads the keys about freezing.
  mutating func readFreeze(from table: TableReader) {
    let kinds: [String: Configuration.Freeze] = ["lvm": .lvm, "btrfs": .btrfs, "zfs": .zfs]
    let expected = "\"lvm\", \"btrfs\", \"zfs\", or an array of the absolute path of a program and its arguments"
    freeze = table.value(for: "freeze", expecting: expected) { found in
      if let word = found.string { return kinds[word] }
      return Configuration.Hook.command(from: found).map { .command($0) }
    }
    let size = "a size such as \"5G\", or a percentage of the volume such as \"10%\""
    freezeSize = table.value(for: "freeze_size", expecting: size) { $0.string.flatMap(Configuration.FreezeSize.init) }
    if table.has("freeze_size"), freeze != .lvm {
      table.complain(key: "freeze_size", message: "\"freeze_size\" needs freeze = \"lvm\"")
    }
  }
}

extension Configuration.FreezeSize {
  fileprivate init?(text: String) {
    if text.hasSuffix("%") {
      guard let percent = Int(text.dropLast()), (1...100).contains(percent) else { return nil }
      self = .percent(percent)
    } else {
      guard text.last?.isNumber == false, let bytes = Quantity.bytes(of: text), bytes > 0 else { return nil }
      self = .bytes(bytes)
    }
  }
}
