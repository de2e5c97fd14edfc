/// One file below `Sources/`.
struct SourceFile {
  /// The directory below `Sources/` that it is in.
  var target: String
  /// From `Sources/` on, for messages.
  var path: String
  var text: String
}

/// What a target may import, and how high it stands; CONTRIBUTING.md has the map.
struct TargetRule {
  var layer: Int
  var imports: Set<String>
}

enum Layering {
  static let targets: [String: TargetRule] = [
    "treering": TargetRule(layer: 4, imports: ["Commands"]),
    "treering-benchmark": TargetRule(layer: 4, imports: ["Posix", "Foundation"]),
    "Commands": TargetRule(
      layer: 4,
      imports: [
        "Engine", "Repository", "Posix", "Model", "Catalog", "Patterns", "Retention", "Settings", "RsnapshotImport",
        "Operations", "Archive", "Replication", "Restic", "Databases", "ArgumentParser",
        "FoundationEssentials", "Synchronization",
      ]),
    "Replication": TargetRule(
      layer: 3,
      imports: ["Engine", "Repository", "Posix", "Model", "Catalog", "Delta", "Retention", "Synchronization"]),
    "Restic": TargetRule(
      layer: 3,
      imports: ["Engine", "Repository", "Posix", "Model", "Catalog", "Retention", "CCodec", "CCurl", "Synchronization"]),
    "Operations": TargetRule(layer: 3, imports: ["Posix", "CCurl"]),
    "Databases": TargetRule(
      layer: 3,
      imports: ["Catalog", "Posix", "Model", "Retention", "Settings", "Synchronization", "FoundationEssentials"]),
    "CCurl": TargetRule(layer: 1, imports: []),
    "Archive": TargetRule(layer: 3, imports: ["Catalog", "Model", "CArchive"]),
    "CArchive": TargetRule(layer: 1, imports: []),
    "Engine": TargetRule(
      layer: 2,
      imports: ["Repository", "Posix", "Model", "Catalog", "Patterns", "Retention", "Synchronization"]),
    "Repository": TargetRule(
      layer: 2, imports: ["Posix", "Model", "Catalog", "Retention", "Synchronization"]),
    "Posix": TargetRule(layer: 1, imports: ["CPosix", "Model", "Glibc", "Synchronization"]),
    "CPosix": TargetRule(layer: 1, imports: []),
    "Model": TargetRule(layer: 0, imports: []),
    "Catalog": TargetRule(layer: 0, imports: ["Model", "CCodec"]),
    "CCodec": TargetRule(layer: 0, imports: []),
    "Delta": TargetRule(layer: 0, imports: ["Model", "Catalog"]),
    "Patterns": TargetRule(layer: 0, imports: []),
    "Retention": TargetRule(layer: 0, imports: ["Model"]),
    "RsnapshotImport": TargetRule(layer: 0, imports: ["Model", "Patterns", "Settings"]),
    "Settings": TargetRule(layer: 0, imports: ["Model", "Patterns", "Retention", "TOMLKit"]),
  ]

  static let longestFile = 500

  /// A sentence for everything that is not as the map says.
  static func violations(
    in files: [SourceFile], targets: [String: TargetRule] = Self.targets
  ) -> [String] {
    var found: [String] = []
    for target in Set(files.map(\.target)).sorted() where targets[target] == nil {
      found.append("the target \(target) is not in the map")
    }
    for file in files {
      let lines = lineCount(file.text)
      if lines > longestFile {
        found.append("\(file.path) has \(lines) lines; \(longestFile) are allowed")
      }
      guard let rule = targets[file.target] else { continue }
      for module in imports(in: file.text) {
        if let imported = targets[module], imported.layer > rule.layer {
          found.append("\(file.path) imports \(module) of a higher layer")
        } else if !rule.imports.contains(module) {
          found.append("\(file.path) imports \(module), which \(file.target) may not")
        }
      }
    }
    return found
  }

  /// The modules that a file's import declarations name, in whatever form they are written.
  static func imports(in text: String) -> [String] {
    let declaration =
      #/^\s*(?:@\w+(?:\([^)]*\))?\s*)*(?:(?:public|package|internal|fileprivate|private)\s+)?import\s+(?:(?:struct|class|enum|protocol|typealias|actor|func|var|let)\s+)?`?(\w+)`?/#
    return text.split(whereSeparator: { $0.isNewline || $0 == ";" }).compactMap {
      $0.prefixMatch(of: declaration).map { String($0.1) }
    }
  }

  static func lineCount(_ text: String) -> Int {
    let breaks = text.utf8.count { $0 == UInt8(ascii: "\n") }
    return text.isEmpty || text.hasSuffix("\n") ? breaks : breaks + 1
  }
}
