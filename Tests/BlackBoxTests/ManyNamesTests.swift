import TestSupport
import Testing

/// Inodes with very many names: package stores, farms of `cp -al`.
@Suite("Many names of one inode", .waits) struct ManyNamesTests {
  @Test("new names are linked to the first, and the previous catalog is read no more often than it must be")
  func newNames() throws {
    let world = try World()
    world.provesOlderUnchanged = false
    let source = world.source
    try source.write("licence", "text")
    try source.makeDirectory("others")
    for index in 0..<100 { try source.write(ByteString("others/\(index)"), "\(index)") }
    func makeLinks(_ prefix: String) throws {
      for index in 0..<1200 {
        try source.makeDirectory(ByteString("\(prefix)\(index)"))
        try source.link("licence", as: ByteString("\(prefix)\(index)/licence"))
      }
    }
    try makeLinks("p")
    try world.settle()
    try world.snapshot()
    try makeLinks("q")
    try world.settle()
    let second = try world.snapshot()
    #expect(second.warningsNamed.map(\.message) == [])
    #expect(second.filesCopied == 0 && second.filesLinked == 2501)
    #expect(try world.tree(of: second).linkCount("licence") >= 2401)
    #expect(try world.tree(of: second).inode("q7/licence") == world.tree(of: second).inode("p7/licence"))
  }
}
