import Foundation
import Posix
import TestSupport
import Testing

@Suite struct ExtendedAttributeTests {
  private func attribute(_ key: String, _ value: [UInt8]) -> ExtendedAttribute {
    ExtendedAttribute(name: name(key), value: value)
  }

  @Test("no attributes are the usual answer")
  func noneIsTheUsualAnswer() throws {
    let scratch = try ScratchDirectory()
    let f = name("f")
    try scratch.makeFile(f)
    let file = try scratch.directory.descriptor.open(f.span, .read)
    #expect(try file.extendedAttributes() == [])
    let handle = try scratch.directory.descriptor.open(f.span, .pathOnly)
    #expect(try handle.extendedAttributes(.handle) == [])
    // Removing what is not there is no error.
    try file.removeExtendedAttribute(name("user.none"))
  }

  @Test("values of every size come back sorted")
  func valuesOfEverySizeComeBackSorted() throws {
    let scratch = try ScratchDirectory()
    let f = name("f")
    try scratch.makeFile(f)
    let attributes = [
      attribute("user.z", []), attribute("user.b", [0, 0xFF, 0]),
      attribute("user.exactly256", [UInt8](repeating: 1, count: 256)),
      attribute("user.257", [UInt8](repeating: 2, count: 257)),
      attribute("user.large", [UInt8](repeating: 3, count: 3000)),
      attribute("user.A", name("text")),
    ]
    let file = try scratch.directory.descriptor.open(f.span, .write)
    for attribute in attributes { try file.setExtendedAttribute(attribute) }
    let sorted = attributes.sorted { $0.name.lexicographicallyPrecedes($1.name) }
    #expect(try file.extendedAttributes() == sorted)
    let handle = try scratch.directory.descriptor.open(f.span, .pathOnly)
    #expect(try handle.extendedAttributes(.handle) == sorted)
    let shown = try tool("getfattr", ["-d", "-e", "hex", "--absolute-names", ByteString(scratch.path + "/f")])
    #expect(String(decoding: shown, as: UTF8.self).contains("user.b=0x00ff00"))
    try handle.removeExtendedAttribute(name("user.b"), by: .handle)
    #expect(try file.extendedAttributes().count == 5)
  }

  /// More names than the first look has room for.
  @Test("many names of attributes come back")
  func manyNames() throws {
    let scratch = try ScratchDirectory()
    let f = name("f")
    try scratch.makeFile(f)
    let file = try scratch.directory.descriptor.open(f.span, .write)
    let attributes = (100..<160).map { attribute("user.a-name-of-some-length-\($0)", [UInt8($0)]) }
    for attribute in attributes { try file.setExtendedAttribute(attribute) }
    #expect(try file.extendedAttributes() == attributes)
  }

  /// The kernel's own limit, on a file system that goes that far.
  @Test("a value of 64 KiB comes back")
  func aValueOf64KiB() throws {
    let scratch = try ScratchDirectory()
    let f = name("f")
    try scratch.makeFile(f)
    let file = try scratch.directory.descriptor.open(f.span, .write)
    let large = attribute("user.large", [UInt8](repeating: 9, count: 65536))
    do { try file.setExtendedAttribute(large) } catch {
      // ext4 has room for a block's worth of attributes.
      #expect(error.meansNoRoom || error == .outOfRange)
      return
    }
    #expect(try file.extendedAttributes() == [large])
  }

  @Test("an ACL is an attribute")
  func anACLIsAnAttribute() throws {
    let scratch = try ScratchDirectory()
    let f = name("f")
    try scratch.makeFile(f)
    try tool("setfacl", ["-m", "u:1:r", ByteString(scratch.path + "/f")])
    let file = try scratch.directory.descriptor.open(f.span, .read)
    #expect(try file.extendedAttributes().map(\.name) == [name("system.posix_acl_access")])
  }

  /// Trusted attributes can be set on links; user attributes cannot.
  @Test("attributes of a link are its own")
  func attributesOfALinkAreItsOwn() throws {
    let scratch = try ScratchDirectory()
    let (f, l) = (name("f"), name("l"))
    try scratch.makeFile(f)
    try scratch.directory.descriptor.makeSymbolicLink(l.span, to: f)
    let handle = try scratch.directory.descriptor.open(l.span, .pathOnly)
    guard CurrentProcess.effectiveUser == 0 else { return }
    do { try handle.setExtendedAttribute(attribute("trusted.x", [1]), by: .handle) } catch {
      #expect(error == .notPermitted || error == .notSupported)
      return
    }
    #expect(try handle.extendedAttributes(.handle) == [attribute("trusted.x", [1])])
    let file = try scratch.directory.descriptor.open(f.span, .read)
    #expect(try file.extendedAttributes() == [])
  }
}
