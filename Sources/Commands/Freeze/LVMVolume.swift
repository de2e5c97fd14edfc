internal import Model
internal import Posix
internal import Repository
internal import Settings

/// A logical volume; lvm(8).
struct LVMVolume: FreezableVolume {
  private let programs: FreezePrograms
  private let group, volume: String
  /// A snapshot of a thin volume takes its room in the pool.
  private let isThin: Bool
  private let size: Configuration.FreezeSize
  private let type: [UInt8]

  init(of place: SourcePlace, programs: FreezePrograms) throws(Failure) {
    self.programs = programs
    type = place.mount.type
    guard type != Array("btrfs".utf8) else {
      throw Failure(
        .failed, "a btrfs must not see two devices with one UUID", hint: "freeze it with: freeze = \"btrfs\"")
    }
    let device = place.mount.source
    guard device.first == slash
    else { throw Failure(.failed, "its file system is \(displayName(type)), which is on no volume of LVM") }
    let answer = try programs.run(
      try programs.words("lvs", of: "lvm2", arguments: Self.columns("vg_name,lv_name,pool_lv") + [device]))
    let fields = answer.first.map(Self.fields) ?? []
    guard fields.count == 3, !fields[0].isEmpty, !fields[1].isEmpty
    else { throw Failure(.failed, "\(displayName(device)) is no volume of LVM") }
    (group, volume, isThin) = (fields[0], fields[1], !fields[2].isEmpty)
    size = place.source.freezeSize ?? .percent(10)
  }

  var key: String { "lvm \(group)/\(volume)" }

  func item(named name: String) -> FrozenItem { FrozenItem(.lvm, name: name, volume: group) }

  func make(_ item: FrozenItem, in namespace: FreezeNamespace) throws(Failure) -> FrozenTree {
    let room =
      switch size {
      // LVM activates no thin snapshot otherwise.
      case _ where isThin: words("--setactivationskip", "n")
      case .bytes(let count): words("--size", "\(count)b")
      case .percent(let percent): words("--extents", "\(percent)%ORIGIN")
      }
    _ = try programs.run(
      try programs.words(
        "lvcreate", of: "lvm2", arguments: words("--snapshot", "--name", item.name) + room + words("\(group)/\(volume)")
      ),
      finishes: true)
    let point = try namespace.makePoint()
    // The journal is replayed, which writes to the frozen snapshot only. LVM had the file system flush it before, but
    // XFS always leaves something to do. XFS refuses a second file system of one UUID without the option.
    let options = type == Array("xfs".utf8) ? "ro,nouuid" : "ro"
    try namespace.mount(
      Array("/dev/\(group)/\(item.name)".utf8), at: point, options: words("-t") + [type] + words("-o", options))
    return FrozenTree(directory: namespace.reaching(point), point: point, root: [])
  }

  /// LVM gives up a snapshot whose room is used up. Reads from it fail then.
  func check(_ item: FrozenItem) throws(Failure) {
    let answer = try programs.run(
      try programs.words("lvs", of: "lvm2", arguments: Self.columns("lv_attr") + words("\(group)/\(item.name)")))
    // The fifth letter is the state: active; `I` and `S` are invalid.
    guard let attributes = answer.first.map(Self.fields)?.first, attributes.utf8.dropFirst(4).first == UInt8(ascii: "a")
    else {
      throw Failure(
        .refused, "the room of its LVM snapshot was used up while it was read", hint: "give it a larger \"freeze_size\""
      )
    }
  }

  /// Removes a frozen snapshot, if it exists. Its volume group must be there.
  static func remove(_ item: FrozenItem, by programs: FreezePrograms) throws(Failure) {
    let found = try programs.run(
      try programs.words(
        "lvs", of: "lvm2",
        arguments: columns("vg_name,lv_name") + words("--select", "lv_name=\(item.name)", item.volume)),
      finishes: true)
    guard found.contains(where: { fields($0) == [item.volume, item.name] }) else { return }
    let command = try programs.words("lvremove", of: "lvm2", arguments: words("--force", "\(item.volume)/\(item.name)"))
    try programs.retrying { () throws(Failure) in _ = try programs.run(command, finishes: true) }
  }

  private static func columns(_ names: String) -> [[UInt8]] {
    words("--noheadings", "--separator", ":", "--options", names)
  }

  /// The fields of a line of lvs(8), which indents it.
  static func fields(_ line: [UInt8]) -> [String] {
    String(decoding: line.drop { $0 == UInt8(ascii: " ") }, as: UTF8.self)
      .split(separator: ":", omittingEmptySubsequences: false).map { String($0.filter { $0 != " " }) }
  }
}
