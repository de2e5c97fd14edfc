internal import Engine
internal import Model
internal import Posix
internal import Repository

/// Handles one client's requests, one after the other.
struct ServerSession {
  let channel: Channel
  let options: ServeOptions
  let onReceived: (Repository, ReceivedPush) -> Void

  func run() throws {
    var (version, fields) = try channel.receiveHello()
    let hello = try ClientHello(from: &fields)
    let repository = try open(options.repository ?? hello.repositoryPath)
    // System values that are read only once are read now, before the confinement.
    _ = CurrentProcess.bootID
    let minimumFree = options.minimumFree(repository)
    // A confined process cannot inspect other processes.
    _ = repository.retirement.isSpareUnread()
    if options.confines { try confine(to: repository) }
    try channel.send(
      .hello,
      ServerHello(
        repositoryID: repository.id, program: options.program, isAppendOnly: options.isAppendOnly,
        isReadOnly: options.isReadOnly, location: repository.hostIdentity
      ).payload)
    var reads = ReadRequestHandler(
      channel: channel, repository: repository, threads: options.threads, version: version)
    while let frame = try channel.receive() {
      switch try Request(frame: frame) {
      case .list: try reads.list()
      case .openCatalog(let name): try reads.openCatalog(of: name)
      case .readCatalog(let name, let offset, let byteCount):
        try reads.readCatalog(of: name, at: offset, byteCount: byteCount)
      case .fetch(let name, let path): try reads.fetch(path, of: name)
      case .verify(let names): try reads.verify(names)
      case .push(let request):
        try receive(
          PushReceiver(
            for: request, over: channel, into: repository, options: options, minimumFree: minimumFree, version: version),
          into: repository)
      }
    }
  }

  private func receive(_ push: PushReceiver, into repository: Repository) throws {
    if options.isReadOnly {
      throw Failure(.refused, "\(displayName(repository.path)) is served read-only: nothing can be pushed to it")
    }
    // The trash also holds the data discarded after a violation of the protocol.
    defer { try? emptyTrash(of: repository, threads: options.threads) }
    do {
      if let received = try push.run() { onReceived(repository, received) }
    } catch {
      let failure = Failure(ofServer: error, at: repository.path)
      if failure.kind != .locked { onReceived(repository, push.result(failure: failure)) }
      throw failure
    }
  }

  // MARK: The repository

  private func open(_ path: [UInt8]) throws -> Repository {
    guard !path.isEmpty else { throw Failure(.usage, "no repository is named") }
    do { return try Repository.open(path) } catch {
      // The client must follow the hint on the server's machine.
      throw Failure(error.kind, error.message, hint: error.hint.map { "there: \($0)" })
    }
  }

  /// Confines this process to the repository, and proves it. A kernel without Landlock is only noted.
  private func confine(to repository: Repository) throws {
    let path = displayName(repository.path)
    let isConfined: Bool
    do throws(Errno) {
      // The server reads the mounts in /proc/self before it recycles an expired tree.
      var places = [repository.root]
      do { places.append(Directory(try Descriptor.open(path: Array("/proc/self".utf8), [.read, .directory]))) } catch {
        guard error == .noSuchEntry else { throw error }
      }
      isConfined = try CurrentProcess.confine(to: places)
    } catch {
      throw Failure(.failed, "cannot confine the server to \(path): \(error)")
    }
    guard isConfined else {
      options.onNote("note: the server is not confined to \(path): Landlock is not to be had here")
      return
    }
    // An open of `/` must fail now.
    guard (try? Descriptor.open(path: Array("/".utf8), [.read, .directory])) == nil else {
      throw Failure(.failed, "the server's confinement to \(path) does not hold")
    }
  }
}
