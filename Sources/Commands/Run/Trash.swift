internal import Engine
internal import Model
internal import Repository

/// Deletes the trash, without the lock. Returns the error, which has already been reported.
@discardableResult
func emptyTrashNotingErrors(of repository: Repository, threads: ThreadCount) -> Failure? {
  do {
    try emptyTrash(of: repository, threads: threads)
    return nil
  } catch {
    if case .interrupted = error.kind { return nil }
    Console.warn("\(error); the next run tries again")
    return error
  }
}
