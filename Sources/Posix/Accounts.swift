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

/// A user of this machine, as the programs that it runs need it.
public struct Account: Sendable, Equatable {
  public let name: String
  public let user, group: UInt32
  /// All groups that it belongs to.
  public let groups: [UInt32]
  public let home: [UInt8]

  /// The account of this name; `nil` if the machine has none. `getpwnam_r(3)`, `getgrouplist(3)`.
  public init?(named name: String) {
    let found: Account? = withUnsafeTemporaryAllocation(of: CChar.self, capacity: 64 << 10) { buffer in
      var entry = passwd()
      var found: UnsafeMutablePointer<passwd>?
      guard getpwnam_r(name, &entry, buffer.baseAddress!, buffer.count, &found) == 0 else { return nil }
      return found.map { Account($0.pointee) }
    }
    guard let found else { return nil }
    self = found
  }

  /// The account of this process; `nil` if the user has no name.
  public static func current() -> Account? { Account(named: accountName(ofUser: CurrentProcess.effectiveUser)) }

  /// A user that has no name on this machine, with a group of a file.
  public init(user: UInt32, group: UInt32) {
    name = "\(user)"
    (self.user, self.group, groups, home) = (user, group, [group], [UInt8(ascii: "/")])
  }

  private init(_ entry: passwd) {
    name = String(cString: entry.pw_name)
    (user, group) = (entry.pw_uid, entry.pw_gid)
    home = Array(UnsafeRawBufferPointer(start: entry.pw_dir, count: strlen(entry.pw_dir)))
    // NGROUPS_MAX of Linux; see getgroups(2).
    var count: CInt = 65536
    var list = [gid_t](repeating: 0, count: Int(count))
    let result = getgrouplist(entry.pw_name, entry.pw_gid, &list, &count)
    groups = result < 0 ? [entry.pw_gid] : Array(list.prefix(Int(count)))
  }
}

extension Account {
  /// The home directories of root and of the people of this machine; `getpwent(3)`. The users from 1,000 to 65,533 are
  /// people. Not for several threads at once.
  public static func homes() -> [[UInt8]] {
    var homes: [[UInt8]] = []
    setpwent()
    defer { endpwent() }
    while let entry = getpwent()?.pointee {
      guard entry.pw_uid == 0 || (1000..<65_534).contains(entry.pw_uid), let home = entry.pw_dir else { continue }
      homes.append(Array(UnsafeRawBufferPointer(start: home, count: strlen(home))))
    }
    return homes
  }
}
