internal import Model
internal import Settings

/// The table `[retention]` for the levels of an `rsnapshot.conf`.
func rsnapshotRetention(of statements: [RsnapshotConfiguration.Statement], notes: inout RsnapshotNotes) -> [String] {
  let levels = statements.filter { $0.name == "retain" || $0.name == "interval" }
  let sets = SnapshotSet.allCases.map(\.rawValue)
  // Debian's names for the levels that its crontab runs every four hours, daily, weekly and monthly.
  let greek = ["alpha": 0, "beta": 1, "gamma": 2, "delta": 3]
  var taken: Set<Int> = []
  for level in levels { if let set = sets.firstIndex(of: level.value) { taken.insert(set) } }
  var said: Set<Int> = []
  var previous = -1
  var lines = TOMLText.comment(
    """
    rsnapshot keeps the last so many runs of a level, however often it is run, and a level begins where the one
    below it ends; a set keeps one snapshot of each hour, day, week, month or year, and all begin now. So that
    nothing is kept for less long, the higher ones have two more, and hourly has at least a day's.
    """)
  lines.append("[retention]")
  for level in levels {
    let count = min(Int(level.values[1]) ?? .max, 1_000_000)
    let place = level.origin.place
    let set: Int
    if let named = sets.firstIndex(of: level.value) {
      set = named
    } else if let guessed = greek[level.value], !taken.contains(guessed) {
      set = guessed
      lines += TOMLText.comment(
        "\(place): \(level.value) is taken for \(sets[set]), a guess: Debian's /etc/cron.d/rsnapshot runs it "
          + ["every four hours", "daily", "weekly", "monthly"][set])
    } else {
      let later = levels.drop { $0 != level }.compactMap { sets.firstIndex(of: $0.value) }.min() ?? sets.count
      guard let free = sets.indices.first(where: { $0 > previous && $0 < later && !taken.contains($0) }) else {
        lines += notes.add(level.origin, why: "no set is left for \(level.value); keep_last keeps the newest so many")
        continue
      }
      set = free
      lines += TOMLText.comment(
        "\(place): \(level.value) is taken for \(sets[set]), a guess from its place; what does cron run it for?")
    }
    guard said.insert(set).inserted else {
      lines += notes.add(level.origin, why: "\(sets[set]) is there already; one number counts")
      continue
    }
    taken.insert(set)
    let reaching = set == 0 ? max(24, count) : previous < 0 ? count : min(count + 2, 1_000_000)
    previous = set
    lines.append("\(sets[set]) = \(reaching)")
  }
  return lines
}
