import Model
import Posix
import Repository
import Testing

@testable import Commands

/// The messages are those of rsync 3.5.0.
@Suite struct FetchEndTests {
  private func end(_ status: Int32, _ lines: String...) -> FetchEnd {
    FetchEnd(
      of: .exited(status), lines: lines.map { Array($0.utf8) }, root: Array("web01/etc".utf8),
      path: Array("/etc".utf8), tree: Array("/r/.treering/fetched/x/tree".utf8))
  }

  private func texts(_ warnings: [Warning]) -> [String] { warnings.map(\.description) }

  @Test("files that were removed in the meantime are no fault of the source")
  func vanished() {
    let found = end(
      24, "file has vanished: \"/etc/a\\#012b\"",
      "rsync warning: some files vanished before they could be transferred (code 24) at main.c(1865) [generator=3.5.0]")
    #expect(found.result == .fetched && found.warnings.isEmpty)
    #expect(texts(found.vanished) == ["web01/etc/a\\nb: was removed on the host while it was fetched"])
  }

  @Test("each entry that is not as on the host is named, with rsync's own words")
  func partial() {
    let read = "rsync: [sender] send_files failed to open \"/etc/shadow\": Permission denied (13)"
    let write = "rsync: [generator] chown \"/r/.treering/fetched/x/tree/b\" failed: Operation not permitted (1)"
    let found = end(
      23, read, write, "IO error encountered -- skipping file deletion",
      "rsync error: some files/attrs were not transferred (see previous errors) (code 23) at main.c(1865)")
    #expect(found.result == .fetched && found.vanished.isEmpty)
    #expect(
      texts(found.warnings) == [
        "web01/etc/shadow: is not as on the host: Permission denied (13); rsync says: \(read)",
        "web01/etc/b: is not as on the host: Operation not permitted (1); rsync says: \(write)",
      ])
  }

  @Test(
    "an end without a tree has its reason",
    arguments: [
      (
        Int32(23), "rsync: [sender] change_dir \"/etc\" failed: No such file or directory (2)", FetchEnd.Result.absent,
        "it is not there on the host"
      ),
      (
        255, "ssh: connect to host web01 port 22: No route to host", .absent,
        "the host cannot be reached (ssh: connect to host web01 port 22: No route to host)"
      ),
      (
        12, "bash: line 1: rsync: command not found", .failed,
        "rsync is not installed on the host (bash: line 1: rsync: command not found)"
      ),
      (4, "ACLs are not supported on this server", .lacksACLs, "ACLs are not supported on this server"),
      (
        2, "--xattrs requires protocol 30 or higher (negotiated 27).", .lacksAttributes,
        "--xattrs requires protocol 30 or higher (negotiated 27)."
      ),
      (
        11, "rsync: [receiver] write failed on \"/r/x\": No space left on device (28)", .noSpace,
        "the repository's disk is full"
      ),
      (
        30, "[Receiver] io timeout after 300 seconds -- exiting", .failed,
        "no data came for 300 s ([Receiver] io timeout after 300 seconds -- exiting)"
      ),
    ])
  func reasons(status: Int32, line: String, result: FetchEnd.Result, reason: String) {
    let found = end(status, line, "rsync error: explained (code \(status)) at main.c(1865) [Receiver=3.5.0]")
    #expect(found.result == result && found.reason == reason)
  }

  @Test("other programs' words are no trouble after a good end, and a bad end without words is")
  func words() {
    #expect(
      end(0, "Welcome to web01", "** WARNING: connection is not using a post-quantum key exchange").warnings.isEmpty)
    #expect(texts(end(23).warnings) == ["web01/etc: is not as on the host; rsync does not say why"])
    let full = "rsync: [receiver] write failed on \"/r/x\": No space left on device (28)"
    #expect(end(23, full).result == .noSpace)
  }

  @Test("entries beyond the first thousand are counted")
  func many() {
    let lines = (0..<1500).map {
      Array("rsync: [sender] send_files failed to open \"/etc/\($0)\": Permission denied (13)".utf8)
    }
    let found = FetchEnd(
      of: .exited(23), lines: lines, droppedCount: 400, root: Array("web01/etc".utf8), path: Array("/etc".utf8),
      tree: Array("/r/tree".utf8))
    #expect(found.warnings.count == 1001)
    #expect(texts(found.warnings).last == "web01/etc: has 900 more messages of rsync")
  }

  @Test("the version of rsync decides on options")
  func versions() {
    let new = RsyncProgram(path: [], versionText: "rsync  version 3.5.0  protocol version 32\n ACLs, xattrs")
    #expect(new.hasACLs && new.hasAttributes && new.comparesNanoseconds && new.escapesPaths)
    let old = RsyncProgram(path: [], versionText: "rsync  version 3.1.2  protocol version 31\n no ACLs, no xattrs")
    #expect(!old.hasACLs && !old.hasAttributes && !old.comparesNanoseconds && !old.escapesPaths)
    #expect(!RsyncProgram(path: [], versionText: "rsync  version 3.2.3  protocol version 31").escapesPaths)
  }
}
