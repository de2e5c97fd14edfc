/// The meaning of an archive's files for the base backups of a server: the files that none needs, and those that lack.
public struct LogPlan: Sendable {
  /// Missing segments in a row.
  public struct Gap: Hashable, Sendable {
    public var first: LogSegment
    public var count: UInt64
  }

  private let names: [[UInt8]]
  private let bases: [BaseBackup]
  /// The histories of the timelines that are known.
  private let histories: [UInt32: TimelineHistory]
  private let segmentBytes: UInt64
  /// The numbers of the segments of each timeline, ascending.
  private let numbers: [UInt32: [UInt64]]

  /// - Parameters:
  ///   - names: all files of the archive.
  ///   - histories: the content of the archive's `.history` files, by timeline.
  ///   - segmentBytes: a power of two from 1 MiB to 1 GiB.
  public init(names: [[UInt8]], bases: [BaseBackup], histories: [UInt32: TimelineHistory], segmentBytes: UInt64) {
    (self.names, self.bases, self.segmentBytes) = (names, bases, segmentBytes)
    // The first timeline has no ancestors, and no file.
    self.histories = histories.merging([1: TimelineHistory()]) { _, first in first }
    var numbers: [UInt32: [UInt64]] = [:]
    for case .segment(let segment)? in names.map({ LogFile($0, segmentBytes: segmentBytes) }) {
      numbers[segment.timeline, default: []].append(segment.number)
    }
    self.numbers = numbers.mapValues { $0.sorted() }
  }

  private func segment(at place: LogPlace) -> UInt64 { place.byte / segmentBytes }

  /// True if the base needs logs of the timeline. `nil` if the timeline's ancestors are not known.
  private func needs(_ timeline: UInt32, for base: BaseBackup) -> Bool? {
    timeline == base.timeline ? true : histories[timeline]?.isReached(from: base)
  }

  /// The files that no base needs. Histories stay, and so does everything while there is no base.
  ///
  /// A segment is needed if it is not older than the start of a base whose recovery can reach its timeline. A timeline
  /// with unknown ancestors counts as reached by all.
  public var removable: [[UInt8]] {
    guard !bases.isEmpty else { return [] }
    return names.filter { name in
      guard let segment = LogFile(name, segmentBytes: segmentBytes)?.segment else { return false }
      return !bases.contains { base in
        segment.number >= self.segment(at: base.start) && needs(segment.timeline, for: base) != false
      }
    }
  }

  /// The newest segment of a timeline; for `nil` that of all, and of the highest timeline if several have it.
  public func newest(on timeline: UInt32?) -> LogSegment? {
    numbers.filter { timeline == nil || $0.key == timeline }
      .compactMap { timeline, numbers in numbers.last.map { LogSegment(timeline: timeline, number: $0) } }
      .max { ($0.number, $0.timeline) < ($1.number, $1.timeline) }
  }

  /// The missing segments on the way from each base to the newest segment that it can reach.
  public var gaps: [Gap] {
    var seen: Set<Gap> = []
    return bases.flatMap(gaps(from:)).filter { seen.insert($0).inserted }
  }

  private func gaps(from base: BaseBackup) -> [Gap] {
    // PostgreSQL's own choice is the newest timeline, recovery_target_timeline = 'latest'.
    let target = numbers.keys.filter { needs($0, for: base) == true }.max() ?? base.timeline
    let newest = max(numbers[target]?.last ?? 0, segment(at: LogPlace(byte: max(base.end.byte, 1) - 1)))
    // A segment in which a timeline ends is read from the next one, which begins with a copy.
    var parts: [(timeline: UInt32, first: UInt64)] = [(base.timeline, segment(at: base.start))]
    if target != base.timeline, let ancestors = histories[target]?.ancestors {
      let own = ancestors.firstIndex { $0.timeline == base.timeline } ?? 0
      let followers = ancestors[own...].dropFirst().map(\.timeline) + [target]
      parts += zip(followers, ancestors[own...]).map { ($0, segment(at: $1.end)) }
    }
    var gaps: [Gap] = []
    for (index, part) in parts.enumerated() {
      let end = index + 1 < parts.count ? parts[index + 1].first : newest + 1
      gaps += missing(on: part.timeline, from: part.first, to: end)
    }
    return gaps
  }

  /// The missing numbers in `first..<end`.
  private func missing(on timeline: UInt32, from first: UInt64, to end: UInt64) -> [Gap] {
    var gaps: [Gap] = []
    var wanted = first
    for number in (numbers[timeline] ?? []) + [end] where number >= wanted && number <= end {
      if number > wanted {
        gaps.append(Gap(first: LogSegment(timeline: timeline, number: wanted), count: number - wanted))
      }
      wanted = number + 1
    }
    return gaps
  }
}

extension LogPlan {
  /// The segments that are not older than one, whatever their timeline, and all other files.
  public static func from(_ first: [UInt8], in names: [[UInt8]]) -> [[UInt8]] {
    func number(_ name: [UInt8]) -> UInt64? { LogFile(name, segmentBytes: 1 << 20)?.segment?.number }
    guard let least = number(first) else { return names }
    return names.filter { number($0) ?? least >= least }
  }

  /// The files to send to a remote that has some, the oldest first.
  ///
  /// The remote removes its own old logs. So nothing is sent that is older than the oldest one there. `order` is that of
  /// logs of another kind, each in its series.
  public static func lacking(
    in there: [[UInt8]], of names: [[UInt8]], order: ([UInt8]) -> (series: [UInt8], number: UInt64)? = { _ in nil }
  ) -> [[UInt8]] {
    func place(_ name: [UInt8]) -> (series: [UInt8], number: UInt64)? {
      // Numbers of the smallest segments are in the same order as those of larger ones.
      LogFile(name, segmentBytes: 1 << 20).map { $0.segment.map { ([], $0.number) } } ?? order(name)
    }
    let present = Set(there)
    let oldest = Dictionary(there.compactMap(place).map { ($0.series, $0.number) }, uniquingKeysWith: min)
    return names.filter { name in
      guard !present.contains(name) else { return false }
      return place(name).map { $0.number >= oldest[$0.series] ?? 0 } ?? true
    }
  }
}
