import Foundation
import Model
import Testing

@testable import Catalog

/// Catalogs with right checksums and wrong content: what a hostile peer would send.
@Suite struct HostileTests {
  typealias Make = @Sendable () -> HostileCatalog

  private static func files(_ edits: [(inout RawEntry) -> Void]) -> HostileCatalog {
    HostileCatalog(
      RawRecord(
        files: edits.map {
          var entry = RawEntry()
          $0(&entry)
          return entry
        }))
  }

  private static func record(_ edit: (inout RawRecord) -> Void) -> HostileCatalog {
    var record = RawRecord(files: [RawEntry()])
    edit(&record)
    return HostileCatalog(record)
  }

  private static func catalog(_ edit: (inout HostileCatalog) -> Void) -> HostileCatalog {
    var catalog = HostileCatalog(child: RawRecord(files: [RawEntry()]))
    edit(&catalog)
    return catalog
  }

  private static func children(_ names: [String]) -> HostileCatalog {
    let empty = RawRecord()
    let subtree = Subtree(
      digest: empty.digest, place: Place(frame: 0, offset: 0), totals: Totals(entries: 1))
    let root = RawRecord(children: names.map { .init(name: name($0), subtree: subtree) })
    var catalog = HostileCatalog(root)
    catalog.frames = [empty.bytes, root.bytes]
    catalog.root.place = Place(frame: 1, offset: 0)
    return catalog
  }

  /// Names that no directory can hold, as a file's and as a directory's.
  static let badNames: [(String, Make)] = ["", ".", "..", "a/b", "/", "../x", "a\0", "\0"].flatMap {
    bad -> [(String, Make)] in
    let file: Make = { files([{ $0.name = name(bad) }]) }
    let directory: Make = { children([bad]) }
    let shown = bad.debugDescription
    return [("a file named \(shown)", file), ("a directory named \(shown)", directory)]
  }

  static let names: [(String, Make)] = [
    ("files out of order", { files([{ $0.name = name("b") }, { $0.name = name("a") }]) }),
    ("files of one name", { files([{ $0.name = name("a") }, { $0.name = name("a") }]) }),
    ("a prefix after its extension", { files([{ $0.name = name("ab") }, { $0.name = name("a") }]) }),
    ("directories out of order", { children(["b", "a"]) }),
    ("directories of one name", { children(["a", "a"]) }),
    ("bytes out of order", { files([{ $0.name = [0x80] }, { $0.name = [0x7F] }]) }),
    ("a file's name longer than the record", { files([{ $0.nameLength = 255 }]) }),
    ("a name length of nothing", { files([{ $0.nameLength = 0 }]) }),
  ]

  static let entries: [(String, Make)] = [
    ("kind 0", { files([{ $0.kind = 0 }]) }),
    ("kind 8", { files([{ $0.kind = 8 }]) }),
    ("kind 255", { files([{ $0.kind = 255 }]) }),
    ("a directory among files", { files([{ $0.kind = 7 }]) }),
    ("an unknown flag", { files([{ $0.flags = 16 }]) }),
    ("all flags", { files([{ $0.flags = 255 }]) }),
    ("permissions of thirteen bits", { files([{ $0.permissions = 0o10000 }]) }),
    ("a thousand million nanoseconds", { files([{ $0.nanoseconds = 1_000_000_000 }]) }),
    ("nanoseconds beyond all", { files([{ $0.nanoseconds = .max }]) }),
    ("a size without a digest", { files([{ $0.size = 5 }]) }),
    (
      "a negative size",
      {
        files([
          {
            $0.size = 1 << 63
            $0.tail = [UInt8](repeating: 0, count: 32)
          }
        ])
      }
    ),
    (
      "the largest size",
      {
        files([
          {
            $0.size = .max
            $0.tail = [UInt8](repeating: 0, count: 32)
          }
        ])
      }
    ),
    (
      "a link to nothing",
      {
        files([
          {
            $0.kind = 2
            $0.size = 0
          }
        ])
      }
    ),
    (
      "a link's target beyond the record",
      {
        files([
          {
            $0.kind = 2
            $0.size = 5000
          }
        ])
      }
    ),
    (
      "a link's target of 65,537 bytes",
      {
        files([
          {
            $0.kind = 2
            $0.size = 65_537
            $0.tail = [UInt8](repeating: 65, count: 65_537)
          }
        ])
      }
    ),
    (
      "a link's target beyond memory",
      {
        files([
          {
            $0.kind = 2
            $0.size = .max
          }
        ])
      }
    ),
    ("a link group that is not there", { files([{ $0.flags = 2 }]) }),
    ("attributes that are not there", { files([{ $0.flags = 1 }]) }),
    (
      "attributes of no length",
      {
        files([
          {
            $0.flags = 1
            $0.attributesLength = 0
          }
        ])
      }
    ),
    (
      "attributes beyond the record",
      {
        files([
          {
            $0.flags = 1
            $0.attributesLength = 1000
          }
        ])
      }
    ),
    (
      "attributes beyond the limit",
      {
        files([
          {
            $0.flags = 1
            $0.attributesLength = .max
          }
        ])
      }
    ),
    (
      "an attribute without a name",
      {
        files([
          {
            $0.flags = 1
            $0.attributes = [0, 1, 0, 0, 0, 7]
          }
        ])
      }
    ),
    (
      "an attribute's name with a NUL",
      {
        files([
          {
            $0.flags = 1
            $0.attributes = [2, 97, 0, 0, 0, 0, 0]
          }
        ])
      }
    ),
    (
      "an attribute's name beyond the block",
      {
        files([
          {
            $0.flags = 1
            $0.attributes = [200, 97]
          }
        ])
      }
    ),
    (
      "an attribute's value beyond the block",
      {
        files([
          {
            $0.flags = 1
            $0.attributes = [1, 97, 255, 255, 255, 255]
          }
        ])
      }
    ),
    (
      "an own attribute beyond the record",
      {
        record {
          $0.own.flags = 1
          $0.own.attributesLength = 1 << 20
        }
      }
    ),
    (
      "own attributes without a name",
      {
        record {
          $0.own.flags = 1
          $0.own.attributes = [0, 0, 0, 0, 0]
        }
      }
    ),
    ("an own unknown flag", { record { $0.own.flags = 32 } }),
    ("own impossible permissions", { record { $0.own.permissions = .max } }),
    ("a root that is a file", { record { $0.own.kind = 1 } }),
    ("a root of no kind", { record { $0.own.kind = 200 } }),
  ]

  static let records: [(String, Make)] = [
    (
      "one file more than there is",
      {
        record {
          $0.fileCount = 2
          $0.hintBytes = 96
        }
      }
    ),
    ("more files than memory", { record { $0.fileCount = .max } }),
    ("one file fewer than there is", { record { $0.fileCount = 0 } }),
    ("one child that is not there", { record { $0.childCount = 1 } }),
    ("more children than memory", { record { $0.childCount = .max } }),
    (
      "children's hints missing",
      {
        var catalog = children(["a"])
        var record = RawRecord(children: [
          .init(
            name: name("a"),
            subtree: Subtree(
              digest: RawRecord().digest, place: Place(frame: 0, offset: 0), totals: Totals()))
        ])
        record.hintBytes = RecordLayout.hintBytes
        catalog.frames[1] = record.bytes
        return catalog
      }
    ),
    ("hints of one byte too many", { record { $0.hintBytes = 65 } }),
    ("hints of one byte too few", { record { $0.hintBytes = 63 } }),
    ("no hints", { record { $0.hintBytes = 0 } }),
    ("spare bytes", { record { $0.spare = [0] } }),
    ("a byte missing", { record { $0.missing = 1 } }),
    ("nothing but the fixed part", { record { $0.missing = $0.content.count - 32 } }),
    ("no content", { record { $0.missing = $0.content.count } }),
    ("content beyond the frame", { record { $0.contentLength = 1 << 30 } }),
    ("content of all lengths", { record { $0.contentLength = .max } }),
    ("hints beyond the frame", { record { $0.hintLength = .max } }),
    (
      "content and hints beyond all",
      {
        record {
          $0.contentLength = .max
          $0.hintLength = .max
        }
      }
    ),
    ("an empty frame", { catalog { $0.frames[0] = [] } }),
    ("a frame of four bytes", { catalog { $0.frames[0] = [0, 0, 0, 0] } }),
    (
      "a name that is both a file's and a directory's",
      {
        let empty = RawRecord()
        let root = RawRecord(
          files: [.link("/etc")],
          children: [
            .init(
              name: name("f"),
              subtree: Subtree(
                digest: empty.digest, place: Place(frame: 0, offset: 0), totals: Totals(entries: 1)))
          ])
        var catalog = HostileCatalog(root)
        catalog.frames = [empty.bytes, root.bytes]
        catalog.root.place = Place(frame: 1, offset: 0)
        return catalog
      }
    ),
  ]

  static let places: [(String, Make)] = [
    (
      "a child's frame that is not there",
      {
        HostileCatalog(child: RawRecord(), place: Place(frame: 2, offset: 0))
      }
    ),
    (
      "a child's frame beyond all",
      {
        HostileCatalog(child: RawRecord(), place: Place(frame: .max, offset: 0))
      }
    ),
    (
      "the table as a child's frame",
      {
        HostileCatalog(child: RawRecord(), place: Place(frame: 0xFFFF_FFFE, offset: 0))
      }
    ),
    (
      "a child's offset at the frame's end",
      {
        HostileCatalog(child: RawRecord(), place: Place(frame: 0, offset: UInt32(RawRecord().bytes.count)))
      }
    ),
    (
      "a child's offset beyond all",
      {
        HostileCatalog(child: RawRecord(), place: Place(frame: 0, offset: .max))
      }
    ),
    (
      "a child's offset inside its record",
      {
        HostileCatalog(child: RawRecord(), place: Place(frame: 0, offset: 1))
      }
    ),
    (
      "a child that is its parent",
      {
        HostileCatalog(child: RawRecord(), place: Place(frame: 1, offset: 0))
      }
    ),
    ("a child of another digest", { HostileCatalog(child: RawRecord(), digest: .ofNothing) }),
    ("a root of another digest", { catalog { $0.root.digest = .ofNothing } }),
    ("a root's frame that is not there", { catalog { $0.root.place.frame = 9 } }),
    ("a root's offset beyond its frame", { catalog { $0.root.place.offset = 1 << 20 } }),
    ("a frame of another number", { catalog { $0.frameNumbers = [1, 1] } }),
    ("exchanged frames", { catalog { $0.frameNumbers = [1, 0] } }),
    ("a table of all frames", { catalog { $0.frameCount = .max } }),
    ("a table of no frames", { catalog { $0.frameCount = 0 } }),
    ("a table of fewer frames", { catalog { $0.frameCount = 1 } }),
    ("a table that is too short", { catalog { $0.table = [0, 0, 0] } }),
    ("an empty table", { catalog { $0.table = [] } }),
    ("frames at the start", { catalog { $0.table = [UInt8](repeating: 0, count: 16) } }),
    ("frames beyond the end", { catalog { $0.table = [UInt8](repeating: 0xFF, count: 16) } }),
    (
      "frames all at the first",
      {
        catalog { $0.table = [24, 0, 0, 0, 0, 0, 0, 0, 24, 0, 0, 0, 0, 0, 0, 0] }
      }
    ),
    ("a table at the start", { catalog { $0.tableOffset = 0 } }),
    ("a table in the header", { catalog { $0.tableOffset = 23 } }),
    ("a table that is a frame", { catalog { $0.tableOffset = 24 } }),
    ("a table beyond the end", { catalog { $0.tableOffset = 1 << 40 } }),
    ("a table beyond all", { catalog { $0.tableOffset = .max } }),
    ("a trailer at the start", { catalog { $0.trailerOffset = 0 } }),
    ("a trailer that is a frame", { catalog { $0.trailerOffset = 24 } }),
    ("a trailer beyond all", { catalog { $0.trailerOffset = .max } }),
    ("frames that claim a gigabyte", { catalog { $0.claimedSize = 1 << 30 } }),
    ("frames that claim all memory", { catalog { $0.claimedSize = .max } }),
    (
      "frames that claim a byte more",
      {
        catalog { $0.claimedSize = UInt32($0.frames[0].count + 1) }
      }
    ),
    (
      "frames that claim a byte less",
      {
        catalog { $0.claimedSize = UInt32($0.frames[0].count - 1) }
      }
    ),
    ("frames that claim nothing", { catalog { $0.claimedSize = 0 } }),
  ]

  private static func trailer(
    root: Bool = true, _ fields: [(tag: UInt16, length: UInt32?, value: [UInt8])]
  ) -> HostileCatalog {
    var catalog = catalog { _ in }
    let digest = catalog.root.digest.bytes
    catalog.trailer = { tableOffset in
      var buffer = ByteBuffer()
      buffer.append(tableOffset)
      buffer.append(UInt32(2))
      func field(_ tag: UInt16, _ length: UInt32?, _ value: [UInt8]) {
        buffer.append(tag)
        buffer.append(length ?? UInt32(value.count))
        buffer.append(value.span)
      }
      if root {
        field(1, nil, [1, 0, 0, 0, 0, 0, 0, 0])
        field(2, nil, digest)
      }
      for item in fields { field(item.tag, item.length, item.value) }
      return [UInt8](buffer.bytes)
    }
    return catalog
  }

  static let trailers: [(String, Make)] = [
    ("an empty trailer", { catalog { $0.trailer = { _ in [] } } }),
    ("a trailer of eleven bytes", { catalog { $0.trailer = { _ in [UInt8](repeating: 1, count: 11) } } }),
    ("a trailer without a root", { trailer(root: false, []) }),
    ("half a root's place", { trailer(root: false, [(1, nil, [0, 0, 0, 0]), (2, nil, [])]) }),
    ("half a digest", { trailer([(2, nil, [1, 2, 3])]) }),
    ("a field beyond the trailer", { trailer([(10, 1000, [])]) }),
    ("a field beyond all", { trailer([(10, .max, [])]) }),
    ("half a field's head", { catalog { $0.trailer = { _ in [UInt8](repeating: 0, count: 13) } } }),
    ("an unknown outcome", { trailer([(7, nil, [9])]) }),
    ("an outcome of no byte", { trailer([(7, nil, [])]) }),
    ("a sequence of four bytes", { trailer([(4, nil, [0, 0, 0, 0])]) }),
    ("a start before the year 0", { trailer([(5, nil, [0, 0, 0, 0, 0, 0, 0, 128, 0, 0, 0, 0])]) }),
    ("an end beyond all years", { trailer([(6, nil, [255, 255, 255, 255, 255, 255, 255, 127, 0, 0, 0, 0])]) }),
    ("an arrival beyond all years", { trailer([(16, nil, [255, 255, 255, 255, 255, 255, 255, 127, 0, 0, 0, 0])]) }),
    ("the last sequence number", { trailer([(4, nil, [UInt8](repeating: 255, count: 8))]) }),
    ("more entries than there can be", { trailer([(3, nil, [UInt8](repeating: 255, count: 16))]) }),
    ("more files than there can be", { trailer([(8, nil, [UInt8](repeating: 255, count: 24))]) }),
    ("more copies than there can be", { trailer([(9, nil, [UInt8](repeating: 255, count: 24))]) }),
    (
      "a time of a thousand million nanoseconds",
      {
        trailer([(5, nil, [0, 0, 0, 0, 0, 0, 0, 0, 0, 202, 154, 59])])
      }
    ),
  ]

  static let all = badNames + names + entries + records + places + trailers

  @Test("a catalog that claims too much is refused quickly", arguments: all.indices)
  func isRefusedQuickly(_ index: Int) throws {
    let (what, make) = Self.all[index]
    let file = try make().file()
    let start = ContinuousClock.now
    #expect(throws: CatalogError.self, "\(what)") { _ = try readAll(file) }
    #expect(ContinuousClock.now - start < .seconds(60), "\(what)")
  }

  /// The hostile builder builds good catalogs too; else everything would be refused for its form.
  @Test("an honest catalog of the same make is read")
  func anHonestCatalogOfTheSameMakeIsRead() throws {
    let linked = RawEntry(flags: 2, name: name("g"), group: 5)
    let attributed = RawEntry(flags: 1, name: name("h"), attributes: [1, 97, 1, 0, 0, 0, 7])
    let filled = RawEntry(size: 3, name: name("i"), tail: [UInt8](repeating: 4, count: 32))
    var link = RawEntry.link("to")
    link.name = name("j")
    let child = RawRecord(files: [RawEntry(), linked, attributed, filled, link])
    #expect(try readAll(try HostileCatalog(child: child).file()).entries.count == 7)
    #expect(try readAll(try Self.children(["a", "b"]).file()).entries.count == 3)
    #expect(try readAll(try Self.trailer([(999, nil, [1, 2, 3])]).file()).entries.count == 3)
  }

  /// All of it again, in a process that may have 256 MiB more than it began with.
  @Test("nothing is believed that costs memory")
  func nothingIsBelievedThatCostsMemory() async {
    await #expect(processExitsWith: .success) {
      let status = try String(contentsOfFile: "/proc/self/status", encoding: .utf8)
      let line = status.split(separator: "\n").first { $0.hasPrefix("VmSize:") }!
      let kibibytes = UInt64(line.split(whereSeparator: \.isWhitespace)[1])!
      let bytes = rlim_t(kibibytes << 10 + 256 << 20)
      var limit = rlimit(rlim_cur: bytes, rlim_max: bytes)
      precondition(setrlimit(__rlimit_resource_t(RLIMIT_AS.rawValue), &limit) == 0)
      for (_, make) in HostileTests.all { _ = try? readAll(try make().file()) }
    }
  }
}
