/// The path that a rule is matched against: `directory`, a slash and `name`, or `name` alone if `directory` is empty.
///
/// The two are never joined: a walk has them apart, and few rules need more than the name.
enum PathText {
  static func byteCount(_ directory: Span<UInt8>, name: Span<UInt8>) -> Int {
    directory.isEmpty ? name.count : directory.count + 1 + name.count
  }

  @inline(__always)
  static func byte(at index: Int, directory: Span<UInt8>, name: Span<UInt8>) -> UInt8 {
    if index < directory.count { return directory[index] }
    let afterDirectory = index - directory.count
    if directory.isEmpty { return name[afterDirectory] }
    return afterDirectory == 0 ? slash : name[afterDirectory - 1]
  }

  @inline(__always)
  static func starts(with literal: Span<UInt8>, directory: Span<UInt8>, name: Span<UInt8>) -> Bool {
    guard literal.count <= byteCount(directory, name: name) else { return false }
    for index in literal.indices where byte(at: index, directory: directory, name: name) != literal[index] {
      return false
    }
    return true
  }
}

/// True if `steps` match the whole path from byte `start` on.
///
/// It backtracks only to the last star, and then only to the last run over slashes. The leftmost match between two of
/// them leaves the most for the rest, so earlier ones need no second try. The time is therefore bounded by pattern ×
/// path × longest component for any input. The idea is from R. Cox, "Glob Matching Can Be Simple And Fast Too"
/// (2017), with two kinds of star.
func matches(
  _ steps: Span<GlobStep>, sets: Span<ByteSet>, directory: Span<UInt8>, name: Span<UInt8>,
  from start: Int
) -> Bool {
  let end = PathText.byteCount(directory, name: name)
  var position = GlobPosition(at: start)
  while true {
    if position.step < steps.count {
      let step = steps[position.step]
      if position.begin(step) {
        if case .anything = step, position.step == steps.count { return true }
        continue
      }
      // The path has ended; a longer star or run would leave even less of it.
      guard position.at < end else { return false }
      if accepts(step, sets: sets, byte: PathText.byte(at: position.at, directory: directory, name: name)) {
        position.step += 1
        position.at += 1
        continue
      }
    } else if position.at == end {
      return true
    }
    guard position.retry(before: end, directory: directory, name: name) else { return false }
  }
}

/// The progress of a match, and the places for its next try.
private struct GlobPosition {
  var step = 0
  var at: Int
  /// The steps after the last star, and the first byte that the star has not consumed.
  private var star: (step: Int, at: Int)?
  /// The same for the last run over slashes; a run of whole directories always ends after a slash.
  private var run: (step: Int, at: Int, ofDirectories: Bool)?

  init(at start: Int) { at = start }

  /// Begins a star or a run, which consumes nothing yet. Returns false for a step of one byte.
  @inline(__always)
  mutating func begin(_ kind: GlobStep) -> Bool {
    switch kind {
    case .star: star = (step + 1, at)
    case .directories: (run, star) = ((step + 1, at, true), nil)
    case .anything: (run, star) = ((step + 1, at, false), nil)
    case .byte, .anyByte, .oneOf: return false
    }
    step += 1
    return true
  }

  /// Goes back to the last star, or else to the last run, and lets it consume more. Returns false if none can.
  mutating func retry(before end: Int, directory: Span<UInt8>, name: Span<UInt8>) -> Bool {
    if let last = star, last.at < end, PathText.byte(at: last.at, directory: directory, name: name) != slash {
      star = (last.step, last.at + 1)
      (step, at) = (last.step, last.at + 1)
      return true
    }
    star = nil
    guard let last = run else { return false }
    var next = last.at
    if last.ofDirectories {
      while next < end, PathText.byte(at: next, directory: directory, name: name) != slash { next += 1 }
    }
    guard next < end else { return false }
    run = (last.step, next + 1, last.ofDirectories)
    (step, at) = (last.step, next + 1)
    return true
  }
}

@inline(__always)
private func accepts(_ step: GlobStep, sets: Span<ByteSet>, byte: UInt8) -> Bool {
  switch step {
  case .byte(let wanted): byte == wanted
  case .anyByte: byte != slash
  case .oneOf(let set): sets[set].contains(byte)
  case .star, .directories, .anything: false
  }
}
