internal import Catalog
internal import Posix
internal import Repository

extension CatalogSummary {
  /// Sets the values that every new catalog of this repository has, whatever the origin of the snapshot.
  mutating func complete(
    root: Subtree, sequence: UInt64, counts: Progress, in repository: Repository, program: String
  ) throws(Errno) {
    self.root = root
    self.sequence = sequence
    files = counts.files.value
    directories = counts.directories.value
    filesLinked = counts.linked.value
    filesCopied = counts.copied.value
    bytesCopied = counts.bytesCopied.value
    repositoryID = repository.id
    fileSystemID = try repository.root.descriptor.fileSystem().id
    self.program = Array(program.utf8)
  }
}
