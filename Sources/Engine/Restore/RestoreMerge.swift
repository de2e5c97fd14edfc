internal import Catalog
internal import Model
internal import Posix
internal import Repository

/// Restores the files of one directory.
struct RestoreMerge {
  let work: RestoreWork
  let node: RestoreNode
  let record: DirectoryRecord
  let worker: RestoreWorker

  /// The number of remote files to request at once.
  static let batch = 64

  private struct Task {
    var row: FileRow
    /// The present entry that is to be replaced or corrected.
    var present: FileStatus?
    var isCorrection = false
    var change: RestoreChange?
    /// The entries that go with a directory which gives way.
    var below: [RestoreChange] = []
    /// True from the request of the content until it is received.
    var isRequested = false

    var isReplacing: Bool { present != nil }
  }

  func restore(_ rows: [FileRow]) throws {
    var tasks = try rows.compactMap { try task($0) }
    // A file that was not requested at once may only be requested when no other answer is due.
    let isLate = { (task: Task) in work.fetcher != nil && (task.row.linkGroup != nil || task.isCorrection) }
    do {
      for index in tasks.indices where !isLate(tasks[index]) { try run(&tasks[index]) }
      for index in tasks.indices where isLate(tasks[index]) { try run(&tasks[index]) }
    } catch {
      // The connection may be used again, so the remaining answers are received first.
      switch (error as? Failure)?.kind {
      case .remote, .interrupted: break
      default: for index in tasks.indices { try drain(&tasks[index]) }
      }
      throw error
    }
  }

  /// Receives a requested file that is no longer wanted: the answers come in the order of the requests.
  private func drain(_ task: inout Task) throws {
    guard task.isRequested else { return }
    task.isRequested = false
    _ = try work.fetcher!.receive(byteCount: task.row.size, takeZeros: { _ in }, { _ in })
  }

  /// Examines the present entry at an entry's path, and requests the content; `nil` if there is nothing to do.
  private func task(_ row: FileRow) throws -> Task? {
    try checkForSignal()
    let name = Array(record.bytes[row.name])
    work.progress.entries.count()
    // The missing stored directory was already reported.
    if work.fetcher == nil, node.stored == nil, row.kind == .regular { return nil }
    var task = Task(row: row)
    if !node.isNew, let target = node.target {
      do throws(Errno) {
        if let present = try target.descriptor.statusIfPresent(of: name.span) {
          if try work.isOneWithAnother(name, in: node) { return nil }
          switch treatment(of: present, row: row, name: name, below: &task.below) {
          case nil: return nil
          case .replacement(let change)?: task.change = change
          case .correction(let change)?:
            task.change = change
            task.isCorrection = true
          }
          task.present = present
        }
      } catch {
        work.warn(at: path(of: name), "is not restored: what is in its place cannot be looked at: \(error)")
        return nil
      }
    }
    if work.options.isDryRun {
      work.progress.files.count()
      if row.kind == .regular, isFirstName(of: row, named: name), !task.isCorrection {
        work.progress.bytesCopied.count(row.size)
      }
      try work.announce(sign(of: task), of: name, in: node)
      report(task)
      return nil
    }
    // Only the first name of an inode needs the content.
    if let fetcher = work.fetcher, row.kind == .regular, row.size > 0, row.linkGroup == nil, !task.isCorrection {
      try fetcher.request(work.label + node.path + name)
      task.isRequested = true
    }
    return task
  }

  private func run(_ task: inout Task) throws {
    let row = task.row
    let name = Array(record.bytes[row.name])
    do {
      if task.isCorrection, let present = task.present, try !mayCorrect(present, row: row) { task.isCorrection = false }
      if task.isCorrection, row.linkGroup == nil {
        guard try correct(row, present: task.present!, name: name) else { return }
      } else if let present = task.present, let change = task.change,
        try isRightAsFarAsPossible(present, row: row, name: name, change: change)
      {
        return
      } else if try !make(&task, named: name) {
        return try drain(&task)
      }
      work.progress.files.count()
      work.recordChange(sign(of: task), of: name, in: node)
      report(task)
    } catch let error as Errno {
      if error == .interrupted { try checkForSignal() }
      if error == .exists {
        work.reportLeft(
          at: path(of: name),
          "appeared while it was restored, or is one name with another to the file system; left as it is")
      } else if work.endsRestore(error, in: node.target!) {
        throw work.failure("restore", at: path(of: name), because: error)
      } else {
        work.warn(at: path(of: name), "cannot be restored: \(error)")
      }
    }
    try drain(&task)
  }

  func path(of name: [UInt8]) -> [UInt8] { work.path(of: node, named: name) }

  /// Makes the entry under its name, or under a temporary name that then takes its place in one step.
  ///
  /// The temporary name is for a replacement, and for a regular file. A regular file gets its name only when it is
  /// whole, because the next run trusts the name. With a journal each entry has one, so that its inode is recorded
  /// first. False if the repository cannot deliver the entry, which is reported.
  private func make(_ task: inout Task, named name: [UInt8]) throws -> Bool {
    guard task.isReplacing || task.row.kind == .regular || work.hasJournal
    else { return try make(&task, named: name, as: name) }
    let made = worker.temporaryName()
    do { return try make(&task, named: name, as: made) } catch {
      // The unfinished file shows how full the file system is.
      let isFull = error as? Errno == .noSpace && work.endsRestore(.noSpace, in: node.target!)
      try? node.target!.descriptor.unlink(made.span)
      throw isFull ? work.failure("restore", at: path(of: name), because: .noSpace) : error
    }
  }

  private func make(_ task: inout Task, named name: [UInt8], as made: [UInt8]) throws -> Bool {
    let target = node.target!
    let row = task.row
    guard let group = row.linkGroup else {
      guard try makeAlone(&task, name: name, as: made, in: target) != nil else { return false }
      try take(made: made, name: name, task: task, in: target)
      return true
    }
    // The reason why the first name takes no further link.
    var refusal: String?
    return try work.links.add(RestoredInode(group: group, digest: row.digest)) { first in
      // The first name is a whole file, so a link to it can have its final name at once.
      let linked = task.isReplacing || work.hasJournal ? made : name
      refusal = try linkToFirst(first, as: linked, in: target)
      if refusal == nil {
        task.isCorrection = false
        try take(made: linked, name: name, task: task, in: target)
        work.progress.expectLess(bytes: row.size)
      }
      return refusal == nil
    } store: { first in
      let inode: UInt64
      if task.isCorrection, let present = task.present {
        guard try correct(row, present: present, name: name) else { return nil }
        inode = present.inode
      } else {
        guard let made = try makeAlone(&task, name: name, as: made, in: target) else { return nil }
        inode = made
      }
      if let first, let refusal {
        let other = work.path(first.directory + first.name)
        work.warn(at: path(of: name), "is a copy, and no hard link of \(displayName(other)) any more: \(refusal)")
      }
      if !task.isCorrection { try take(made: made, name: name, task: task, in: target) }
      return FirstName(directory: node.path, name: name, inode: inode, value: ())
    }
  }

  private func sign(of task: Task) -> RecordedChange.Sign {
    task.isCorrection ? .corrected : task.isReplacing ? .replaced : .added
  }

  private func report(_ task: Task) {
    guard work.monitor.wantsChanges else { return }
    let row = task.row
    let change =
      task.change
      ?? RestoreChange(
        verb: .added, path: path(of: Array(record.bytes[row.name])), kind: row.kind, kindBefore: nil, aspects: [],
        byteCount: row.kind == .regular ? row.size : nil)
    work.monitor.report([change] + task.below)
  }

  /// Renames an entry from its temporary name to its final name.
  private func take(made: [UInt8], name: [UInt8], task: Task, in target: Directory) throws(Errno) {
    guard made != name else { return }
    if work.hasJournal {
      let status = try target.descriptor.status(of: made.span)
      try work.announce(sign(of: task), of: name, in: node, inode: status.inode, modified: status.modified)
    }
    if let present = task.present, try work.displace(name, present: present, in: node, by: made) { return }
    try target.descriptor.rename(made.span, to: target.descriptor, as: name.span, replacing: task.isReplacing)
    // A rename between two names of one inode does nothing (rename(2)).
    if task.isReplacing { try? target.descriptor.unlink(made.span) }
  }

  /// Links a further name to a restored inode. Returns the reason if that fails, otherwise `nil`.
  private func linkToFirst(_ first: FirstName<Void>, as name: [UInt8], in target: Directory) throws(Errno) -> String? {
    let firstName = first.name
    do throws(Errno) {
      let directory = first.directory == node.path ? target : try work.destination!.directory(path: first.directory)
      try directory.descriptor.link(firstName.span, to: target.descriptor, as: name.span)
    } catch {
      if error == .exists || error == .interrupted || work.endsRestore(error, in: target) { throw error }
      return "\(error)"
    }
    // Another user with write access to the destination could have put another file there.
    let status = try target.descriptor.status(of: name.span)
    if status.inode == first.inode { return nil }
    if try !work.numbersInodes(onDevice: status.device, in: target) { return nil }
    try target.descriptor.unlink(name.span)
    return "that was replaced by another file meanwhile"
  }

  /// Opens the stored file; `nil` after a report if the repository cannot deliver it.
  private func openStored(named name: [UInt8]) -> Descriptor? {
    do throws(Errno) {
      guard let directory = node.stored else { throw .noSuchEntry }
      // Opening a device can do harm, so the kind is checked first.
      if try directory.descriptor.status(of: name.span).kind == .regular {
        return try directory.descriptor.openToRead(name.span)
      }
      work.reportDamage(at: path(of: name), "is not restored: the repository has no regular file in its place")
    } catch {
      work.reportUnreadable(
        at: path(of: name), message: "is not restored: the stored file cannot be read", because: error)
    }
    return nil
  }

  /// Makes the entry and returns its inode; `nil` if the repository cannot deliver it.
  private func makeAlone(_ task: inout Task, name: [UInt8], as made: [UInt8], in target: Directory) throws -> UInt64? {
    let row = task.row
    let attributes = record.attributes(of: row)
    if row.kind != .regular {
      var result: (inode: UInt64, gaps: MetadataGaps)?
      do throws(Errno) {
        result = try makeNode(
          made.span, in: target.descriptor, kind: row.kind, target: record.target(of: row),
          device: row.size, metadata: row.metadata, attributes: attributes, mayHaveOthers: !node.isNew)
      } catch {
        // A file system in user space may say so of a kind that it does not know. A failing disk fails again.
        guard error == .inputOutput, row.kind != .symbolicLink else { throw error }
      }
      guard let result else {
        let isOfRoot = row.kind == .characterDevice || row.kind == .blockDevice
        work.warn(
          at: path(of: name),
          isOfRoot && !work.isRoot
            ? "is not restored: only root may make a \(row.kind.word)"
            : "is not restored: a \(row.kind.word) is not permitted there")
        return nil
      }
      work.gaps.add(result.gaps, at: path(of: name))
      return result.inode
    }

    return work.fetcher == nil
      ? try copy(task, name: name, as: made, in: target) : try fetch(&task, name: name, as: made, in: target)
  }

  /// Makes a regular file from the stored file.
  private func copy(_ task: Task, name: [UInt8], as made: [UInt8], in target: Directory) throws -> UInt64? {
    let row = task.row
    guard let stored = openStored(named: name) else { return nil }
    let storedStatus = try stored.status()
    let file = try target.descriptor.open(made.span, [.write, .create, .exclusive], mode: 0o600)
    file.holdTemporary()
    let pass: PassResult
    do throws(CopyError) {
      pass = try worker.files.copy(
        stored, to: file, byteCount: storedStatus.size, hasHoles: storedStatus.hasHoles,
        elidingZeros: row.digest.isSparse)
    } catch {
      guard case .reading(let error) = error else { throw error.errno }
      try target.descriptor.unlink(made.span)
      work.reportUnreadable(
        at: path(of: name), message: "is not restored: the stored file cannot be read", because: error)
      return nil
    }
    guard try checkContent(pass, task: task, name: name, as: made, in: target) else { return nil }
    let inode = try finish(file, row: row, name: name)
    try file.close()
    return inode
  }

  /// Makes a regular file from the fetcher's content.
  private func fetch(_ task: inout Task, name: [UInt8], as made: [UInt8], in target: Directory) throws -> UInt64? {
    let row = task.row
    let assembly = try FileAssembly(
      try target.descriptor.open(made.span, [.write, .create, .exclusive], mode: 0o600), from: 0,
      elidingZeros: row.digest.isSparse, isHashing: row.digest.form != .chunks, with: worker.tools)
    assembly.file.holdTemporary()
    var counted: UInt64 = 0
    func countWritten() {
      work.progress.bytesCopied.count(assembly.writtenByteCount - counted)
      counted = assembly.writtenByteCount
    }
    if row.size > 0 {
      if !task.isRequested { try work.fetcher!.request(work.label + node.path + name) }
      task.isRequested = false
      var failure: Errno?
      func writing(body: () throws(Errno) -> Void) {
        if failure != nil { return }
        do throws(Errno) { try body() } catch { failure = error }
        countWritten()
      }
      let trouble = try work.fetcher!.receive(
        byteCount: row.size,
        takeZeros: { byteCount in
          work.progress.expectLess(bytes: byteCount)
          writing { () throws(Errno) in try assembly.appendZeros(byteCount: byteCount) }
        },
        { bytes in
          work.progress.bytesRead.count(UInt64(bytes.count))
          writing { () throws(Errno) in try assembly.append(bytes) }
        })
      if let failure { throw failure }
      if let trouble {
        try target.descriptor.unlink(made.span)
        work.reportDamage(at: path(of: name), "is not restored: the stored file cannot be had: \(trouble)")
        return nil
      }
    }
    let pass = PassResult(digest: try assembly.finish(), byteCount: assembly.byteCount)
    countWritten()
    guard try checkContent(pass, task: task, name: name, as: made, in: target) else { return nil }
    return try finish(assembly.file, row: row, name: name)
  }

  /// False if the bytes do not match the catalog and the present entry stays.
  private func checkContent(
    _ pass: PassResult, task: Task, name: [UInt8], as made: [UInt8], in target: Directory
  ) throws(Errno) -> Bool {
    // The fetcher has compared each chunk with its ID, so nothing is hashed again.
    let isRight = task.row.digest.form == .chunks || pass.digest == task.row.digest
    if !isRight || pass.byteCount != task.row.size {
      if task.isReplacing {
        try target.descriptor.unlink(made.span)
        work.reportDamage(at: path(of: name), "is left as it is: the stored bytes are not those that the catalog names")
        return false
      }
      work.reportDamage(
        at: path(of: name),
        "is restored from a damaged copy: its bytes are not those that the catalog names")
    }
    return true
  }

  private func finish(_ file: borrowing Descriptor, row: FileRow, name: [UInt8]) throws(Errno) -> UInt64 {
    let status = try file.status()
    let gaps = try setMetadata(
      row.metadata, attributes: record.attributes(of: row), to: file, by: .descriptor, currently: status,
      mayHaveOthers: !node.isNew)
    work.gaps.add(gaps, at: path(of: name))
    work.progress.copied.count()
    return status.inode
  }
}
