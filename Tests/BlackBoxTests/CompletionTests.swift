import Foundation
import TestSupport
import Testing

@Suite("completion", .waits)
struct CompletionTests {
  private let world: World
  private var place: Tree { Tree(world.directory.path) }
  private let names: [ByteString] = [
    "a$(touch pwned)", "a`touch pwned`", "a;touch pwned", "a b", "it's", "q\"x", "ba\\ck", "c:d:e", "k=v", "*star",
    "~home", "!bang", "#hash", "{x,y}", "-rf", "$HOME", "x&y|z<w>", "[a]?", "üml", ByteString([110, 255, 120]),
  ]

  init() throws {
    world = try World()
    world.provesOlderUnchanged = false
    try place.makeDirectory("bin")
    try tool("ln", ["-s", try treeringBinary(), place.root / "bin/treering"])
    for (number, name) in names.enumerated() {
      try world.source.makeDirectory("\(number)")
      try world.source.write("\(number)" / name, "content \(number)")
    }
    for directory in ["two", "both"] { try world.source.makeDirectory(ByteString(directory)) }
    try world.source.write("two/new\nline", "text")
    try world.source.write("two/plain", "text")
    try world.source.write("both/a b", "b")
    try world.source.write("both/a $c", "c")
    try place.write(
      "c.toml",
      """
      repository = "\(world.repository.root)"
      [remote.offsite]
      url = "ssh://backup@host.invalid/srv"
      [remote.onsite]
      url = "/mnt/disk"
      """)
    try world.snapshot()
    try world.snapshot()
    // What is completed is in the snapshots, and no longer on this machine.
    try tool("mv", [world.source.root, place.root / "gone"])
  }

  /// Types lines into a shell; `<TAB>` is a key.
  private func type(_ lines: [ByteString], into shell: ByteString) throws {
    try place.write("lines", bytes: Array(lines.map(\.bytes).joined(separator: [10])))
    let script = ByteString(#filePath).parent / "complete.py"
    let typed = try runCommand("python3", [script, shell, place.root], input: place.root / "lines")
    #expect(typed.status == 0, "\(typed.outputText)\(typed.errorText)")
  }

  @Test("Tab writes any name so that the shell takes it for that name", arguments: ["bash", "zsh", "fish"])
  func hostileNames(shell: String) throws {
    let top = world.source.root
    let command: ByteString = "treering cat -r repository latest "
    var lines = names.indices.map { command + top / "\($0)" + "/<TAB> >out\($0)" }
    // The quotes that are typed go on to the end of the name.
    for (number, typed) in [(0, "\"\(top)/0/<TAB>"), (1, "'\(top)/1/<TAB>"), (4, "'\(top)/4/<TAB>")] {
      lines.append(command + "\(typed) >quoted\(number)")
    }
    // What names have in common is written, quotes and all, and completed further.
    lines.append(command + "\(top)/both/<TAB>\\$<TAB> >common")
    // A directory is followed by no space.
    lines.append(command + "\(top)/tw<TAB>pl<TAB> >directory")
    // Commands and snapshots are followed by a space.
    lines.append("treering ca<TAB>-r repository lat<TAB>\(top)/two/pl<TAB> >words")
    lines.append("treering help vers<TAB>>helped")
    try type(lines, into: ByteString(shell))
    for number in names.indices { #expect(try place.text("out\(number)") == "content \(number)", "\(names[number])") }
    for number in [0, 1, 4] { #expect(try place.text("quoted\(number)") == "content \(number)", "\(names[number])") }
    #expect(try place.text("common") == "c")
    #expect(try place.text("directory") == "text")
    #expect(try place.text("words") == "text")
    #expect(try place.text("helped").contains("USAGE: treering versions"))
    #expect(!place.exists("pwned"))
  }

  /// The words that bash offers for a line with the cursor at its end.
  private func bashWords(_ line: String) throws -> [String] {
    // Words are divided as readline does it without quotes.
    let script = """
      source <(treering --generate-completion-script bash)
      COMP_LINE=$1 COMP_POINT=${#1} COMP_WORDS=()
      rest=$1
      while [[ $rest =~ ^[[:space:]]*([:=]+|[^[:space:]:=]+)(.*)$ ]]; do
        COMP_WORDS+=("${BASH_REMATCH[1]}") rest=${BASH_REMATCH[2]}
      done
      if [[ $1 =~ [[:space:]:=]$ ]]; then COMP_WORDS+=(''); fi
      COMP_CWORD=$((${#COMP_WORDS[@]} - 1))
      cur=${COMP_WORDS[COMP_CWORD]}
      [[ $cur = [:=]* ]] && cur=
      _treering_words treering "$cur" "${COMP_WORDS[COMP_CWORD - 1]}"
      printf '%s\\n' "${COMPREPLY[@]}"
      """
    let result = try runCommand(
      "bash", ["-c", ByteString(script), "bash", ByteString(line)], in: place.root,
      environment: ["PATH": "\(place.root)/bin:/usr/bin:/bin"])
    #expect(result.errorText == "")
    return result.outputLines
  }

  /// The words that fish offers for each line; it offers them only in an interactive shell.
  private func fishWords(_ lines: [String]) throws -> [[String]] {
    try type(lines.enumerated().map { "complete -C '\($1)' >words\($0)" }, into: "fish")
    return try lines.indices.map { number in
      try place.text(ByteString("words\(number)")).split(separator: "\n").map { String($0.prefix { $0 != "\t" }) }
    }
  }

  @Test("snapshots, sets, remotes, paths, and the values of options")
  func words() throws {
    let names = try world.snapshotNames().map(\.text).reversed()
    let sets = ["hourly.0", "daily.0", "weekly.0", "monthly.0", "yearly.0"]
    let top = world.source.root.text
    try place.makeDirectory("local")
    let cases: [(String, [String])] = [
      ("treering ls -r repository ", ["latest"] + names + sets),
      ("treering ls -c c.toml la", ["latest"]), ("treering diff -c c.toml latest d", ["daily.0"]),
      ("treering push -c c.toml o", ["offsite", "onsite"]), ("treering push -c c.toml off", ["offsite"]),
      ("treering push loc", ["local"]), ("treering list -r loc", ["local"]),
      ("treering rotate --keep we", ["weekly="]), ("treering find --type f", ["file", "fifo"]),
      ("treering restore --overwrite ", ["never", "if-changed", "if-different", "always"]),
      ("treering config ", ["check", "example"]), ("treering sched", ["schedule"]),
      ("treering help re", ["restore", "release", "recovery-plan", "report"]), ("treering help cat ", []),
      ("treering cat -r repository latest \(top)/two/", ["\(top)/two/plain"]),
      ("treering ls -r repository latest loca", ["localhost/"]),
      ("treering versions -r repository \(top)/bo", ["\(top)/both/"]),
      ("treering hold -r nowhere ", []), ("treering hold -r ssh://host.invalid/x ", []),
    ]
    for (line, expected) in cases { #expect(Set(try bashWords(line)) == Set(expected), "bash: \(line)") }
    for ((line, expected), words) in zip(cases, try fishWords(cases.map(\.0))) {
      #expect(Set(words.map { $0 == "local/" ? "local" : $0 }) == Set(expected), "fish: \(line)")
    }
    // Words of which readline replaces only the end.
    #expect(try bashWords("treering rotate --keep=we") == ["weekly="])
    #expect(try bashWords("treering ls --repository=repository la") == ["latest"])
    #expect(try bashWords("treering cat -r repository latest \(top)/7/c:d") == ["d:e"])
  }

  @Test("nothing is said on an error, and no connection is made")
  func silence() throws {
    try place.write("broken.toml", "repository = [")
    try tool("cp", ["-a", place.root / "repository", place.root / "damaged"])
    try tool("sh", ["-c", "for f in damaged/.treering/catalogs/*; do echo x >$f; done"], in: place.root)
    for words in [
      ["-r", "damaged", "latest"], ["-r", "none", "latest"], ["-c", "broken.toml", "latest"],
      ["-r", "ssh://host.invalid/x", "latest"], ["-r"], ["-r", "repository", "none"],
    ] as [[ByteString]] {
      let line = ["treering", "cat"] + words + ["/"]
      let asked = try runCommand(
        place.root / "bin/treering",
        ["---completion", "cat", "--", "positional@1", "\(line.count - 1)", "0"] + line, in: place.root,
        environment: ["SAP_SHELL": "bash"])
      #expect(asked.status == 0 && asked.errorText == "" && asked.outputLines == [], "\(words)")
    }
    let nonsense = try runCommand(place.root / "bin/treering", ["---completion", "nonsense", "--", "x"])
    #expect(nonsense.status == 0 && nonsense.errorText == "" && nonsense.outputText == "")
  }
}
