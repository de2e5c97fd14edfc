internal import Catalog
internal import Engine
internal import Model
internal import Posix
internal import Repository
internal import Settings

extension DiffCommand {
  /// Compares a snapshot with its sources as they are now.
  func compareWithSource() throws -> ExitStatus {
    let (store, list) = try common.openList(connection: connection)
    let path = try right.map { try list.path($0.bytes) }
    let snapshot = try store.resolve(left, of: path, in: list)
    common.noteDistance(of: snapshot, from: left)
    let before = try StoredSide(of: snapshot, in: store)
    let place = try path.map { try TreePath(named: $0, below: snapshot.summary.label) }
    let options = try sourceOptions(of: snapshot, below: place, in: store)
    if let repository = store.local { try refuse(options.sources, inside: repository) }
    let monitor = ConsoleMonitor(wantsExcluded: common.verbose)
    let catalog = before.reader.catalog
    let live = try catalogOfSources(
      options, comparedWith: snapshot, catalog: store.local == nil ? catalog.copied() : catalog,
      in: store.local ?? standIn(), monitor: monitor)
    if place == nil { noteUncompared(lackingIn: snapshot, in: list) }
    let dumps = snapshot.summary.databases.filter { !$0.isLeftOut }.map { displayName($0.source) }
    if !dumps.isEmpty, place == nil {
      Console.note("a dump is not compared with its database: \(dumps.joined(separator: ", "))")
    }
    for source in live.absent { Console.complain("\(displayName(source.path)) \(source.reason); it is not compared") }
    let now = SourceSide(catalog: live.catalog)
    if let path, let place, try before.reader.find(place) == nil, try now.reader.find(place) == nil {
      throw Failure(
        .usage, "\(displayName(path)) is neither in the snapshot \(snapshot.name) nor in its sources",
        hint: TreePath.hint(forAbsent: path))
    }
    let report = DiffReport(from: before, to: now, under: place, form: form, options: common)
    // A source that is left out is not gone.
    report.isWanted = { [now] change in
      if change.path.first == DatabaseRecord.label, !dumps.isEmpty { return false }
      return now.reader.summary.covers(change.path) || !before.reader.summary.covers(change.path)
        || change.verb == .renamed
    }
    do { try report.run() } catch let error as CatalogError {
      throw Failure(.damaged, "cannot compare \(snapshot.name) with its sources: \(error)")
    }
    let hasTrouble = !monitor.warnings.isEmpty || !live.absent.isEmpty
    return report.status == .done && hasTrouble ? .warnings : report.status
  }

  /// A repository that is removed again at once. A walk needs one, and a remote one is not here.
  private func standIn() throws -> Repository {
    let place = try PrivateDirectory(
      below: CurrentProcess.environment("TMPDIR") ?? Array("/tmp".utf8), forBytes: 1 << 16)
    defer { place.remove() }
    return try Repository.initialize(place.path(of: "repository"), at: Clock.now())
  }

  /// Names the sources that the snapshot lacks, and that are not compared. The next snapshot may have them.
  private func noteUncompared(lackingIn snapshot: Snapshot, in list: SnapshotList) {
    let lacking = list.lacking(in: snapshot, below: [[snapshot.summary.label]])
    guard let newest = lacking.first?.newest, !common.quiet else { return }
    Console.note(
      "\(snapshot.name) has only \(snapshot.sourcesText); compare the rest with: "
        + "treering diff \(newest.name) --live")
  }

  /// The options of the next snapshot of the same sources: those of the configuration, if it names them.
  private func sourceOptions(
    of snapshot: Snapshot, below place: TreePath?, in store: any SnapshotStore
  ) throws -> SnapshotOptions {
    let label = snapshot.summary.label
    let sources = snapshot.summary.sources.filter { source in
      let root = TreePath(parsing: source)
      let wanted = place?.dropFirst() ?? []
      return root.starts(with: wanted) || wanted.starts(with: root)
    }
    if place?.first == DatabaseRecord.label, !snapshot.summary.databases.isEmpty {
      throw Failure(
        .usage, "a dump cannot be compared with its database",
        hint: "compare two snapshots: treering diff SNAPSHOT SNAPSHOT \(place!.displayed)")
    }
    guard !sources.isEmpty, place == nil || place?.first == label else {
      throw Failure(
        .usage, "the snapshot \(snapshot.name) names no source to compare with",
        hint: "it has \(snapshot.summary.sources.isEmpty ? "only foreign trees" : snapshot.sourcesText)")
    }
    let file = try common.configuration(of: store)
    let configured = file?.sources.isEmpty == false ? try file?.snapshotOptions() : nil
    var options = SnapshotOptions(
      sources: sources, label: label, threads: file?.threads ?? .automatic,
      excludes: try excluded.excludes())
    if let configured, configured.label == label, excluded.areEmpty {
      options.changeDetection = configured.changeDetection
      options.excludesOfSource = configured.excludesOfSource
      options.optionalSources = configured.optionalSources
    }
    return options
  }
}

/// The sources as they are now.
final class SourceSide: DiffSide {
  let name = "live"
  let reader: CatalogReader

  init(catalog: OpenCatalog) { reader = CatalogReader(reading: catalog) }

  func content(of row: FileRow, at path: TreePath) throws -> [UInt8] {
    do throws(Errno) {
      // Only the source itself was named by the operator; below it, no link is followed.
      let path = path.dropFirst()
      let roots = reader.summary.sources.map { TreePath(parsing: $0) }
      guard let root = roots.innermost(around: path), let name = path.last else { throw .noSuchEntry }
      let top = Directory(try Descriptor.open(path: root.absolute, [.read, .directory]))
      let directory = try top.directory(path: path.dropLast().dropFirst(root.count))
      // Opening a device can do harm, so the kind is checked first.
      guard try directory.descriptor.status(of: name.span).kind == .regular else { throw .invalid }
      return try directory.descriptor.openToRead(name.span).readToEnd(limit: Int(Patch.largest))
    } catch { throw UnreadableContent(reason: "cannot be read: \(error)", isDamage: false) }
  }
}
