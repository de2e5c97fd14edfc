import Foundation
import TestSupport
import Testing

/// The version stands in the source of `treering --version`; the change log and the package agree with it.
@Suite struct ReleaseTests {
  private func version() throws -> String {
    try Tools.succeed(try Tools.treering(), ["--version"]).text.trimmingCharacters(in: .newlines)
  }

  @Test("the changelog begins with this version")
  func changelogBeginsWithThisVersion() throws {
    let version = try version()
    #expect(version.wholeMatch(of: /\d+\.\d+\.\d+/) != nil)
    let text = try String(contentsOf: Tools.package.appending(path: "CHANGELOG.md"), encoding: .utf8)
    let headings = text.split(separator: "\n").filter { $0.hasPrefix("## ") }
    let first = try #require(headings.first?.wholeMatch(of: /## \[(.+)\] - (Unreleased|\d{4}-\d\d-\d\d)/))
    #expect(first.1 == version)
    #expect(headings.dropFirst().allSatisfy { $0.wholeMatch(of: /## \[\d+\.\d+\.\d+\] - \d{4}-\d\d-\d\d/) != nil })
  }

  @Test("the package has this version")
  func packageHasThisVersion() throws {
    let plan = try Tools.succeed("make", ["-n", "deb"], in: Tools.package).text
    #expect(plan.contains("Packaging/deb .build/release/treering \(try version()) "))
  }
}
