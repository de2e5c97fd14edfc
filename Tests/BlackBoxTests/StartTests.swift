import Foundation
import TestSupport
import Testing

/// The program gets its arguments and signals from whoever starts it, in whatever surroundings.
@Suite("Starting the program", .waits)
struct StartTests {
  /// Runs a script in which `$T` is the program, in a mount namespace without proc(5).
  private func runWithoutProc(_ script: String, _ world: World) throws -> CommandResult {
    try runCommand(
      "unshare",
      ["-m", "--propagation", "private", "sh", "-c", ByteString("mount -t tmpfs none /proc && " + script)],
      in: world.directory.path, environment: ["T": try treeringBinary().text])
  }

  @Test("without /proc every command has its arguments; a note says what cannot be seen")
  func withoutProc() throws {
    let world = try World()
    try world.source.write("file", "text")
    try world.source.makeSymbolicLink("link", to: "file")
    let result = try runWithoutProc(
      """
      $T init far && $T snapshot source -r repository; echo snapshot $?
      $T push ./far -r repository > pushed; echo push $?
      $T restore latest --to restored -r far > restored.log; echo restore $?
      $T verify -r repository -q > verified; echo verify $?
      """, world)
    #expect(result.outputLines.suffix(4) == ["snapshot 1", "push 0", "restore 0", "verify 1"], "\(result.errorText)")
    #expect(result.errorText.contains("note: /proc is not mounted"), "\(result.errorText)")
    #expect(
      result.errorText.contains("source/link: its extended attributes cannot be read: /proc is not mounted"),
      "\(result.errorText)")
    #expect(try world.snapshotNames().count == 1)
    #expect(try differences(world.source.root, world.directory.path / "restored" / world.source.root) == [])
    // The attributes that could not be read are read as soon as they can be.
    #expect(try world.treering(["snapshot", world.source.root]).status == 0)
    #expect(try world.treering(["verify"]).status == 0)
  }

  @Test("without a command nothing is done, and the exit status is 2")
  func withoutCommand() throws {
    let world = try World()
    for arguments in [[], ["--"]] as [[ByteString]] {
      try world.expectRefusal(
        arguments, status: 2, inRepository: false, naming: "no command is named; see: treering --help")
    }
  }

  @Test("a signal that is ignored at the start does not end a run", arguments: ["HUP", "INT", "TERM"])
  func ignoredSignal(signal: String) throws {
    let world = try World()
    try world.source.write("file", "text")
    try tool("mkfifo", [world.directory.path / "patterns"])
    let result = try runCommand(
      "sh",
      [
        "-c",
        """
        (trap '' \(signal); exec $T snapshot source -r repository --exclude-from patterns) &
        sleep 0.2; kill -\(signal) $!; sleep 0.1; echo none > patterns; wait $!; echo $?
        """,
      ], in: world.directory.path, environment: ["T": try treeringBinary().text])
    #expect(result.outputLines == ["0"], "\(result.errorText)")
    #expect(try world.snapshotNames().count == 1)
  }

  @Test("a limit of the size of files is an error, and not the end of the process")
  func fileSizeLimit() throws {
    let world = try World()
    try world.source.write("file", ByteString([UInt8](repeating: 1, count: 200_000)).text)
    let result = try runCommand(
      "sh", ["-c", "ulimit -f 100; $T snapshot source -r repository"], in: world.directory.path,
      environment: ["T": try treeringBinary().text])
    #expect([1, 3].contains(result.status), "\(result.status) \(result.errorText)")
    #expect(result.errorText.contains("File too large"), "\(result.errorText)")
  }
}
