internal import ArgumentParser
internal import Catalog
internal import Model
internal import Posix
internal import Repository
internal import Settings

/// A word that a shell offers.
struct Candidate {
  let text: [UInt8]
  /// An explanation, which zsh and fish show.
  var note: String?

  init(_ text: [UInt8], note: String? = nil) { (self.text, self.note) = (text, note) }

  init(_ text: String, note: String? = nil) { self.init(Array(text.utf8), note: note) }

  /// The line for which the scripts put the directories of this machine.
  static let directories = ":directories:"

  /// The line for the script of a shell; `nil` for a text with control characters, which a line cannot hold.
  func line(for shell: CompletionShell?) -> String? {
    if text.contains(where: { $0 < 32 || $0 == 127 }) { return nil }
    switch shell {
    case .bash: return "=" + escapedArgument(text)
    case .zsh:
      let special = Set("\\:".utf8)
      return escapedArgument(text.flatMap { special.contains($0) ? [UInt8(ascii: "\\"), $0] : [$0] })
        + (note.map { ":" + $0 } ?? "")
    default: return escapedArgument(text) + (note.map { "\t" + $0 } ?? "")
    }
  }
}

extension CompletionKind {
  private static func words(
    of candidates: @escaping @Sendable (CompletionRequest) throws -> [Candidate]
  ) -> CompletionKind {
    custom { words, index, _ in
      guard let request = CompletionRequest(words: words, index: index),
        let candidates = try? candidates(request)
      else { return [] }
      return candidates.filter { $0.text.starts(with: request.current) }
        .compactMap { $0.line(for: CompletionShell.requesting) }
    }
  }

  /// The snapshots of the repository, by names and as members of sets.
  static let snapshot = words { try $0.snapshots() }

  /// The paths in the snapshot that the argument at `position` names, or else in the newest one.
  static func path(inSnapshotAt position: Int?) -> CompletionKind { words { try $0.paths(inSnapshotAt: position) } }

  /// The databases of the configuration and of the snapshots.
  static let database = words { request in
    let configured = (try? request.common.configuration()?.databases.map(\.name)) ?? []
    let dumped = (try? request.openRepository().snapshots().dumpRecords(of: nil).map(\.record.name)) ?? []
    return Set(configured + dumped).sorted { $0.lexicographicallyPrecedes($1) }.map { Candidate($0) }
  }

  /// The repositories and remotes of the configuration, and directories.
  static let remote = custom { words, index, _ in
    guard let request = CompletionRequest(words: words, index: index) else { return [] }
    let remotes = (try? request.common.configuration()?.settings.remotes.map(\.name)) ?? []
    let names = request.common.repositoryNames + remotes
    return names.filter { $0.utf8.starts(with: request.current) } + [Candidate.directories]
  }

  /// The words of an option that accepts no other.
  static func words<Value: RawRepresentable & CaseIterable>(of: Value.Type) -> CompletionKind
  where Value.RawValue == String { .list(Value.allCases.map(\.rawValue)) }
}

extension CompletionRequest {
  // A remote repository would take a connection, and perhaps a password.
  fileprivate func openRepository() throws(Failure) -> Repository { try common.openRepository() }

  fileprivate func snapshots() throws -> [Candidate] {
    let repository = try openRepository()
    let list = try repository.snapshots()
    var times: [SnapshotName: String] = [:]
    for snapshot in list.snapshots { times[snapshot.name] = snapshot.summary.started.localText }
    var candidates = [Candidate("latest", note: list.newest?.summary.started.localText)]
    candidates += list.snapshots.reversed().map { Candidate($0.name.description, note: times[$0.name]) }
    let members = try repository.members(of: list)
    for set in SnapshotSet.allCases {
      for (rank, name) in (members[set] ?? []).enumerated() {
        candidates.append(Candidate("\(set.rawValue).\(rank)", note: times[name]))
      }
    }
    return candidates
  }

  fileprivate func paths(inSnapshotAt position: Int?) throws -> [Candidate] {
    let reference = position.map { arguments.indices.contains($0) ? escapedArgument(arguments[$0]) : "" } ?? "latest"
    let repository = try openRepository()
    let list = try repository.snapshots()
    // Without a slash the word is a label, and without anything the beginning of an absolute path.
    let word = current.isEmpty ? [slash] : current
    let parent = word.lastIndex(of: slash).map { Array(word[...$0]) } ?? []
    let name: SnapshotName
    let place: TreePath
    if parent.isEmpty {
      name = try repository.resolve(reference, in: list).name
      place = []
    } else {
      let choice = try repository.choose(reference: reference, having: [parent], in: list)
      name = choice.snapshot.name
      place = choice.places[0]
    }
    guard case .directory(let record, _)? = try CatalogReader(reading: repository.openCatalog(of: name)).find(place)
    else { return [] }
    return try Self.names(in: record, beginning: word[parent.count...]).map { Candidate(parent + $0) }
  }

  /// The names in a directory that begin with `prefix`; those of directories end with `/`.
  private static func names(in record: DirectoryRecord, beginning prefix: ArraySlice<UInt8>) throws -> [[UInt8]] {
    var names: [[UInt8]] = []
    var cursor = try FileCursor(of: record)
    while let row = cursor.current {
      if record.bytes[row.name].starts(with: prefix) { names.append(Array(record.bytes[row.name])) }
      try cursor.advance()
    }
    for row in try cursor.directories() where record.bytes[row.name].starts(with: prefix) {
      names.append(Array(record.bytes[row.name]) + [slash])
    }
    return names.sorted { $0.lexicographicallyPrecedes($1) }
  }
}
