/// The arguments that rsnapshot passes to rsync.
extension [RsnapshotConfiguration.Statement] {
  private static let standardArguments = "--delete --numeric-ids --relative --delete-excluded"

  /// The default arguments of a backup point, from the statements before `end`.
  func arguments(before end: Int, files: RsnapshotFiles) throws(RsnapshotError) -> RsyncArguments {
    guard let first else { return try RsyncArguments(short: [], long: [], files: files) }
    return try RsyncArguments(
      short: shortArguments(of: first), long: longArguments(before: end, statement: first) + globalFilters(),
      files: files)
  }

  /// The arguments of one backup point. Its own rules or arguments replace the global rules.
  func arguments(ofPointAt index: Int, files: RsnapshotFiles) throws(RsnapshotError) -> RsyncArguments {
    let point = self[index]
    let options = try point.pointOptions()
    func last(named name: String, isAdded: Bool) -> String? {
      options.last { $0.name == name && $0.isAdded == isAdded }?.value
    }
    var short = try shortArguments(of: point)
    if let own = last(named: "rsync_short_args", isAdded: false) {
      short = [RsyncArguments.Word(own.utf8.dropFirst(), origin: point.origin)]
    }
    if let added = last(named: "rsync_short_args", isAdded: true) {
      short.append(RsyncArguments.Word(added.utf8.dropFirst(), origin: point.origin))
    }
    // The point's one_fs overrides the global one.
    let oneFileSystem = options.last { $0.name == "one_fs" }?.value ?? self.last { $0.name == "one_fs" }?.value
    if oneFileSystem.flatMap(RsnapshotConfiguration.Statement.boolean) == true {
      short.append(RsyncArguments.Word("x".utf8, origin: point.origin))
    }

    var filters: [RsyncArguments.Word] = []
    var hasFilters = false
    for suffix in ["", "_file"] {
      for option in options where option.name == "include" + suffix || option.name == "exclude" + suffix {
        hasFilters = true
        // With a plus sign, rsnapshot passes a pattern without its option, and rsync ignores it.
        if !option.isAdded { filters += try point.filterArguments(named: option.name, value: option.value) }
      }
    }
    var long: [RsyncArguments.Word]
    if let own = last(named: "rsync_long_args", isAdded: false) {
      long = try point.longArguments(of: own) + filters
    } else if hasFilters {
      long = try longArguments(before: index, statement: point) + filters
    } else {
      long = try longArguments(before: count, statement: point) + globalFilters()
    }
    if let added = last(named: "rsync_long_args", isAdded: true) { long += try point.longArguments(of: added) }
    return try RsyncArguments(short: short, long: long, files: files)
  }

  private func shortArguments(
    of statement: RsnapshotConfiguration.Statement
  ) throws(RsnapshotError) -> [RsyncArguments.Word] {
    guard let said = last(where: { $0.name == "rsync_short_args" })
    else { return [RsyncArguments.Word("a".utf8, origin: statement.origin)] }
    return [RsyncArguments.Word(said.value.utf8.dropFirst(), origin: said.origin)]
  }

  private func longArguments(
    before end: Int, statement: RsnapshotConfiguration.Statement
  ) throws(RsnapshotError) -> [RsyncArguments.Word] {
    if let said = self[..<end].last(where: { $0.name == "rsync_long_args" }) {
      return try said.longArguments(of: said.value)
    }
    return try statement.longArguments(of: Self.standardArguments)
  }

  /// The rules from patterns, then the rules from files of patterns.
  private func globalFilters() throws(RsnapshotError) -> [RsyncArguments.Word] {
    var words: [RsyncArguments.Word] = []
    for suffix in ["", "_file"] {
      for statement in self where statement.name == "include" + suffix || statement.name == "exclude" + suffix {
        words += try statement.filterArguments(named: statement.name, value: statement.value)
      }
    }
    return words
  }
}
