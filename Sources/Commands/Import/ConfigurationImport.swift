internal import Model
internal import Posix
internal import Repository
internal import RsnapshotImport
internal import Settings

/// The work of `import rsnapshot`.
struct ConfigurationImport {
  let path: [UInt8]
  let common: CommonOptions

  func execute() throws(Failure) -> ExitStatus {
    let files = RsnapshotFiles(name: displayName, read: Self.read, isFile: Self.isFile, mountPoint: Self.mountPoint)
    let shown = displayName(path)
    let translation: RsnapshotTranslation
    do throws(RsnapshotError) {
      translation = try RsnapshotTranslation(
        of: RsnapshotConfiguration(path: path, files: files), name: shown, files: files)
    } catch { throw Failure(.usage, error.description) }
    let lost = translation.notCarriedOver
    if common.json {
      Console.print(
        jsonText(
          ConfigurationImportAnswer(
            config: translation.text,
            notCarriedOver: lost.map {
              ConfigurationImportAnswer.Lost(file: $0.file, line: $0.line, text: $0.text, why: $0.why)
            })))
    } else {
      Console.write(translation.text, to: .output)
    }
    if lost.isEmpty { return .done }
    let lines = Set(lost.map { "\($0.file):\($0.line)" }).count
    Console.note(
      "\(counted(lines, "line")) of \(shown) could not be carried over; look for "
        + (common.json ? "not_carried_over" : "NOT CARRIED OVER") + " in what was printed")
    return .warnings
  }

  private static func read(_ path: [UInt8]) throws -> [UInt8] {
    if try Descriptor.open(path: path, .pathOnly).status().kind != .regular { throw NoFile() }
    return try Descriptor.open(path: path, .read).readToEnd(limit: 1 << 20)
  }

  private static func isFile(_ path: [UInt8]) -> Bool {
    do throws(Errno) { return try Descriptor.open(path: path, .pathOnly).status().kind != .directory } catch {
      return false
    }
  }

  /// The mount point of a logical volume. Device mapper doubles the hyphens of both names.
  private static func mountPoint(group: String, volume: String) -> String? {
    let name = [group, volume].map { $0.replacing("-", with: "--") }.joined(separator: "-")
    let devices = ["/dev/mapper/\(name)", "/dev/\(group)/\(volume)"].map { Array($0.utf8) }
    let mount = MountLine.all()?.first { devices.contains($0.source) && $0.root == [slash] }
    return mount.flatMap { String(validating: $0.point, as: UTF8.self) }
  }

  private struct NoFile: Error, CustomStringConvertible {
    var description: String { "it is no file" }
  }
}

/// The document of `import rsnapshot --json`.
struct ConfigurationImportAnswer: Encodable {
  struct Lost: Encodable {
    let file: String
    let line: Int
    let text, why: String
  }

  let config: String
  let notCarriedOver: [Lost]
}
