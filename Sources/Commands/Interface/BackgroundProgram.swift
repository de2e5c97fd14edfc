internal import Engine
internal import Model
internal import Posix
internal import Repository
internal import Synchronization

/// A program that runs on a thread of its own while the value lives.
final class BackgroundProgram {
  struct State {
    /// The last lines of its output and errors.
    var lines: [[UInt8]] = []
    /// `nil` while it runs.
    var end: ProgramEnd?

    /// The last line; `nil` if there is none.
    var text: String? { lines.last.map { displayName($0) } }
  }

  private final class Shared: Sendable {
    let state = Mutex(State())
  }

  private let shared = Shared()
  private let stop = StopFlag()
  private var thread: BackgroundThread?

  init(_ program: ChildProgram) {
    var program = program
    program.stop = stop
    let (child, shared) = (program, shared)
    thread = try? BackgroundThread {
      let end = ProgramEnd(of: child) { line in
        shared.state.withLock {
          $0.lines.append(line)
          if $0.lines.count > 1000 { $0.lines.removeFirst(900) }
        }
      }
      shared.state.withLock { $0.end = end }
    }
    if thread == nil { shared.state.withLock { $0.end = .notStarted("no thread can be made") } }
  }

  var state: State { shared.state.withLock { $0 } }

  /// The first line that is a number, which the program prints when it is ready. Throws if it ends before.
  func firstNumber(within seconds: Double, of what: String, hint: String) throws(Failure) -> Int32 {
    let start = Clock.monotonic()
    while true {
      try checkForSignal()
      let state = state
      // Programs may print warnings before and after it.
      let number = state.lines.lazy.compactMap { Int32(String(decoding: $0, as: UTF8.self)) }.first
      if let number, state.end == nil { return number }
      if let end = state.end {
        throw Failure(.failed, "\(what) cannot be made: \(state.text ?? "\(end)")", hint: hint)
      }
      guard Clock.monotonic() - start < seconds
      else { throw Failure(.failed, "\(what) were not made in \(durationText(seconds))") }
      CurrentProcess.sleep(milliseconds: 10)
    }
  }

  func end() {
    stop.set()
    thread?.join()
    thread = nil
  }

  deinit { end() }
}

/// The end of a program, or the reason that it was not started.
enum ProgramEnd: Sendable, Equatable, CustomStringConvertible {
  case ended(ChildEnd)
  case notStarted(String)

  /// Runs a program to its end. Lines of its errors go to `onLine`, too.
  init(of program: ChildProgram, onLine: ([UInt8]) -> Void) {
    self.init(of: program, onErrorLine: onLine, onLine: onLine)
  }

  init(of program: ChildProgram, onErrorLine: ([UInt8]) -> Void, onLine: ([UInt8]) -> Void) {
    var lines = LineBuffer()
    do throws(Errno) {
      self = .ended(
        try program.run { bytes throws(Errno) in
          lines.pass(bytes, onLine: onLine)
        } onErrorLine: {
          onErrorLine($0)
        })
    } catch { self = .notStarted("\(error)") }
    lines.finish(onLine: onLine)
  }

  var isSuccess: Bool { self == .ended(.exited(0)) }

  var description: String {
    switch self {
    case .ended(.exited(let status)): "ended with status \(status)"
    case .ended(.signalled(let signal)): "was ended by signal \(signal)"
    case .ended(.timedOut): "did not end in time, and was stopped"
    case .ended(.interrupted): "was stopped"
    case .notStarted(let reason): "cannot be started: \(reason)"
    }
  }
}
