internal import Model
internal import Posix

/// One change of a restore in place, as the dated directory of kept entries records it.
///
/// The record is the file `changes` of that directory. Each line ends with a NUL and has a sign, the state of the entry
/// after the restore, and the path.
struct RecordedChange {
  enum Sign: UInt8, Sendable {
    case added = 0x2B
    /// An entry took the place of another one, which is below `replaced`.
    case replaced = 0x4D
    /// An entry got other metadata. The former ones are below `metadata`.
    case corrected = 0x6D
    case removed = 0x2D
    /// The time of a directory before the undoing, which its changes take from it.
    case time = 0x74
  }

  static let fileName = Array("changes".utf8)
  /// A record that is being written.
  static let newFileName = Array("changes.new".utf8)

  let sign: Sign
  /// From the destination on.
  let path: [[UInt8]]
  /// The inode after the restore; zero for a removed entry.
  var inode: UInt64 = 0
  /// The ctime after the restore. Of a directory it is the mtime to set, which `metadata` cannot keep.
  var changed = Timestamp(seconds: 0, nanoseconds: 0)

  init(_ sign: Sign, at path: [[UInt8]]) { (self.sign, self.path) = (sign, path) }

  init(timeOf directory: [[UInt8]], _ time: Timestamp) {
    self.init(.time, at: directory)
    changed = time
  }

  /// Parses a line without its NUL; `nil` for another form.
  init?(line: ArraySlice<UInt8>) {
    let words = line.split(separator: 0x20, maxSplits: 4, omittingEmptySubsequences: false)
    guard words.count == 5, words[0].count == 1, let sign = Sign(rawValue: words[0].first!),
      let inode = UInt64(String(decoding: words[1], as: UTF8.self)),
      let seconds = Int64(String(decoding: words[2], as: UTF8.self)),
      let nanoseconds = UInt32(String(decoding: words[3], as: UTF8.self)), sign == .time || !words[4].isEmpty
    else { return nil }
    self.init(sign, at: words[4].split(separator: slash).map(Array.init))
    self.inode = inode
    changed = Timestamp(seconds: seconds, nanoseconds: nanoseconds)
  }

  var line: [UInt8] {
    [sign.rawValue] + Array(" \(inode) \(changed.seconds) \(changed.nanoseconds) ".utf8)
      + Array(path.joined(separator: [slash])) + [0]
  }
}

extension KeptEntries {
  /// Writes the record of all changes, each with the present state of its entry, if entries were kept.
  ///
  /// The changes of a mount without kept entries are in the first record.
  func writeRecords(below destination: Directory) throws(Errno) {
    guard !paths.isEmpty else { return }
    var records: [[UInt8]: [UInt8]] = [:]
    var last: (path: ArraySlice<[UInt8]>, directory: Directory) = ([], destination)
    for (change, place) in changesWithPlaces() {
      var change = change
      if change.sign != .removed {
        let (parent, name) = (change.path.dropLast(), change.path.last!)
        do throws(Errno) {
          if parent != last.path { last = (parent, try destination.directory(path: parent)) }
          guard let status = try last.directory.descriptor.statusIfPresent(of: name.span) else { continue }
          change.inode = status.inode
          if status.kind != .directory { change.changed = status.changed }
        } catch {
          // A symbolic link of the operator leads there. The undoing names the path.
          guard error != .interrupted else { throw error }
        }
      }
      records[place, default: []] += change.line
    }
    for (place, record) in records { try write(record, in: place) }
  }
}
