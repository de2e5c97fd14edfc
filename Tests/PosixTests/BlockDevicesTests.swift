import Foundation
import Testing

@testable import Posix

/// The disks below devices, in a directory that stands for /sys.
@Suite struct BlockDevicesTests {
  private let scratch: ScratchDirectory
  private var root: String { scratch.path }

  init() throws {
    scratch = try ScratchDirectory()
    try FileManager.default.createDirectory(atPath: root + "/dev/block", withIntermediateDirectories: true)
  }

  /// Makes a device, with the files that sysfs(5) has for it.
  private func device(_ number: String, at path: String, partition: Bool = false, slaves: [String] = []) throws {
    let directory = "\(root)/devices/\(path)"
    try FileManager.default.createDirectory(atPath: directory + "/slaves", withIntermediateDirectories: true)
    try FileManager.default.createSymbolicLink(
      atPath: "\(root)/dev/block/\(number)", withDestinationPath: "../../devices/\(path)")
    if partition { try Data("1\n".utf8).write(to: URL(fileURLWithPath: directory + "/partition")) }
    for slave in slaves {
      let name = slave.split(separator: "/").last!
      try FileManager.default.createSymbolicLink(
        atPath: "\(directory)/slaves/\(name)", withDestinationPath: "\(root)/devices/\(slave)")
    }
  }

  private func disks(_ major: UInt64, _ minor: UInt64) -> Set<String> {
    BlockDevices(root: Array(root.utf8)).disks(of: major << 32 | minor)
  }

  @Test("partitions lead to their disk, and LVM, LUKS and RAID to all disks below")
  func levels() throws {
    try device("8:0", at: "pci0/sda")
    try device("8:1", at: "pci0/sda/sda1", partition: true)
    try device("8:16", at: "pci0/sdb")
    try device("8:17", at: "pci0/sdb/sdb1", partition: true)
    try device("9:0", at: "virtual/md0", slaves: ["pci0/sda/sda1", "pci0/sdb/sdb1"])
    try device("253:0", at: "virtual/dm-0", slaves: ["virtual/md0"])
    #expect(disks(8, 0) == ["sda"])
    #expect(disks(8, 17) == ["sdb"])
    #expect(disks(253, 0) == ["sda", "sdb"])
    #expect(disks(0, 45) == [])
  }

  @Test("devices in a circle end")
  func circle() throws {
    try device("253:0", at: "virtual/dm-0", slaves: ["virtual/dm-1"])
    try device("253:1", at: "virtual/dm-1", slaves: ["virtual/dm-0"])
    #expect(disks(253, 0) == [])
  }
}
