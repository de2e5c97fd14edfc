internal import Model

/// The block devices of this machine, by sysfs(5).
public struct BlockDevices {
  private let root: [UInt8]

  /// `root` is the mount point of sysfs.
  public init(root: [UInt8] = Array("/sys".utf8)) { self.root = root }

  /// More levels than partitions on RAID on LUKS on LVM in a file on a file system can have.
  private static let mostLevels = 32

  /// The names of the whole disks below a file or directory, such as `sda`. Empty if the kernel does not tell, as for
  /// file systems in memory and of the network.
  public func disks(below path: [UInt8]) -> Set<String> { disks(below: path, level: 0) }

  private func disks(below path: [UInt8], level: Int) -> Set<String> {
    guard level < Self.mostLevels, let status = try? Descriptor.open(path: path, .pathOnly).status() else { return [] }
    let found = disks(of: status.device, level: level + 1)
    if !found.isEmpty { return found }
    // The device number of btrfs and others is not that of a disk; their mounts name one.
    guard let source = MountLine.all()?.first(where: { $0.id == status.mount })?.source, source.first == slash,
      let device = try? Descriptor.open(path: source, .pathOnly).status(), device.kind == .blockDevice
    else { return [] }
    return disks(of: device.deviceNumber, level: level + 1)
  }

  /// The whole disks of a device number: the major number in the upper half, the minor one in the lower half.
  func disks(of device: UInt64, level: Int = 0) -> Set<String> {
    let number = "\(device >> 32):\(device & 0xffff_ffff)"
    guard let directory = try? CurrentProcess.realPath(root + Array("/dev/block/\(number)".utf8)) else { return [] }
    return disks(at: directory, level: level)
  }

  private func disks(at directory: [UInt8], level: Int) -> Set<String> {
    guard level < Self.mostLevels else { return [] }
    // LVM, LUKS and RAID are made of other devices.
    let slaves = directory + Array("/slaves".utf8)
    let parts = (try? Directory(Descriptor.open(path: slaves, [.read, .directory])).names()) ?? []
    if !parts.isEmpty {
      return parts.reduce(into: []) { all, name in
        guard let part = try? CurrentProcess.realPath(slaves + [slash] + name) else { return }
        all.formUnion(disks(at: part, level: level + 1))
      }
    }
    let (parent, name) = splitLast(of: directory)
    if (try? Descriptor.open(path: directory + Array("/partition".utf8), .pathOnly)) != nil {
      return disks(at: parent, level: level + 1)
    }
    let backing = directory + Array("/loop/backing_file".utf8)
    if let file = try? Descriptor.open(path: backing, .read).readWhole(limit: 1 << 16) {
      return disks(below: Array(file.prefix { $0 != UInt8(ascii: "\n") }), level: level + 1)
    }
    return [displayName(name)]
  }
}
