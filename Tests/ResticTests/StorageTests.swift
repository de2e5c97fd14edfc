import Testing

@testable import Restic

@Suite struct S3SignatureTests {
  /// The examples of <https://docs.aws.amazon.com/AmazonS3/latest/API/sig-v4-header-based-auth.html>.
  @Test(
    "requests are signed as in AWS's published examples",
    arguments: [
      (
        S3Signature.Request(
          method: "GET", host: Self.host, path: "/test.txt", headers: [("range", "bytes=0-9")]),
        "f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41"
      ),
      (
        S3Signature.Request(
          method: "PUT", host: Self.host, path: "/test%24file.text",
          headers: [("date", "Fri, 24 May 2013 00:00:00 GMT"), ("x-amz-storage-class", "REDUCED_REDUNDANCY")],
          body: Array("Welcome to Amazon S3.".utf8)),
        "98ad721746da40c64f1a55b78f14c238d841ea1380cd77a1b5971af0ece108bd"
      ),
      (
        S3Signature.Request(method: "GET", host: Self.host, path: "/", query: "lifecycle="),
        "fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a0136783543"
      ),
      (
        S3Signature.Request(method: "GET", host: Self.host, path: "/", query: "max-keys=2&prefix=J"),
        "34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7"
      ),
    ])
  func examples(request: S3Signature.Request, signature: String) throws {
    let credentials = S3Credentials(
      accessKey: "AKIAIOSFODNN7EXAMPLE", secretKey: "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY", sessionToken: nil)
    // 2013-05-24T00:00:00Z
    let headers = S3Signature(credentials: credentials, region: "us-east-1").headers(of: request, at: 1_369_353_600)
    #expect(headers.contains("x-amz-date: 20130524T000000Z"))
    let last = try #require(headers.last)
    #expect(last.contains("Credential=AKIAIOSFODNN7EXAMPLE/20130524/us-east-1/s3/aws4_request,"))
    #expect(last.hasSuffix("Signature=\(signature)"), "\(last)")
  }

  private static let host = "examplebucket.s3.amazonaws.com"

  @Test("a session's token is signed")
  func token() throws {
    let credentials = S3Credentials(accessKey: "a", secretKey: "b", sessionToken: "tok")
    let headers = S3Signature(credentials: credentials, region: "r").headers(
      of: S3Signature.Request(method: "GET", host: "h", path: "/"), at: 0)
    #expect(headers.contains("x-amz-security-token: tok"))
    #expect(headers.last?.contains("x-amz-date;x-amz-security-token,") == true)
  }

  @Test("MD5 is that of RFC 1321, in base 64")
  func contentMD5() { #expect(S3Signature.contentMD5(of: Array("abc".utf8)) == "kAFQmDzST7DWlj99KOF/cg==") }
}

@Suite struct S3DocumentTests {
  @Test("elements are found by their names, and entities are characters")
  func elements() {
    let text = """
      <?xml version="1.0"?><ListBucketResult xmlns="x"><IsTruncated>true</IsTruncated>
      <Contents><Key>a&amp;b/&#x41;&#66;&unknown;</Key><Size>12</Size></Contents><Contents><Key>c</Key></Contents>
      <NextContinuationToken>1&lt;2&gt;&quot;&apos;</NextContinuationToken></ListBucketResult>
      """
    let document = S3Document(Array(text.utf8))
    #expect(document.all("Contents").map { $0.first("Key") } == ["a&b/AB&unknown;", "c"])
    #expect(document.all("Contents").map { $0.first("Size") } == ["12", nil])
    #expect(document.first("NextContinuationToken") == "1<2>\"'")
    #expect(document.first("Code") == nil)
  }

  @Test(
    "what is cut off has no elements",
    arguments: ["", "<", "<Contents>", "<Contents><Key>a", "</Contents>", "<Contents>&", "<Key>&amp"])
  func cut(text: String) {
    let document = S3Document(Array(text.utf8))
    #expect(document.all("Contents").isEmpty)
    _ = document.first("Key")
  }
}

@Suite struct SFTPFieldTests {
  @Test("fields that were written are read again, and what is cut off is none")
  func fields() {
    var writer = SFTPWriter()
    writer.byte(7)
    writer.uint32(0xFFFF_FFFE)
    writer.uint64(1 << 40)
    writer.string([1, 2, 3])
    var reader = SFTPReader(writer.bytes)
    #expect(reader.byte() == 7 && reader.uint32() == 0xFFFF_FFFE && reader.uint64() == 1 << 40)
    #expect(reader.string() == [1, 2, 3] && reader.byte() == nil && reader.uint32() == nil)
    var cut = SFTPReader(Array(writer.bytes.dropFirst(13).dropLast()))
    #expect(cut.string() == nil)
    var attributes = SFTPReader([0x80, 0, 0, 0, 0xFF, 0xFF, 0xFF, 0xFF])
    #expect(attributes.attributes() == nil)
  }
}

@Test("a URL has only characters that it can have")
func urlEscapes() {
  #expect(urlEscaped("a b/ü%~".utf8, isPath: true) == "a%20b/%C3%BC%25~")
  #expect(urlEscaped("a/b=".utf8, isPath: false) == "a%2Fb%3D")
}
