internal import Settings

/// The table `[hooks]` for the commands of an `rsnapshot.conf`.
///
/// `scripts` has the directory of each `backup_script` that a hook runs, by the number of its statement.
func rsnapshotHooks(of statements: [RsnapshotConfiguration.Statement], scripts: [Int: String]) -> [String] {
  let lastPoint = statements.lastIndex { $0.name == "backup" || $0.name == "backup_script" } ?? statements.count
  func commands(named name: String, range: Range<Int>) -> [RsnapshotConfiguration.Statement] {
    statements[range].filter { $0.name == name }
  }
  // If a command occurs several times, the last one counts.
  let before: [RsnapshotConfiguration.Statement] =
    commands(named: "cmd_preexec", range: statements.indices).suffix(1)
    + statements.indices.filter { statements[$0].name == "backup_exec" && $0 < lastPoint || scripts[$0] != nil }
    .map { index in
      var statement = statements[index]
      if let directory = scripts[index] { statement.values[0] = script(statement.value, in: directory) }
      return statement
    }
  let after: [RsnapshotConfiguration.Statement] =
    commands(named: "backup_exec", range: lastPoint..<statements.count)
    + commands(named: "cmd_postexec", range: statements.indices).suffix(1)
  if before.isEmpty && after.isEmpty { return [] }
  var lines = TOMLText.comment(
    """
    rsnapshot runs these among its backups, in the order of its file, and waits for ever. treering runs what stands
    above a backup before the snapshot, and the rest after it, even when that failed.
    """)
  lines.append("[hooks]")
  for (key, hooks) in [("before", before), ("after", after)] where !hooks.isEmpty {
    lines.append("\(key) = [")
    for hook in hooks {
      lines += TOMLText.comment("\(hook.origin.place): \(hook.name)").map { "  " + $0 }
      lines.append("  " + table(for: hook, isBefore: key == "before") + ",")
    }
    lines.append("]")
  }
  return lines
}

/// A shell command that runs a script in a new directory, which takes the place of the old one if the script succeeds.
///
/// The script has a shell of its own: neither its variables nor its `exit` reach what removes directories.
private func script(_ text: String, in directory: String) -> String {
  func quoted(_ text: String) -> String { "'" + text.replacing("'", with: "'\\''") + "'" }
  return """
    d=\(quoted(directory)) && new="${d%/*}/\(rsnapshotWorkDirectory)" && rm -rf "$new" && mkdir -p "$new" && cd "$new" \
    && /bin/sh -c \(quoted(text)) && cd / && rm -rf "$d" && mv "$new" "$d"
    """
}

/// The directory beside those of the scripts in which a script runs. The hooks run one after the other.
let rsnapshotWorkDirectory = ".new"

private func table(for statement: RsnapshotConfiguration.Statement, isBefore: Bool) -> String {
  var table = "{ command = \(TOMLText.array(rsnapshotCommand(statement.value))), timeout = \"24h\""
  let isRequired = statement.name.hasPrefix("backup_") ? statement.values.dropFirst().first == "required" : isBefore
  // By default, hooks before a run are required, and hooks after it are not.
  if isRequired != isBefore { table += ", required = \(isRequired)" }
  return table + " }"
}

/// A program and its arguments, or the shell if rsnapshot would run one by Perl's rule for `system`. A program from
/// `PATH` also goes through the shell.
func rsnapshotCommand(_ text: String) -> [String] {
  let words = words(of: text)
  let beginsWithAssignment = words.first.map { word in
    let name = word.prefix { $0.isASCII && ($0.isLetter || $0.isNumber || $0 == "_") }
    return word.dropFirst(name.count).first == "="
  }
  guard let program = words.first, isAbsolute(program), beginsWithAssignment == false,
    !text.utf8.contains(where: { "$&*(){}[]'\";\\|?<>~`\n".utf8.contains($0) })
  else { return ["/bin/sh", "-c", text] }
  return words
}
