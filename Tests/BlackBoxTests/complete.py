"""Types command lines into an interactive shell, with Tab keys in them, and runs them.

complete.py SHELL DIRECTORY reads a line for each command from standard input, in which <TAB> is a Tab key. The shell
runs in DIRECTORY; DIRECTORY/bin is the first directory of its PATH. What the terminal showed goes to standard output.
"""

import os
import pty
import select
import sys
import time

shell, directory = sys.argv[1:]
starts = {
    "bash": (["bash", "--norc", "--noprofile", "-i"], "source <(treering --generate-completion-script bash)"),
    "zsh": (
        ["zsh", "-f", "-i"],
        "mkdir -p zfunc; treering --generate-completion-script zsh >zfunc/_treering; fpath=($PWD/zfunc $fpath); "
        "autoload -U compinit; compinit -u -D; unsetopt beep",
    ),
    "fish": (
        ["fish", "--no-config", "-i"],
        "set -g fish_autosuggestion_enabled 0; treering --generate-completion-script fish | source",
    ),
}
arguments, load = starts[shell]
shown = b""


def wait(terminal, marker):
    global shown
    start = len(shown)
    deadline = time.monotonic() + 60
    while marker not in shown[start:]:
        if time.monotonic() > deadline:
            sys.stdout.buffer.write(shown)
            sys.exit("the shell did not answer: " + marker.decode())
        if select.select([terminal], [], [], 0.2)[0]:
            shown += os.read(terminal, 65536)


child, terminal = pty.fork()
if child == 0:
    os.chdir(directory)
    os.environ.update(
        TERM="xterm", HOME=directory, PS1="$ ", LC_ALL="C.UTF-8", HISTFILE="",
        PATH=os.path.join(directory, "bin") + ":" + os.environ["PATH"])
    os.execvp(arguments[0], arguments)

# A marker is typed in two parts, so that the echo of the typing is none.
number = 0
lines = [load.encode()] + sys.stdin.buffer.read().splitlines()
for line in lines:
    number += 1
    os.write(terminal, line.replace(b"<TAB>", b"\t") + b"\r" + b"echo mark''er%d\r" % number)
    wait(terminal, b"marker%d" % number)
os.write(terminal, b"exit\r")
sys.stdout.buffer.write(shown)
