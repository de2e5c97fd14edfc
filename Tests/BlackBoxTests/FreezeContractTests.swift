import Foundation
import TestSupport
import Testing

/// Sources in frozen snapshots of LVM and ZFS, which the kernel may lack: programs of the same names stand for theirs.
///
/// A snapshot of LVM is a copy of the image, in a loop device of its own, so its mount is real.
@Suite("freeze with LVM and ZFS", .waits)
struct FreezeContractTests {
  /// Makes the programs of LVM. `attributes` and `pool` are their answers. The volume group is away while the file `away`
  /// exists.
  private func makeLVM(
    _ test: FreezeWorld, attributes: String = "swi-aos---", pool: String = "", whileMaking: String = ""
  ) throws -> String {
    let group = "treering_test_\(UUID().uuidString.prefix(8).lowercased())"
    let state = "group=/dev/\(group) image=\(test.disk.image)"
    try test.makeProgram(
      "lvs",
      """
      \(state)
      for last; do :; done
      echo "lvs $*" >>$log
      case "$*" in
      *lv_attr*) echo "  \(attributes)" ;;
      *--select*)
        [ ! -e \(test.programs.root)/away ] || [ $last != \(group) ] || { echo "  Volume group not found" >&2; exit 5; }
        [ ! -e \(test.programs.root)/away ] || exit 0
        for name in $(ls $group 2>&-); do echo "  \(group):$name"; done ;;
      */dev/loop*) echo "  \(group):data:\(pool)" ;;
      *) echo "  Failed to find logical volume \\"$last\\"" >&2; exit 5 ;;
      esac
      """)
    // LVM freezes the file system meanwhile, too.
    try test.makeProgram(
      "lvcreate",
      """
      \(state)
      echo "lvcreate $*" >>$log
      \(whileMaking)
      while [ $1 != --name ]; do shift; done
      fsfreeze --freeze \(test.disk.tree.root)
      cp --sparse=always $image $image.$2
      fsfreeze --unfreeze \(test.disk.tree.root)
      mkdir -p $group
      ln -s $(losetup --find --show $image.$2) $group/$2
      """)
    try test.makeProgram(
      "lvremove",
      """
      \(state)
      echo "lvremove $*" >>$log
      name=${2##*/}
      losetup --detach $(readlink $group/$name)
      rm $group/$name $image.$name
      rmdir $group
      """)
    return group
  }

  /// The log, with fixed words in the place of names that vary.
  private func calls(_ test: FreezeWorld, _ group: String) throws -> [String] {
    try test.log.map { line in
      line.replacing(group, with: "vg").replacing(#/treering-[0-9a-f]{8}-[a-z]{8}/#, with: "NAME")
        .replacing(#//dev/loop[0-9]+/#, with: "DEVICE")
    }
  }

  @Test("LVM: the snapshot is made, mounted, checked and removed", arguments: ["ext4", "xfs"])
  func volume(type: String) throws {
    let test = try FreezeWorld(type, mebibytes: type == "xfs" ? 400 : 64)
    let source = try Tree(making: test.disk.tree.root / "data")
    try source.write("file", "1")
    try source.truncate("file", to: 1 << 20)
    let group = try makeLVM(test)
    try test.configure([FreezeWorld.table(source.root, "freeze = \"lvm\"")])
    try test.world.settle()
    let first = try test.snapshot()
    try test.world.expectFaithful(first, source.root)
    let second = try test.snapshot()
    #expect(second.bytesRead == 0, "the frozen snapshot has the identity of its volume")
    let columns = "lvs --noheadings --separator : --options"
    let once = [
      "\(columns) vg_name,lv_name,pool_lv DEVICE",
      "lvcreate --snapshot --name NAME --extents 10%ORIGIN vg/data",
      "\(columns) lv_attr vg/NAME",
      "\(columns) vg_name,lv_name --select lv_name=NAME vg",
      "lvremove --force vg/NAME",
    ]
    #expect(try calls(test, group) == once + once)
    #expect(!test.world.repository.exists(".treering/frozen"))
  }

  @Test("LVM: a signal does not end the program that makes the snapshot, which is removed then")
  func signal() throws {
    let test = try FreezeWorld("ext4", mebibytes: 64)
    let group = try makeLVM(test, whileMaking: "trap '' TERM; sleep 2; echo finished >>$log")
    try test.configure([FreezeWorld.table(test.disk.tree.root, "freeze = \"lvm\"")])
    let running = try test.start(["snapshot"])
    while try !test.log.contains(where: { $0.hasPrefix("lvcreate") }) { try test.world.settle() }
    running.signal(SIGTERM)
    #expect(try running.wait().status == 143)
    let calls = try calls(test, group)
    #expect(calls.contains("finished") && calls.last == "lvremove --force vg/NAME", "\(calls)")
    #expect(!test.world.repository.exists(".treering/frozen"))
  }

  @Test("LVM: a snapshot that a killed run left stays in the record while its volume group is away")
  func away() throws {
    let test = try FreezeWorld("ext4", mebibytes: 64)
    let group = try makeLVM(test)
    try test.makeProgram("mount", "case \"$*\" in */dev/\(group)/*) kill -9 $PPID ;; esac\nexec /usr/bin/mount \"$@\"")
    try test.configure([FreezeWorld.table(test.disk.tree.root, "freeze = \"lvm\"")])
    #expect(try test.run(["snapshot"]).status != 0)
    #expect(test.world.repository.exists(".treering/frozen"))
    try test.configure([FreezeWorld.table(test.world.source.root, "")])
    try test.programs.write("away", "")
    let warned = try test.run(["snapshot"])
    #expect(warned.status == 1 && warned.errorText.contains("Volume group not found"), "\(warned.errorText)")
    #expect(test.world.repository.exists(".treering/frozen"))
    try test.programs.remove("away")
    let last = try test.run(["snapshot"])
    #expect(last.status == 0, "\(last.errorText)")
    #expect(try calls(test, group).last == "lvremove --force vg/NAME")
    #expect(!test.world.repository.exists(".treering/frozen"))
  }

  @Test("LVM: a thin volume takes no room of its own, and freeze_size is the room of another")
  func sizes() throws {
    let test = try FreezeWorld("ext4", mebibytes: 64)
    let source = test.disk.tree
    for (pool, size, words) in [
      ("pool", "", "--setactivationskip n"), ("", "freeze_size = \"2M\"", "--size 2097152b"),
      ("", "freeze_size = \"30%\"", "--extents 30%ORIGIN"),
    ] {
      let group = try makeLVM(test, pool: pool)
      try test.configure([FreezeWorld.table(source.root, "freeze = \"lvm\"\n\(size)")])
      try test.snapshot()
      #expect(try calls(test, group).contains("lvcreate --snapshot --name NAME \(words) vg/data"))
    }
  }

  @Test("LVM: a source is left out if the room of its snapshot was used up while it was read")
  func full() throws {
    let test = try FreezeWorld("ext4", mebibytes: 64)
    let source = test.disk.tree
    try source.write("file", "1")
    try test.world.source.write("file", "2")
    let group = try makeLVM(test, attributes: "swi-I-s---")
    try test.configure([
      FreezeWorld.table(source.root, "freeze = \"lvm\""), FreezeWorld.table(test.world.source.root, ""),
    ])
    let answer = try test.snapshot(status: 1)
    #expect(answer.warningsNamed.map(\.path) == ["\(source.root)"])
    #expect(answer.warningsNamed[0].message.contains("room of its LVM snapshot was used up"))
    #expect(try test.world.tree(of: answer).text("file") == "2")
    #expect(!test.world.tree(of: answer, source.root).exists("file"))
    #expect(try calls(test, group).last == "lvremove --force vg/NAME")
  }

  @Test("LVM: a device without a volume, and a btrfs, are refused with the reason")
  func noVolume() throws {
    let test = try FreezeWorld()
    _ = try makeLVM(test)
    try test.configure([
      FreezeWorld.table(test.disk.tree.root, "freeze = \"lvm\""), FreezeWorld.table("/boot", "freeze = \"lvm\""),
    ])
    let result = try test.run(["run"])
    #expect(result.status == 3)
    #expect(result.errorText.contains("freeze it with: freeze = \"btrfs\""), "\(result.errorText)")
    #expect(result.errorText.contains("Failed to find logical volume"), "\(result.errorText)")
  }

  @Test("ZFS: the snapshot is made, mounted and removed")
  func dataset() throws {
    let test = try FreezeWorld("ext4", mebibytes: 64)
    let source = try Tree(making: test.disk.tree.root / "data")
    try source.write("file", "1")
    try test.makeProgram(
      "zfs",
      """
      echo "zfs $*" >>$log
      for last; do :; done
      copy=\(test.programs.root)/${last#*@}
      case "$1 $*" in
      "list "*" -t snapshot "*) cd \(test.programs.root) && for name in treering-*; do echo "$last@$name"; done ;;
      "list "*) echo pool/data ;;
      "snapshot "*) cp -a \(test.disk.tree.root) $copy ;;
      "destroy "*) rm -r $copy ;;
      esac
      """)
    try test.makeProgram(
      "mount",
      """
      echo "mount $*" >>$log
      case "$*" in "-t zfs"*) exec /usr/bin/mount --bind -o ro \(test.programs.root)/${5#*@} $6 ;; esac
      exec /usr/bin/mount "$@"
      """)
    try test.configure([FreezeWorld.table(source.root, "freeze = \"zfs\"")])
    let answer = try test.snapshot()
    #expect(try test.world.tree(of: answer, source.root).text("file") == "1")
    #expect(
      try calls(test, "vg").map { $0.replacing("\(source.root)", with: "PATH") } == [
        "zfs list -H -o name PATH",
        "mount -t tmpfs -o mode=700,nosuid,nodev,size=1m tmpfs /run/treering",
        "zfs snapshot pool/data@NAME",
        "mount -t zfs -o ro pool/data@NAME /run/treering/1",
        "zfs list -H -t snapshot -o name -d 1 pool/data", "zfs destroy pool/data@NAME",
      ])
  }
}
