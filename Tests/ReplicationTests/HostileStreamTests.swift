import Catalog
import Delta
import Model
import Posix
import Repository
import Testing

@testable import Replication

/// A message of a push's stream, from its tag on.
private func message(_ name: String, _ build: @escaping @Sendable (inout MessageWriter) throws -> Void) -> Lie {
  .inPush(name) { client in
    var writer = MessageWriter()
    try build(&writer)
    try client.stream.write(writer.bytes)
  }
}

/// One of a folder whose record has come: the files `f`, of 10 bytes, and `l`, a link, and the directory `d`.
private func inFolder(_ name: String, _ build: @escaping @Sendable (inout MessageWriter) throws -> Void) -> Lie {
  .inPush(name, below: folder) { client in
    try client.record(folder.content)
    var writer = MessageWriter()
    try build(&writer)
    try client.stream.write(writer.bytes)
  }
}

private let ten = Array("0123456789".utf8)
private let folder = RawRecord(
  files: [RawRecord.file("f", ten), RawRecord.File(name: [108], kind: 2, size: 1, tail: [120])],
  children: [([100], .ofNothing)])

private let folderOfOneExbibyte = RawRecord(
  files: [RawRecord.File(name: [97], size: 1 << 60, tail: Digest.ofNothing.bytes)])
private let folderOfOneMebibyte = RawRecord(
  files: [RawRecord.File(name: [102], size: 1 << 20, tail: Digest.ofNothing.bytes)])

extension MessageWriter {
  mutating func numbers(_ values: UInt64...) { for value in values { integer(value) } }
  /// A file message: how many to skip, from where, at which offset.
  fileprivate mutating func file(skip: UInt64 = 0, kind: UInt64 = 0, offset: UInt64 = 0) {
    numbers(3, skip, kind, offset)
  }
}

@Suite struct HostileStreamTests {
  @Test("messages come back")
  func messages() throws {
    var lies = [
      message("tag 0") { $0.numbers(0) }, message("tag 9") { $0.numbers(9) },
      message("tag 2^63") { $0.numbers(1 << 63) },
      message("needed") { $0.numbers(8) },
      message("a record of 2^63") { $0.numbers(1, 0, 1 << 63) },
      message("a record beyond the limit") { $0.numbers(1, 0, 256 << 20 + 1) },
      message("a record of nothing") { $0.numbers(1, 0, 0, 0) },
      message("flags 2") { $0.numbers(1, 2) }, message("flags 4") { $0.numbers(1, 4) },
      message("a base of 4097 names") { $0.numbers(1, 1, 4097) },
      message("a base of 2^64 names") { $0.numbers(1, 1, .max) },
      message("an unknown directory") {
        $0.numbers(2)
        $0.digest(sha256([1]))
      },
      message("a file of no directory") { $0.file() }, message("a reference of no directory") { $0.numbers(5, 0, 0) },
      message("a base file of no directory") { $0.numbers(4, 0, 0) },
      message("more than announced") { $0.numbers(1, 0, 10, 22) },
      message("a literal of 2^63") { $0.numbers(1, 0, 10, .max - 1) },
      message("a copy without a base") { $0.numbers(1, 0, 10, 10 << 1 | 1, 0) },
      message("a copy of nothing") { $0.numbers(1, 0, 10, 1, 0) },
      message("less than announced") { $0.numbers(1, 0, 10, 0) },
      message("a signature of a long path") { $0.numbers(6, .max) },
      inFolder("a file beyond the last") { $0.file(skip: 2) }, inFolder("a file at 2^64") { $0.file(skip: .max) },
      inFolder("the content of a link") { $0.file(skip: 1) }, inFolder("a file in an unknown way") { $0.file(kind: 3) },
      inFolder("beyond its end") { $0.file(offset: 11) }, inFolder("far beyond its end") { $0.file(offset: .max) },
      inFolder("where it has not come to") { $0.file(offset: 5) },
      inFolder("a delta without a base") { $0.file(kind: 1) },
      inFolder("a delta against nothing") { $0.numbers(3, 0, 2, 1, 1, 120) },
      inFolder("a delta against a directory") { $0.numbers(3, 0, 2, 0, 0) },
      inFolder("a file of more") {
        $0.file()
        $0.numbers(22)
      },
      inFolder("a file of less") {
        $0.file()
        $0.numbers(0)
      },
      inFolder("a copy of a file without a base") {
        $0.file()
        $0.numbers(10 << 1 | 1, 0)
      },
      inFolder("a reference beyond the last") { $0.numbers(5, 1, 0) },
      inFolder("a reference at 2^64") { $0.numbers(5, .max, 0) },
    ]
    for name in ["", ".", "..", "a/b", "/", "a\0b", String(repeating: "x", count: 256)] {
      for tag: UInt64 in [4, 5] {
        lies.append(
          inFolder("\(tag == 4 ? "a file's" : "a directory's") base at \(name)") {
            $0.numbers(tag, 0)
            $0.path([Array(name.utf8)])
          })
      }
      lies.append(
        message("a record's base at \(name)") {
          $0.numbers(1, 1)
          $0.path([Array(name.utf8)])
        })
    }
    try World().tell(lies)
  }

  @Test("copies are checked against the base")
  func copiesAgainstTheBase() throws {
    let world = try World()
    let source = TreePath(parsing: ("localhost" + world.path + "/source").utf8)
    let large = source + [[97], Array("large".utf8)]
    // Of `seq 1 4000`.
    let before = UInt64(18893)
    var lies: [Lie] = []
    for (count, offset) in [
      (UInt64(10), Int64(-1)), (10, .min), (10, .max), (10, Int64(before) - 9), (1, Int64(before)), (before + 1, 0),
      (.max >> 1, 0), (.max >> 1, 1),
    ] {
      lies.append(
        .inPush("\(count) bytes at \(offset) of a file", below: folderOfOneMebibyte) { client in
          try client.record(folderOfOneMebibyte.content)
          var writer = MessageWriter()
          writer.numbers(3, 0, 2)
          writer.path(large)
          writer.numbers(0, count << 1 | 1)
          writer.signed(offset)
          try client.stream.write(writer.bytes)
        })
      lies.append(
        .inPush("\(count) bytes at \(offset) of a record") { client in
          var writer = MessageWriter()
          writer.numbers(1, 1)
          writer.path([])
          writer.numbers(10000, count << 1 | 1)
          writer.signed(offset == Int64(before) ? 10000 : offset)
          try client.stream.write(writer.bytes)
          // What a record's base is too small for is refused; what is not, ends too early.
          try client.stream.write([0])
        })
    }
    lies.append(
      message("a file as the base of a record") {
        $0.numbers(1, 1)
        $0.path(large)
      })
    lies.append(
      .inPush("signatures without end") { client in
        for _ in 0..<20000 { try client.stream.message(.signature) { $0.path(large) } }
      })
    lies.append(
      Lie("a signature without a base") {
        $0.candidates = []
        try $0.begin()
        try $0.stream.message(.signature) { $0.path(large) }
      })
    try world.tell(lies)
  }

  @Test("records are checked")
  func records() throws {
    func name(_ text: String) -> RawRecord.File { RawRecord.File(name: Array(text.utf8)) }
    func child(_ text: String) -> ([UInt8], Digest) { (Array(text.utf8), .ofNothing) }
    var records: [(String, RawRecord)] = [
      ("two of one name", RawRecord(files: [name("a"), name("a")])),
      ("names in disorder", RawRecord(files: [name("b"), name("a")])),
      ("directories in disorder", RawRecord(children: [child("b"), child("a")])),
      ("a file and a directory of one name", RawRecord(files: [name("a")], children: [child("a")])),
      ("a file for a directory", RawRecord(kind: 1)), ("no kind", RawRecord(kind: 0)),
      ("kind 200", RawRecord(kind: 200)),
      ("a directory among the files", RawRecord(files: [RawRecord.File(name: [97], kind: 7)])),
      ("unknown flags", RawRecord(flags: 0x80)), ("permissions", RawRecord(permissions: 0o10000)),
      ("nanoseconds", RawRecord(nanoseconds: 1_000_000_000)), ("bytes to spare", RawRecord(spare: [0])),
      ("2^32 files", RawRecord(fileCount: .max)), ("a file too many", RawRecord(files: [name("a")], fileCount: 2)),
      ("2^32 directories", RawRecord(childCount: .max)), ("a directory too many", RawRecord(childCount: 1)),
      ("an endless link", RawRecord(files: [RawRecord.File(name: [97], kind: 2, size: .max)])),
      ("an empty link", RawRecord(files: [RawRecord.File(name: [97], kind: 2)])),
      ("an endless file", RawRecord(files: [RawRecord.File(name: [97], size: .max, tail: Digest.ofNothing.bytes)])),
    ]
    for bad in ["", ".", "..", "a/b", "/", "a\0"] {
      records.append(("the file \(bad)", RawRecord(files: [name(bad)])))
      records.append(("the directory \(bad)", RawRecord(children: [child(bad)])))
    }
    var lies = records.map { name, record in Lie.inPush(name) { try $0.record(record.content) } }
    let whole = folder.content
    for length in stride(from: 0, to: whole.count, by: 7) {
      lies.append(.inPush("\(length) bytes of a record") { try $0.record(Array(whole.prefix(length))) })
    }
    try World().tell(lies)
  }

  @Test("the frames of a stream are checked")
  func framesOfAStream() throws {
    func frames(_ name: String, _ frames: [[UInt8]]) -> Lie {
      .inPush(name) { client in for frame in frames { try client.channel.send(.stream, frame) } }
    }
    try World().tell([
      frames("no zstd", [Array("this is no zstd".utf8)]),
      frames("a skippable frame", [[0x50, 0x2A, 0x4D, 0x18, 4, 0, 0, 0, 1, 2, 3, 4]]),
      frames("an old zstd", [[0x22, 0xB5, 0x2F, 0xFD, 0, 0, 0, 0]]),
      frames("a window of 2^41", [[0x28, 0xB5, 0x2F, 0xFD, 0x00, 0xF8, 1, 2, 3]]),
      frames("nothing, again and again", [[UInt8]](repeating: [], count: 20)),
      .inPush("a list in between") { try $0.channel.send(.list) },
      .inPush("another push") { try $0.channel.send(.push, $0.request) },
      .inPush("the end in the middle") { try $0.stream.finish() },
    ])
  }

  /// After all that can be said wrongly while the stream lasts, what is wrong with the whole.
  @Test("whole contents are checked")
  func wholes() throws {
    let needed = { @Sendable (client: ScriptedClient, content: [UInt8]) in
      try client.end()
      _ = try client.channel.receive(.need)
      try client.stream.message(.needed) { $0.integer(UInt64(content.count)) }
      try client.literal(content)
      try client.stream.write([0])
    }
    let leaf = RawRecord()
    try World().tell([
      .inPush("another root than was announced") { try needed($0, leaf.content) },
      .inPush("another message than was needed") { client in
        try client.end()
        _ = try client.channel.receive(.need)
        try client.stream.message(.end)
      },
      Lie("a content that is another") { client in
        let record = RawRecord(files: [RawRecord.file("f", ten)])
        client.announce(record.digest, entries: 2, directories: 1)
        try client.begin()
        try client.record(record.content)
        try client.end()
        _ = try client.channel.receive(.need)
        try client.stream.message(.needed)
        try client.literal(Array("9876543210".utf8))
        try client.stream.write([0])
      },
      Lie("a size that is another") { client in
        let small = RawRecord(files: [RawRecord.file("f", ten)])
        let large = RawRecord(files: [RawRecord.file("f", ten, size: 1 << 62)])
        let root = RawRecord(children: [([97], small.digest), ([98], large.digest)])
        client.announce(root.digest, entries: 5, directories: 3)
        try client.begin()
        try client.record(root.content)
        try client.record(small.content)
        try client.stream.message(.file) { $0.numbers(0, 0, 0) }
        try client.literal(ten)
        try client.stream.write([0])
        try client.record(large.content)
        try client.end()
      },
      Lie("fewer entries than there are") {
        $0.summary.root.totals.entries -= 1
        try $0.pushAll()
      },
      Lie("fewer directories than there are") {
        $0.summary.directories -= 1
        try $0.pushAll()
      },
      Lie("more than any disk holds") {
        $0.summary.root.totals.entries = .max
        try $0.pushAll()
      },
      Lie("more directories than any disk holds") {
        $0.summary.directories = .max
        try $0.pushAll()
      },
    ])
  }

  /// One record for two to the power of forty directories.
  @Test("directories that multiply are refused")
  func directoriesThatMultiply() throws {
    @Sendable func bomb(_ client: ScriptedClient, entries: UInt64) throws {
      var records = [RawRecord()]
      for _ in 0..<40 {
        let digest = records.last!.digest
        records.append(RawRecord(children: [([97], digest), ([98], digest)]))
      }
      client.announce(records.last!.digest, entries: entries, directories: entries)
      try client.begin()
      for record in records.reversed() { try client.record(record.content) }
      try client.end()
    }
    try World().tell([
      Lie("as it is") { try bomb($0, entries: 2 << 40 - 1) }, Lie("as nothing") { try bomb($0, entries: 1) },
      Lie("as little") { try bomb($0, entries: 500) },
      Lie("wide") { client in
        let leaf = RawRecord()
        let wide = RawRecord(children: (0..<20000).map { (Array("\(100_000 + $0)".utf8), leaf.digest) })
        client.announce(wide.digest, entries: 20000, directories: 20000)
        try client.begin()
        try client.record(wide.content)
        try client.record(leaf.content)
        try client.end()
      },
    ])
  }

  /// Little that becomes much.
  @Test("a compressed stream that grows without end is refused")
  func bombs() throws {
    let world = try World()
    @Sendable func zeros(_ client: ScriptedClient, _ byteCount: UInt64) throws {
      let piece = [UInt8](repeating: 0, count: 1 << 20)
      try client.stream.write(MessageWriter.number(byteCount << 1))
      for _ in 0..<min(byteCount >> 20, 300) { try client.stream.write(piece) }
      try client.stream.flush()
    }
    try world.tell(
      [
        .inPush("a record of zeros") { client in
          try client.stream.message(.record) { $0.numbers(0, 255 << 20) }
          try zeros(client, 255 << 20)
        },
        .inPush("a file of an exbibyte", below: folderOfOneExbibyte) { client in
          try client.record(folderOfOneExbibyte.content)
          try client.stream.message(.file) { $0.numbers(0, 0, 0) }
          try zeros(client, 1 << 60)
        },
        Lie("more records than were announced") { client in
          let below = (0..<1000).map { RawRecord(files: [RawRecord.File(name: Array("\($0)".utf8))]) }
          let root = RawRecord(children: below.enumerated().map { (Array("\(1000 + $0)".utf8), $1.digest) })
          client.announce(root.digest, entries: 10, directories: 10)
          try client.begin()
          for record in [root] + below { try client.record(record.content) }
        },
        .inPush("records that none above them names", below: folder) { client in
          try client.record(folder.content)
          try client.record(RawRecord().content)
        },
        .inPush("more references than rows can have come", below: folder) { client in
          try client.record(folder.content)
          for number in 0..<100_000 {
            try client.stream.message(.baseDirectory) {
              $0.integer(0)
              $0.path([Array("\(number)".utf8)])
            }
          }
        },
        .inPush("the same references again and again", below: folder) { client in
          try client.record(folder.content)
          let path = TreePath(repeating: [UInt8](repeating: 120, count: 255), count: 4096)
          for _ in 0..<10 {
            try client.stream.message(.baseDirectory) {
              $0.integer(0)
              $0.path(path)
            }
          }
          try client.end()
        },
        Lie("the same directory again and again") { client in
          let wide = RawRecord(files: (0..<20_000).map { RawRecord.File(name: Array("\(100_000 + $0)".utf8)) })
          client.announce(wide.digest, entries: 20_001, directories: 1)
          try client.begin()
          try client.record(wide.content)
          let digest = wide.digest
          for _ in 0..<5000 {
            try client.stream.message(.directory) {
              $0.digest(digest)
              $0.integer(0)
            }
          }
        },
      ])
    // One mebibyte of reference, and the record.
    let pending = try world.run("du -sk far/.treering/pending | cut -f1").split(separator: "\n")[0]
    #expect(Int(pending)! < 6 << 10, "\(pending) KiB")
  }

  @Test("directories that are very deep are refused")
  func directoriesThatAreVeryDeep() throws {
    try World().tell([
      Lie("6000 directories in each other") { client in
        var records = [RawRecord()]
        for _ in 0..<6000 { records.append(RawRecord(children: [([97], records.last!.digest)])) }
        client.announce(records.last!.digest, entries: 6001, directories: 6001)
        try client.begin()
        for record in records.reversed() { try client.record(record.content) }
        try client.end()
      }
    ])
  }
}

extension ScriptedClient {
  /// A snapshot of another root than the world's.
  func announce(_ root: Digest, entries: UInt64, directories: UInt64) {
    summary.root.digest = root
    summary.root.totals = Totals(entries: entries, bytes: 0)
    summary.directories = directories
  }
}

extension MessageWriter {
  fileprivate static func number(_ value: UInt64) -> [UInt8] {
    var writer = MessageWriter()
    writer.integer(value)
    return writer.bytes
  }
}
