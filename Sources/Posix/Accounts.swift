internal import Glibc
internal import Synchronization

private let knownUsers = Mutex<[UInt32: String]>([:])
private let knownGroups = Mutex<[UInt32: String]>([:])

/// The name of a user on this machine, or the number if it has none; `getpwuid_r(3)`.
public func accountName(ofUser number: UInt32) -> String {
  name(of: number, in: knownUsers) { buffer in
    var entry = passwd()
    var found: UnsafeMutablePointer<passwd>?
    guard getpwuid_r(number, &entry, buffer.baseAddress!, buffer.count, &found) == 0,
      let user = found?.pointee, let name = user.pw_name
    else { return nil }
    return String(cString: name)
  }
}

/// The name of a group on this machine, or the number if it has none; `getgrgid_r(3)`.
public func accountName(ofGroup number: UInt32) -> String {
  name(of: number, in: knownGroups) { buffer in
    var entry = group()
    var found: UnsafeMutablePointer<group>?
    guard getgrgid_r(number, &entry, buffer.baseAddress!, buffer.count, &found) == 0,
      let group = found?.pointee, let name = group.gr_name
    else { return nil }
    return String(cString: name)
  }
}

private func name(
  of number: UInt32, in known: borrowing Mutex<[UInt32: String]>,
  lookUp: (UnsafeMutableBufferPointer<CChar>) -> String?
) -> String {
  known.withLock { names in
    if let name = names[number] { return name }
    // A group with thousands of members fits.
    let name = withUnsafeTemporaryAllocation(of: CChar.self, capacity: 256 << 10, lookUp) ?? "\(number)"
    names[number] = name
    return name
  }
}
