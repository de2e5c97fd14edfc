internal import ArgumentParser
internal import Model
internal import Posix

/// Answers a completion script. Errors are silent, because a message would spoil the line that is being typed.
func answerCompletion(_ arguments: [String]) {
  do { _ = try RootCommand.parseAsRoot(arguments) } catch {
    guard RootCommand.exitCode(for: error) == .success else { return }
    try? CurrentProcess.write(argumentBytes(RootCommand.fullMessage(for: error) + "\n"), to: .output)
  }
}

/// The completion script for a shell: that of ArgumentParser, and what it lacks.
func completionScript(for shell: CompletionShell) -> String {
  let commands = RootCommand.configuration.subcommands.compactMap { $0.configuration.commandName }
    .joined(separator: " ")
  var lines = RootCommand.completionScript(for: shell).split(separator: "\n", omittingEmptySubsequences: false)
  func add(_ text: String, at place: Int) { lines.insert(contentsOf: text.split(separator: "\n"), at: place) }
  switch shell {
  case .bash:
    // The script is no program, and the additions register another function.
    lines.removeAll { $0.hasPrefix("#!") || $0.hasPrefix("complete ") }
    add(bashAdditions + bashHelp(commands), at: lines.count)
  case .zsh:
    // The last lines call the function that is completed by the additions.
    if let place = lines.firstIndex(where: { $0.hasSuffix("'*:subcommands:'") }) {
      lines[place] = "        '1:command:(\(commands))'"
    }
    add(zshAdditions, at: lines.lastIndex { $0.hasPrefix("if [[ \"${funcstack[1]}\"") } ?? lines.count)
  default: add(fishAdditions + fishHelp(commands), at: lines.count)
  }
  return lines.joined(separator: "\n")
}

private let bashAdditions = #"""
  # A line with = before it is a word to be quoted; bash itself quotes only files of this machine well.
  __treering_add_completions() {
      local line quoted
      if [[ "${1}" != -W ]]; then
          compopt -o filenames 2>/dev/null
          while IFS='' read -r line; do COMPREPLY+=("${line}"); done < <(compgen "${@}" -- "${cur}")
          return
      fi
      while IFS='' read -r line; do
          case "${line}" in
          '') ;;
          :directories:) __treering_add_completions -d ;;
          =*)
              line="${line:1}"
              case "${quote}" in
              \') quoted="${line//\'/\'\\\'\'}" ;;
              \")
                  quoted="${line//\\/\\\\}"
                  quoted="${quoted//\"/\\\"}"
                  quoted="${quoted//\$/\\\$}"
                  quoted="${quoted//\`/\\\`}"
                  ;;
              *) printf -v quoted %q "${line}" ;;
              esac
              COMPREPLY+=("${quoted}")
              ;;
          "${cur}"*) COMPREPLY+=("${line}") ;;
          esac
      done <<<"${2}"
  }

  # Readline splits words at : and =, which belong to addresses, names and options. They are joined again.
  _treering_words() {
      local line="${COMP_LINE}" rest word quote='' first
      local -a words=()
      local -i index cword=0
      for index in "${!COMP_WORDS[@]}"; do
          word="${COMP_WORDS[index]}"
          rest="${line#"${line%%[![:space:]]*}"}"
          if [[ "${index}" -gt 0 && -n "${line}" && "${rest}" = "${line}" ]]; then
              words[${#words[@]} - 1]+="${word}"
          else
              words+=("${word}")
          fi
          line="${rest#"${word}"}"
          [[ "${index}" -ne "${COMP_CWORD}" ]] || cword="${#words[@]}-1"
      done
      word="${words[cword]}"
      if [[ "${word}" = --*=* ]]; then
          words=("${words[@]::cword}" "${word%%=*}" "${word#*=}" "${words[@]:cword + 1}")
          cword+=1
          word="${word#*=}"
      fi
      if [[ "${word}" = [\"\']* ]]; then
          quote="${word::1}"
          word="${word:1}"
      fi
      COMP_WORDS=("${words[@]}")
      COMP_CWORD="${cword}"

      _treering "${1}" "${word}" "${words[cword - 1]}"
      trap - RETURN

      # Readline replaces only what follows the last : or =.
      first="${word%"${2}"}"
      words=()
      for line in "${COMPREPLY[@]}"; do
          [[ "${line}" != "${first}"* ]] || words+=("${line#"${first}"}")
      done
      COMPREPLY=("${words[@]}")
      if [[ "${#COMPREPLY[@]}" -eq 1 && "${COMPREPLY[0]}" = *[/=] ]]; then
          compopt -o nospace 2>/dev/null
      fi
  }

  complete -o nosort -F _treering_words treering
  """#

private func bashHelp(_ commands: String) -> String {
  #"""

  _treering_help() {
      [[ "${#unparsed_words[@]}" -ne 1 ]] || COMPREPLY=($(compgen -W '\#(commands)' -- "${cur}"))
  }
  """#
}

private func fishHelp(_ commands: String) -> String {
  #"""

  complete -c treering -n 'test (count (commandline -opc)) -eq 2; and test (commandline -opc)[2] = help' -fa '\#(commands)'
  """#
}

private let zshAdditions = #"""
  __treering_custom_complete() {
      # The function that calls this one does not let ! be quoted.
      setopt localoptions banghist
      local -a completions directories
      completions=("${(@f)"$("${command_name}" "${@}" "${command_line[@]}" 2>/dev/null)"}")
      if [[ -n "${completions[(r):directories:]}" ]]; then
          _files -/
      fi
      completions=("${(@)${(@)completions[1,-2]}:#:directories:}")
      directories=("${(@M)completions:#*/}")
      completions=("${(@)completions:#*/}")
      _describe -V '' directories -S '' -- completions
  }
  """#

private let fishAdditions = #"""
  functions -e __treering_values
  functions -c __treering_custom_completion __treering_values
  function __treering_custom_completion
      for line in (__treering_values $argv 2>/dev/null)
          if test "$line" = :directories:
              __fish_complete_directories (commandline -t) ''
          else
              printf '%s\n' $line
          end
      end
  end
  """#
