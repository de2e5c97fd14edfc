internal import Model
internal import Posix
internal import Repository

/// Replaces a file of the operator, as a whole.
func replaceFile(at path: [UInt8], with text: String, mode: UInt32, purpose: String = "write") throws(Failure) {
  let (parent, name) = splitLast(of: path)
  do throws(Errno) {
    let directory = Directory(try Descriptor.open(path: parent, [.read, .directory]))
    try ControlFile(named: name, in: directory, mode: mode).replace(with: Array(text.utf8))
  } catch { throw .writing(purpose, at: path, because: error) }
}
