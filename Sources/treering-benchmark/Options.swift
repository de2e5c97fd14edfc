import Foundation

/// An error message for the operator.
struct Problem: Error, CustomStringConvertible {
  var description: String
  init(_ description: String) { self.description = description }
}

/// The command line.
struct Options {
  var quick = false
  var json = false
  var wantsHelp = false
  var runs = 5
  var kernelTree: String?
  var work = "/var/tmp/treering-benchmark"
  var tmpfs = "/dev/shm"
  var jobs = Set(1...41)

  static let help = """
    usage: treering-benchmark [--quick] [--runs N] [--jobs N,N…] [--kernel-tree DIR] [--work DIR]
                              [--tmpfs DIR] [--json]

      --quick            generated trees of a tenth of the size
      --runs N           measured runs of each side, of which the median counts; 5
      --jobs N,N…        only these rows of the table
      --kernel-tree DIR  an unpacked kernel source, which is only read; otherwise
                         /usr/src/linux-source-6.1.tar.xz is unpacked below --work
      --work DIR         on the disk to be measured; /var/tmp/treering-benchmark
      --tmpfs DIR        on a tmpfs; /dev/shm
    """

  init(_ arguments: [String]) throws {
    var rest = arguments.dropFirst()
    func value(_ name: String) throws -> String {
      guard let value = rest.popFirst() else { throw Problem("\(name) needs a value") }
      return value
    }
    while let argument = rest.popFirst() {
      switch argument {
      case "--quick": quick = true
      case "--json": json = true
      case "--help", "-h": wantsHelp = true
      case "--runs":
        guard let count = Int(try value(argument)), count > 0 else { throw Problem("--runs takes a number") }
        runs = count
      case "--jobs":
        jobs = Set(try value(argument).split(separator: ",").compactMap { Int($0) })
      case "--kernel-tree": kernelTree = try value(argument)
      case "--work": work = try value(argument)
      case "--tmpfs": tmpfs = try value(argument)
      default: throw Problem("unknown argument \(argument)\n\(Self.help)")
      }
    }
  }
}
