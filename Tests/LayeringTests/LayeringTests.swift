import Foundation
import Testing

@Suite struct LayeringTests {
  /// Every source file of the package; the place of this file says where the package is.
  private func sources() throws -> [SourceFile] {
    let root = URL(fileURLWithPath: #filePath)
      .deletingLastPathComponent().deletingLastPathComponent().deletingLastPathComponent()
      .appendingPathComponent("Sources").standardizedFileURL
    let paths = try #require(FileManager.default.enumerator(atPath: root.path))
    var files: [SourceFile] = []
    for case let path as String in paths {
      guard ["swift", "c", "h"].contains((path as NSString).pathExtension) else { continue }
      let target = try #require(path.split(separator: "/").first)
      let data = try Data(contentsOf: root.appendingPathComponent(path))
      files.append(
        SourceFile(
          target: String(target), path: path, text: String(decoding: data, as: UTF8.self)))
    }
    return files
  }

  @Test("the sources obey the map")
  func theSourcesObeyTheMap() throws {
    let files = try sources()
    #expect(Layering.violations(in: files) == [])
  }

  @Test("every target of the map has files and so its imports are seen")
  func everyTargetOfTheMapHasFilesAndSoItsImportsAreSeen() throws {
    let files = try sources()
    #expect(Set(files.map(\.target)) == Set(Layering.targets.keys))
    // An import that everybody knows is there: were the reader blind, the map would always be obeyed.
    let byTarget = Dictionary(grouping: files, by: \.target).mapValues {
      Set($0.flatMap { Layering.imports(in: $0.text) })
    }
    #expect(byTarget["Posix"]?.contains("Glibc") == true)
    #expect(byTarget["Engine"]?.contains("Repository") == true)
    #expect(byTarget["Commands"]?.contains("ArgumentParser") == true)
  }

  @Test("no rule of the map points up")
  func noRuleOfTheMapPointsUp() {
    for (name, rule) in Layering.targets {
      for module in rule.imports {
        if let imported = Layering.targets[module] {
          #expect(imported.layer <= rule.layer, "\(name) may import \(module)")
        }
      }
      let mayUseGlibc = name == "Posix"
      #expect(rule.imports.contains("Glibc") == mayUseGlibc, "\(name)")
    }
    for name in ["Engine", "Repository", "Posix", "Catalog", "Patterns"] {
      let rule = Layering.targets[name]
      #expect(rule?.imports.isDisjoint(with: ["Foundation", "FoundationEssentials"]) == true)
    }
  }
}

/// The checker, on sources that break each rule.
@Suite struct LayeringCheckerTests {
  private func violations(_ target: String, _ text: String) -> [String] {
    Layering.violations(in: [SourceFile(target: target, path: "\(target)/X.swift", text: text)])
  }

  @Test(
    "a forbidden import is named",
    arguments: [
      ("Catalog", "import Posix", "Catalog/X.swift imports Posix of a higher layer"),
      ("Posix", "internal import Engine", "Posix/X.swift imports Engine of a higher layer"),
      ("Repository", "public import Commands", "Repository/X.swift imports Commands of a higher layer"),
      ("Engine", "internal import Glibc", "Engine/X.swift imports Glibc, which Engine may not"),
      ("Commands", "import Glibc", "Commands/X.swift imports Glibc, which Commands may not"),
      ("Engine", "import Foundation", "Engine/X.swift imports Foundation, which Engine may not"),
      (
        "Catalog", "import FoundationEssentials",
        "Catalog/X.swift imports FoundationEssentials, which Catalog may not"
      ),
      ("Engine", "import CPosix", "Engine/X.swift imports CPosix, which Engine may not"),
      ("Engine", "import Settings", "Engine/X.swift imports Settings, which Engine may not"),
      ("Mystery", "", "the target Mystery is not in the map"),
    ])
  func aForbiddenImportIsNamed(_ target: String, _ text: String, _ expected: String) {
    #expect(violations(target, text) == [expected])
  }

  @Test("allowed imports pass")
  func allowedImportsPass() {
    #expect(violations("Engine", "public import Catalog\ninternal import Posix\n") == [])
    #expect(violations("Posix", "internal import CPosix\ninternal import Glibc\n") == [])
  }

  @Test(
    "every form of import is seen",
    arguments: [
      "import Glibc", "  import Glibc", "public import Glibc", "private\timport Glibc",
      "@testable import Glibc", "@_spi(Internal) public import Glibc", "@preconcurrency import Glibc",
      "import struct Glibc.stat", "import func Glibc.open", "import Glibc.C", "let x = 1; import Glibc",
      "#if canImport(Glibc)\nimport Glibc\n#endif", "import `Glibc`", "import Glibc // why",
      "import Glibc\r\n",
    ])
  func everyFormOfImportIsSeen(_ text: String) {
    #expect(Layering.imports(in: text) == ["Glibc"])
  }

  @Test(
    "other text is no import", arguments: ["// import Glibc", "let importer = 1", "importGlibc", "/// import X", ""])
  func otherTextIsNoImport(_ text: String) {
    #expect(Layering.imports(in: text) == [])
  }

  @Test("a file of more than 500 lines is named")
  func aFileOfMoreThan500LinesIsNamed() {
    #expect(violations("Engine", String(repeating: "\n", count: 500)) == [])
    #expect(violations("Engine", String(repeating: "x\n", count: 499) + "x") == [])
    #expect(
      violations("Engine", String(repeating: "x\n", count: 500) + "x")
        == ["Engine/X.swift has 501 lines; 500 are allowed"])
  }
}
