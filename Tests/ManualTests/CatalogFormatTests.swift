import Foundation
import TestSupport
import Testing

/// Catalogs that treering wrote, read by a program that was written from treering-catalog.5 alone, and
/// compared with what `find`, `stat`, `sha256sum` and `getfattr` say of the source.
@Suite struct CatalogFormatTests {
  /// Every kind of entry, odd names and values, and enough files for several frames.
  private static let makeTree = """
    set -eu
    mkdir -p tree/sub/deep tree/empty tree/acl tree/many/a tree/many/b
    printf content > tree/file
    : > tree/nothing
    ln tree/file tree/another
    ln tree/file tree/sub/deep/third
    printf pair > tree/sub/pair; ln tree/sub/pair outside-the-tree
    ln -s file tree/link
    ln -s /nonexistent/"$(printf 'a\\nb\\377')" tree/dangling
    ln -s "$(printf '%01000d' 0)" tree/long-target
    mkfifo -m 620 tree/fifo
    python3 -c 'import socket; socket.socket(socket.AF_UNIX).bind("tree/socket")'
    truncate -s 1M tree/sparse; printf end >> tree/sparse
    python3 -c 'print(end=chr(0) * (3 << 20) + "mid" + chr(0) * (5 << 20))' > tree/zeros-in-data
    printf x > tree/far-apart; truncate -s 9000003 tree/far-apart; printf y >> tree/far-apart
    truncate -s 3M tree/only-a-hole; truncate -s 1048575 tree/no-whole-part
    head -c 300000 /dev/urandom > tree/random
    printf 1 > "$(printf 'tree/new\\nline')"
    printf 2 > "$(printf 'tree/tab\\tand\\\\backslash and space')"
    printf 3 > "$(printf 'tree/\\377\\376not-utf8')"
    printf 4 > tree/-dash; printf 5 > tree/.hidden; printf 6 > 'tree/…'
    printf 7 > "tree/$(printf '%0255d' 0)"
    mkdir "$(printf 'tree/dir\\001')"; printf 8 > "$(printf 'tree/dir\\001')/file"
    setfattr -n user.text -v text tree/file
    setfattr -n user.empty tree/file
    setfattr -n user.binary -v 0x00ff0a5c tree/nothing
    setfattr -n user.large -v "$(printf '%02000d' 0)" tree/sub
    setfacl -m u:1234:rw,g:5678:r tree/acl
    setfacl -d -m u:1234:rwx tree/acl
    printf acl > tree/acl/inherits
    setfacl -m g:4321:- tree/random
    chmod 4755 tree/-dash; chmod 2750 tree/sub; chmod 1777 tree/empty; chmod 0400 tree/.hidden
    if [ "$(id -u)" = 0 ]; then
      mknod tree/null c 1 3; mknod tree/disk b 259 1048575
      chown 4294967294:12345 tree/nothing; chown -h 1:2 tree/link
      setfattr -h -n trusted.link -v link tree/link
    fi
    for d in a b; do for i in $(seq 400); do printf "$d$i" > tree/many/$d/entry$i; done; done
    touch -d @-86400 tree/nothing
    touch -h -d '2199-01-01T00:00:00.123456789Z' tree/link
    touch -d '2000-02-29T12:34:56.000000001Z' tree/sub
    sleep 0.1
    """

  private let scratch: Scratch
  private let treering: String

  init() throws {
    scratch = try Scratch()
    treering = try Tools.treering()
    _ = try Tools.succeed("/bin/bash", ["-c", Self.makeTree], in: scratch.url)
    _ = try Tools.succeed(treering, ["init", scratch.path("repository")])
  }

  // MARK: Taking and reading

  private struct Answer: Decodable {
    var snapshot: String
    var root_digest: String
    var sequence: Int
    var entries: Int
    var bytes: Int
  }

  private func snapshot() throws -> Answer {
    let ended = try Tools.succeed(
      treering,
      ["snapshot", scratch.path("tree"), "--json", "--threads", "2", "-r", scratch.path("repository")])
    return try JSONDecoder().decode(Answer.self, from: Data(ended.output))
  }

  private func catalog(_ name: String) -> String {
    scratch.path("repository/.treering/catalogs/\(name).catalog")
  }

  private func read(_ catalog: String) throws -> CommandResult {
    let reader = Tools.package.appending(path: "Tests/ManualTests/read_catalog.py").path
    return try Tools.run("python3", [reader, catalog])
  }

  /// The lines of a dump: the entries by escaped path, and the trailer's fields.
  private struct Dump {
    var entries: [String: [String]] = [:]
    var fields: [String: [String]] = [:]

    init(_ text: String) {
      for line in text.split(separator: "\n") {
        let cells = line.split(separator: "\t", omittingEmptySubsequences: false).map(String.init)
        if cells[0] == "entry" {
          entries[cells[1]] = Array(cells[2...])
        } else {
          fields[cells[0]] = Array(cells[1...])
        }
      }
    }
  }

  // MARK: The oracles

  /// As the reader shows bytes.
  private static func shown(_ bytes: some Sequence<UInt8>) -> String {
    bytes.map { byte in
      byte > 0x20 && byte < 0x7F && byte != 0x5C
        ? String(UnicodeScalar(byte)) : "\\x" + (byte < 16 ? "0" : "") + String(byte, radix: 16)
    }.joined()
  }

  /// `find` gives ten digits of which the last is always 0.
  private static func time(_ text: String) -> String { String(text.dropLast()) }

  private struct Seen {
    var kind = ""
    var mode = ""
    var user = ""
    var group = ""
    var modified = ""
    var changed = ""
    var size = ""
    var target = ""
    var links = 0
    var inode = ""
    var digest = "-"
    /// "h" for the digest of a sparse file.
    var form = "-"
    var attributes = "-"
  }

  /// What the system's tools say of a tree, by escaped path below the label.
  private func oracle(_ tree: String) throws -> [String: Seen] {
    var seen: [String: Seen] = [:]
    let found = try Tools.succeed(
      "find",
      [tree, "-printf", #"%p\0%y\0%m\0%U\0%G\0%T@\0%C@\0%s\0%l\0%n\0%i\0"#])
    var cells = found.output.split(separator: 0, omittingEmptySubsequences: false).map { Array($0) }[...]
    while cells.count > 1 {
      let row = Array(cells.prefix(11))
      cells = cells.dropFirst(11)
      func text(_ index: Int) -> String { String(decoding: row[index], as: UTF8.self) }
      var entry = Seen(
        kind: text(1), mode: text(2), user: text(3), group: text(4), modified: Self.time(text(5)),
        changed: Self.time(text(6)), size: text(7), target: row[8].isEmpty ? "-" : Self.shown(row[8]),
        links: try #require(Int(text(9))), inode: text(10))
      if entry.kind == "c" || entry.kind == "b" {
        let numbers = try Tools.succeed(
          "stat", ["-c", "%t %T", String(decoding: row[0], as: UTF8.self)]
        ).text.split { " \n".contains($0) }.compactMap { UInt64($0, radix: 16) }
        entry.size = String(numbers[0] << 32 | numbers[1])
      }
      if entry.kind == "d" || entry.kind == "p" || entry.kind == "s" { entry.size = "0" }
      seen[Self.shown(row[0])] = entry
    }

    let sums = try Tools.succeed(
      "/bin/bash",
      [
        "-c", "find \"$1\" -type f -print0 | python3 \"$2\"", "-", tree,
        Tools.package.appending(path: "Tests/ManualTests/content_digest.py").path,
      ])
    for line in sums.output.split(separator: 0) {
      let path = Self.shown(line.dropFirst(67))
      try #require(seen[path] != nil)
      seen[path]!.digest = String(decoding: line.prefix(64), as: UTF8.self)
      seen[path]!.form = String(decoding: line.dropFirst(65).prefix(1), as: UTF8.self)
    }

    let attributes = try Tools.succeed(
      "/bin/bash",
      [
        "-c",
        "find \"$1\" -print0 | xargs -0 getfattr --absolute-names -h -m - -d -e hex --", "-", tree,
      ])
    var path = ""
    var byPath: [String: [(name: String, value: String)]] = [:]
    for line in attributes.output.split(separator: UInt8(ascii: "\n")) {
      let text = Array(line)
      let head = Array("# file: ".utf8)
      if text.starts(with: head) {
        path = Self.shown(Self.unescaped(Array(text.dropFirst(head.count))))
        continue
      }
      let cut = text.firstIndex(of: UInt8(ascii: "=")) ?? text.count
      let name = Self.shown(text[..<cut])
      // A security module's own label, which /etc/xattr.conf keeps from being copied.
      if ["security.selinux", "security.ima", "security.evm"].contains(name) { continue }
      byPath[path, default: []].append(
        (name, String(decoding: text[cut...].dropFirst(3), as: UTF8.self)))
    }
    for (path, list) in byPath where !list.isEmpty {
      try #require(seen[path] != nil, "getfattr named \(path)")
      seen[path]!.attributes = list.sorted { $0.name < $1.name }
        .map { "\($0.name)=\($0.value)" }.joined(separator: ",")
    }
    return seen
  }

  /// Undoes the octal escapes of `getfattr`.
  private static func unescaped(_ bytes: [UInt8]) -> [UInt8] {
    var result: [UInt8] = []
    var index = 0
    while index < bytes.count {
      if bytes[index] == 0x5C, index + 3 < bytes.count,
        let byte = UInt8(String(decoding: bytes[index + 1...index + 3], as: UTF8.self), radix: 8)
      {
        result.append(byte)
        index += 4
      } else {
        result.append(bytes[index])
        index += 1
      }
    }
    return result
  }

  // MARK: Tests

  @Test("an independent reader finds what the source is")
  func anIndependentReaderFindsWhatTheSourceIs() throws {
    let seen = try oracle(scratch.path("tree"))
    #expect(seen.count > 800)
    #expect(Set(seen.values.map(\.kind)).isSuperset(of: ["f", "d", "l", "p", "s"]))
    #expect(seen.values.filter { $0.attributes != "-" }.count >= 6)
    #expect(seen.values.count { $0.form == "h" } == 4)
    let answer = try snapshot()
    let ended = try read(catalog(answer.snapshot))
    try #require(ended.status == 0, "\(ended.errorText)")
    let dump = Dump(ended.text)
    let stored = try oracle(scratch.path("repository/\(answer.snapshot)/localhost"))
    // The reader checked the sum of names; the blocks are those that find(1) sees.
    let blocks = try Tools.succeed(
      "/usr/bin/find", [scratch.path("repository/\(answer.snapshot)"), "-type", "d", "-printf", "%b\\n"]
    ).text.split(separator: "\n").reduce(0) { $0 + (Int($1) ?? 0) }
    let sums = try #require(ended.text.split(separator: "\n").first { $0.hasPrefix("stored\t") })
    #expect(sums.hasSuffix("\t\(blocks)"))

    let prefix = "/localhost" + Self.shown(Array(scratch.path("tree").utf8))
    let inTree = dump.entries.filter { $0.key == prefix || $0.key.hasPrefix(prefix + "/") }
    #expect(inTree.count == seen.count)
    for (path, entry) in seen {
      let cells = try #require(inTree["/localhost" + path], "\(path) is missing")
      let said = Array(cells[0...5])
      #expect(
        said == [entry.kind, entry.mode, entry.user, entry.group, entry.modified, entry.size],
        "\(path)")
      // Of a directory the dump has the record's digest, which the reader recomputed.
      if entry.kind == "d" { #expect(cells[6].count == 64) } else { #expect(cells[6] == entry.digest, "\(path)") }
      #expect(cells[7] == entry.target, "\(path)")
      #expect(cells[9] == entry.attributes, "\(path)")
      #expect(cells[10] == entry.form, "\(path)")
      let copy = try #require(
        stored[Self.shown(Array(scratch.path("repository/\(answer.snapshot)/localhost").utf8)) + path])
      let hints = cells[11].split(separator: " ").map(String.init)
      #expect(hints[0...2] == [entry.inode, entry.changed, copy.inode], "\(path)")
    }
    // Names of one inode share a group, and only they do.
    let linked = seen.filter { $0.value.kind == "f" && $0.value.links > 1 }
    #expect(linked.count == 4)
    let byInode = Dictionary(grouping: linked.keys) { seen[$0]!.inode }
    let byGroup = Dictionary(grouping: inTree.filter { $0.value[8] != "-" }.keys) { inTree[$0]![8] }
    #expect(
      Set(byInode.values.map { Set($0.map { "/localhost" + $0 }) }) == Set(byGroup.values.map { Set($0) }))

    // Above the sources.
    #expect(dump.entries["-"]?[10] == "s")
    #expect(dump.entries["/localhost"]?[10] == "s")
    #expect(dump.entries["-"]?[6] == answer.root_digest)

    #expect(dump.fields["root_digest"] == [answer.root_digest])
    #expect(dump.fields["totals"] == [String(answer.entries), String(answer.bytes)])
    #expect(answer.entries == dump.entries.count)
    #expect(dump.fields["sequence"] == ["1"])
    #expect(dump.fields["outcome"] == ["complete"])
    #expect(dump.fields["label"] == ["localhost"])
    #expect(dump.fields["source"] == [Self.shown(Array(scratch.path("tree").utf8))])
    #expect(dump.fields["program"]?.first?.hasPrefix("treering\\x20") == true)
    let mark = try String(contentsOfFile: scratch.path("repository/.treering/repository.toml"), encoding: .utf8)
    #expect(mark.contains("id = \"\(try #require(dump.fields["repository"]?.first))\""))
    let frames = try #require(dump.fields["checked"]?.first?.split(separator: " ").first.flatMap { Int($0) })
    #expect(frames > 1)
  }

  @Test("a snapshot of an unchanged tree has the same digests")
  func aSnapshotOfAnUnchangedTreeHasTheSameDigests()
    throws
  {
    let first = try snapshot()
    let second = try snapshot()
    #expect(second.sequence == first.sequence + 1)
    let a = Dump(try read(catalog(first.snapshot)).text)
    let b = Dump(try read(catalog(second.snapshot)).text)
    // The directory above the tree holds the repository, whose time has changed.
    let prefix = "/localhost" + Self.shown(Array(scratch.path("tree").utf8))
    let inA = a.entries.filter { $0.key.hasPrefix(prefix) }
    #expect(inA.count > 800)
    for (path, cells) in inA {
      #expect(try Array(#require(b.entries[path])[..<11]) == Array(cells[..<11]), "\(path)")
    }
  }

  /// Whatever bit of a catalog is flipped, a reader that follows the page refuses it.
  @Test("no flipped bit is overlooked")
  func noFlippedBitIsOverlooked() throws {
    let path = catalog(try snapshot().snapshot)
    let intact = try Data(contentsOf: URL(filePath: path))
    #expect(try read(path).status == 0)
    let damaged = scratch.path("damaged")
    var offsets = Array(0..<24) + [24, 28, 32, 36, 40, 55, 56, 200, intact.count / 2]
    offsets += (intact.count - 16)..<intact.count
    for (index, offset) in offsets.enumerated() {
      var data = intact
      data[offset] ^= 1 << UInt8(index % 8)
      try data.write(to: URL(filePath: damaged))
      let ended = try read(damaged)
      #expect(ended.status == 1, "byte \(offset)")
      #expect(ended.errorText.hasPrefix("read_catalog.py: "), "byte \(offset): \(ended.errorText)")
    }
    for count in [0, 23, 24, 40, intact.count / 2, intact.count - 1] {
      try intact.prefix(count).write(to: URL(filePath: damaged))
      #expect(try read(damaged).status == 1, "cut to \(count)")
    }
  }

  /// The versioning rule: a higher version is refused by the program, and said so.
  @Test("a higher version is refused")
  func aHigherVersionIsRefused() throws {
    let path = catalog(try snapshot().snapshot)
    var data = try Data(contentsOf: URL(filePath: path))
    data[16] = 3
    try data.write(to: URL(filePath: path))
    let ended = try Tools.run(treering, ["list", "-r", scratch.path("repository")])
    #expect(ended.status == 6)
    #expect(ended.errorText.contains("use a newer treering"))
  }

  /// The other half of it: a tag that nobody knows yet is passed over, in a frame of either form.
  @Test("an unknown tag of the trailer is passed over", arguments: ["compressed", "as it is"])
  func anUnknownTagOfTheTrailerIsPassedOver(form: String) throws {
    let answer = try snapshot()
    let path = catalog(answer.snapshot)
    let script = """
      import hashlib, struct, subprocess, sys
      data = open(sys.argv[1], "rb").read()
      at = struct.unpack_from("<Q", data, len(data) - 16)[0]
      size, = struct.unpack_from("<I", data, at + 12)
      run = lambda *a, i: subprocess.run(["zstd", *a], input=i, stdout=-1, check=True).stdout
      content = data[at + 32:at + 32 + size]
      if content[:4] == b"\\x28\\xb5\\x2f\\xfd": content = run("-dcq", i=content)
      content += struct.pack("<HI", 60000, 500) + b"hello" * 100
      packed = content
      if sys.argv[2] == "compressed": packed = run("-cq", f"--stream-size={len(content)}", i=content)
      head = struct.pack("<4sIII", b"TRF1", 0xFFFFFFFF, len(content), len(packed))
      check = hashlib.sha256(head + packed).digest()[:16]
      open(sys.argv[1], "wb").write(data[:at] + head + check + packed + data[-16:])
      """
    _ = try Tools.succeed("python3", ["-c", script, path, form])
    #expect(try read(path).status == 0)
    let listed = try Tools.succeed(treering, ["list", "--json", "-r", scratch.path("repository")])
    #expect(listed.text.contains(answer.root_digest))
    let verified = try Tools.run(treering, ["verify", "-r", scratch.path("repository")])
    #expect(verified.status == 0, "\(verified.text)")
  }
}
