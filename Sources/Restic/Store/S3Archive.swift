public import Model
internal import Repository

/// Archives: objects that must be thawed before they can be read.
extension S3Store {
  private static let archives = ["GLACIER", "DEEP_ARCHIVE"]
  private static let thawDays = 7

  public func archivedPacks() throws -> Set<Digest> {
    guard place.archiveClass != nil else { return [] }
    return Set(try listObjects(.data).filter { Self.archives.contains($0.storageClass ?? "") }.map(\.id))
  }

  public func thaw(of pack: Digest) throws -> Thaw {
    let name = ObjectName(.data, pack)
    let answer = try send(Call(method: "HEAD", key: key(name.path)))
    guard answer.status == 200 else { throw failure("look at \(name)", because: answer) }
    guard let state = answer.header("x-amz-restore") else { return .frozen }
    return state.contains("ongoing-request=\"false\"") ? .done : .underWay
  }

  public func requestThaw(of pack: Digest) throws {
    let name = ObjectName(.data, pack)
    let answer = try send(
      "<Days>\(Self.thawDays)</Days><GlacierJobParameters><Tier>Standard</Tier></GlacierJobParameters>",
      as: "RestoreRequest", to: "restore", of: name, by: "POST")
    let isUnderWay = S3Document(answer.body).first("Code") == "RestoreAlreadyInProgress"
    guard [200, 202].contains(answer.status) || isUnderWay else {
      throw failure("request the thaw of \(name)", because: answer)
    }
  }
}
