import Foundation
import Posix
import Testing

@Suite struct DirectoriesInUseTests {
  private func start(in directory: String) throws -> Foundation.Process {
    let process = Foundation.Process()
    process.executableURL = URL(fileURLWithPath: "/bin/sleep")
    process.arguments = ["100"]
    process.currentDirectoryURL = URL(fileURLWithPath: directory)
    try process.run()
    return process
  }

  @Test("the directory that a process works in is found")
  func findsTheDirectoryThatAProcessWorksIn() throws {
    let scratch = try ScratchDirectory()
    let process = try start(in: scratch.path)
    defer { process.terminate() }
    let own = try scratch.directory.descriptor.status()
    var isComplete = true
    let isFound = try CurrentProcess.findDirectoryInUse(
      on: own.device, isComplete: &isComplete, isShown: { _, _ in false },
      isMeant: { (try? $0.status().inode) == own.inode })
    #expect(isFound)
  }

  /// Each process that is found begins the next one.
  @Test("the search ends where new processes begin all the time")
  func endsWhereNewProcessesBeginAllTheTime() throws {
    // A device on which no other test has a directory that no mount shows any more.
    let scratch = try ScratchDirectory(below: "/dev/shm")
    var processes = [try start(in: scratch.path)]
    defer { for process in processes { process.terminate() } }
    let own = try scratch.directory.descriptor.status()
    var isComplete = true
    #expect(throws: Errno.busy) {
      try CurrentProcess.findDirectoryInUse(on: own.device, isComplete: &isComplete, isShown: { _, _ in false }) {
        found in
        if (try? found.status().inode) == own.inode, let next = try? start(in: scratch.path) { processes.append(next) }
        return processes.count > 1000
      }
    }
    #expect(processes.count < 300)
  }
}
