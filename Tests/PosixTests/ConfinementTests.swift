import Foundation
import Glibc
import Synchronization
import Testing

@testable import Posix

/// What was tried on a confined thread, and how it went.
private struct Trial: Equatable, CustomStringConvertible {
  var what: String
  var error: Errno?
  var description: String { "\(what): \(error.map { "\($0)" } ?? "done")" }
}

/// Only a thread of its own is confined, and with it nothing that other tests need: neither does it print, nor
/// start threads.
private func confined(
  to directories: [Directory], _ body: @escaping @Sendable (inout [Trial]) -> Void
) -> (result: Result<Bool, Errno>?, trials: [Trial]) {
  let result = Mutex<Result<Bool, Errno>?>(nil)
  let trials = Mutex<[Trial]>([])
  runThreads(2) { index in
    guard index == 1 else { return }
    let outcome = Result { () throws(Errno) in try CurrentProcess.confine(to: directories) }
    result.withLock { $0 = outcome }
    if case .success(true) = outcome { trials.withLock { body(&$0) } }
  }
  return (result.withLock { $0 }, trials.withLock { $0 })
}

extension [Trial] {
  fileprivate mutating func attempt(_ what: String, _ body: () throws(Errno) -> Void) {
    do throws(Errno) {
      try body()
      append(Trial(what: what, error: nil))
    } catch { append(Trial(what: what, error: error)) }
  }
}

@Suite struct ConfinementTests {
  private static func hasLandlock() throws -> Bool { try CurrentProcess.landlockVersion() >= 2 }

  @Test("without landlock nothing is confined")
  func withoutLandlockNothingIsConfined() throws {
    let scratch = try ScratchDirectory()
    let expected = try Self.hasLandlock()
    let (result, _) = confined(to: [scratch.directory]) { _ in }
    #expect(result == .success(expected))
  }

  @Test("a kernel without landlock is no failure", arguments: [Errno.notImplemented, .notSupported])
  func aKernelWithoutLandlockIsNoFailure(_ error: Errno) async {
    await #expect(processExitsWith: .success) { [number = error.number as Int32] in
      guard SystemCallTrace.isAvailable else { return }
      _ = try SystemCallTrace.record(failing: [.landlock_create_ruleset: (1, Errno(number))]) {
        let isConfined = try CurrentProcess.confine(to: [])
        precondition(!isConfined)
      }
      _ = try Descriptor.open(path: name("/etc/passwd"), .read)
    }
  }

  @Test("inside everything works")
  func insideEverythingWorks() throws {
    guard try Self.hasLandlock() else { return }
    let scratch = try ScratchDirectory()
    let other = try ScratchDirectory()
    try other.directory.descriptor.makeDirectory(name("deep").span, mode: 0o700)
    let path = name(scratch.path)
    let (result, trials) = confined(to: [scratch.directory, other.directory]) { trials in
      let here = scratch.directory
      trials.attempt("make a directory") { () throws(Errno) in
        try here.descriptor.makeDirectory(name("d").span, mode: 0o700)
      }
      trials.attempt("write") { () throws(Errno) in
        let file = try here.descriptor.open(name("f").span, [.write, .create, .exclusive], mode: 0o600)
        try file.write([1, 2, 3])
        try file.setLength(2)
        try file.close()
      }
      trials.attempt("read by path") { () throws(Errno) in
        let file = try Descriptor.open(path: path + name("/f"), .read)
        guard try file.readToEnd(limit: 10) == [1, 2] else { throw .inputOutput }
      }
      trials.attempt("link into another directory") { () throws(Errno) in
        let below = try here.directory(name("d").span)
        try here.descriptor.link(name("f").span, to: below.descriptor, as: name("g").span)
        guard try below.descriptor.status(of: name("g").span).linkCount == 2 else { throw .inputOutput }
      }
      trials.attempt("rename into another confined directory") { () throws(Errno) in
        try here.descriptor.rename(
          name("f").span, to: try other.directory.directory(name("deep").span).descriptor, as: name("h").span)
      }
      trials.attempt("list") { () throws(Errno) in
        _ = try here.descriptor.reopenDirectory()
      }
      trials.attempt("make a symbolic link") { () throws(Errno) in
        try here.descriptor.makeSymbolicLink(name("s").span, to: name("/etc/passwd"))
      }
      trials.attempt("remove") { () throws(Errno) in
        try here.directory(name("d").span).descriptor.unlink(name("g").span)
        try here.descriptor.removeDirectory(name("d").span)
      }
    }
    #expect(result == .success(true))
    #expect(trials.count == 8 && trials.allSatisfy { $0.error == nil }, "\(trials)")
  }

  @Test("outside nothing opens")
  func outsideNothingOpens() throws {
    guard try Self.hasLandlock() else { return }
    let scratch = try ScratchDirectory()
    for directory in ["in", "out"] {
      try scratch.directory.descriptor.makeDirectory(name(directory).span, mode: 0o700)
    }
    let inside = try scratch.directory.directory(name("in").span)
    let outside = try scratch.directory.directory(name("out").span)
    try scratch.makeFile(name("secret"), [1])
    try inside.descriptor.makeSymbolicLink(name("escape").span, to: name("../secret"))
    let path = name(scratch.path)
    let (result, trials) = confined(to: [inside]) { trials in
      trials.attempt("read by path") { () throws(Errno) in
        _ = try Descriptor.open(path: path + name("/secret"), .read)
      }
      trials.attempt("read through ..") { () throws(Errno) in
        _ = try inside.descriptor.parentDirectory().open(name("secret").span, .read)
      }
      trials.attempt("list through ..") { () throws(Errno) in
        _ = try inside.descriptor.parentDirectory().reopenDirectory()
      }
      trials.attempt("read through a symbolic link") { () throws(Errno) in
        _ = try inside.descriptor.openFollowing(name("escape").span, .read)
      }
      trials.attempt("read below a directory that was open") { () throws(Errno) in
        _ = try scratch.directory.descriptor.open(name("secret").span, .read)
      }
      trials.attempt("make a file") { () throws(Errno) in
        _ = try outside.descriptor.open(name("new").span, [.write, .create], mode: 0o600)
      }
      trials.attempt("make a directory") { () throws(Errno) in
        try outside.descriptor.makeDirectory(name("new").span, mode: 0o700)
      }
      trials.attempt("remove") { () throws(Errno) in
        try scratch.directory.descriptor.unlink(name("secret").span)
      }
      trials.attempt("run a program") { () throws(Errno) in
        _ = try PipedChild.start([name("/bin/true")])
      }
    }
    #expect(result == .success(true))
    #expect(trials.count == 9 && trials.allSatisfy { $0.error == .accessDenied }, "\(trials)")
    // The thread that is not confined still can.
    try scratch.directory.descriptor.unlink(name("secret").span)
  }

  @Test("nothing crosses the border")
  func nothingCrossesTheBorder() throws {
    guard try Self.hasLandlock() else { return }
    let scratch = try ScratchDirectory()
    for directory in ["in", "out"] {
      try scratch.directory.descriptor.makeDirectory(name(directory).span, mode: 0o700)
    }
    let inside = try scratch.directory.directory(name("in").span)
    let outside = try scratch.directory.directory(name("out").span)
    for directory in [inside, outside] {
      try directory.descriptor.open(name("f").span, [.write, .create], mode: 0o600).close()
    }
    let (result, trials) = confined(to: [inside]) { trials in
      trials.attempt("link in") { () throws(Errno) in
        try outside.descriptor.link(name("f").span, to: inside.descriptor, as: name("g").span)
      }
      trials.attempt("link out") { () throws(Errno) in
        try inside.descriptor.link(name("f").span, to: outside.descriptor, as: name("g").span)
      }
      trials.attempt("rename in") { () throws(Errno) in
        try outside.descriptor.rename(name("f").span, to: inside.descriptor, as: name("g").span)
      }
      trials.attempt("rename out") { () throws(Errno) in
        try inside.descriptor.rename(name("f").span, to: outside.descriptor, as: name("g").span)
      }
    }
    #expect(result == .success(true))
    #expect(trials.count == 4)
    #expect(trials.allSatisfy { $0.error == .accessDenied || $0.error == .crossDevice }, "\(trials)")
    for directory in [inside, outside] {
      #expect(try directory.descriptor.status(of: name("f").span).linkCount == 1)
    }
  }

  @Test("no connection leads")
  func noConnectionLeads() throws {
    guard try CurrentProcess.landlockVersion() >= 4 else { return }
    let scratch = try ScratchDirectory()
    let (result, trials) = confined(to: [scratch.directory]) { trials in
      var address = sockaddr_in()
      address.sin_family = sa_family_t(AF_INET)
      address.sin_port = in_port_t(1).bigEndian
      address.sin_addr.s_addr = in_addr_t(0x7F00_0001).bigEndian
      let size = socklen_t(MemoryLayout<sockaddr_in>.size)
      for call in [connect, bind] {
        trials.attempt("TCP") { () throws(Errno) in
          let raw = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
          if raw < 0 { throw Errno(errno) }
          let holder = Descriptor(raw: raw)
          let status = withUnsafePointer(to: &address) {
            $0.withMemoryRebound(to: sockaddr.self, capacity: 1) { call(holder.raw, $0, size) }
          }
          if status < 0 { throw Errno(errno) }
        }
      }
    }
    #expect(result == .success(true))
    #expect(trials.map(\.error) == [.accessDenied, .accessDenied], "\(trials)")
  }

  @Test("a rule needs a directory")
  func aRuleNeedsADirectory() throws {
    guard try Self.hasLandlock() else { return }
    let scratch = try ScratchDirectory()
    try scratch.makeFile(name("f"))
    let file = Directory(try scratch.directory.descriptor.open(name("f").span, .read))
    let (result, _) = confined(to: [file]) { _ in }
    #expect(result == .failure(.invalid))
  }
}
