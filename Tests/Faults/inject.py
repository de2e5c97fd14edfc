"""Make one system call of a program fail, or kill the program at it.

The kernel stops the program at every watched call and asks this process for a decision (seccomp user notification,
seccomp_unotify(2)). One count covers all threads and all children, so that a number names one place in a run.
"""
import ctypes
import errno
import fcntl
import mmap
import os
import select
import signal
import struct
import tempfile
import time
from dataclasses import dataclass, field

# The numbers of x86-64, from <asm/unistd_64.h>. getrandom(2) is missing: it does not fail, and run-time libraries rely on that.
CALLS = dict(
    read=0, write=1, poll=7, lseek=8, pread64=17, pwrite64=18, ioctl=16, access=21, sendto=44, recvfrom=45, socketpair=53,
    flock=73, fsync=74, fdatasync=75, ftruncate=77, readlink=89, fchmod=91, fchown=93, fstatfs=138, setxattr=188,
    lsetxattr=189, fsetxattr=190, getxattr=191, lgetxattr=192, fgetxattr=193, listxattr=194, llistxattr=195, flistxattr=196,
    lremovexattr=198, fremovexattr=199, getdents64=217, openat=257, mkdirat=258, mknodat=259, fchownat=260, newfstatat=262,
    unlinkat=263, renameat=264, linkat=265, symlinkat=266, readlinkat=267, fchmodat=268, utimensat=280, fallocate=285,
    pipe2=293, syncfs=306, renameat2=316, copy_file_range=326, statx=332)
NAMES = {number: name for name, number in CALLS.items()}
ERRORS = ["EIO", "ENOSPC", "EDQUOT", "EMFILE", "ENOMEM", "EMLINK", "ESTALE", "EINTR"]

SECCOMP, PIDFD_GETFD = 317, 438
NOTIFICATION_RECEIVE, NOTIFICATION_SEND = 0xC0502100, 0xC0182101
ALLOW, NOTIFY = 0x7FFF0000, 0x7FC00000
LIBC = ctypes.CDLL(None, use_errno=True)


@dataclass(frozen=True)
class Fault:
    """The call number `place`, counted from 1, fails with `error`; without an error its process is killed at it.

    With `onward` every later watched call fails too.
    """

    place: int
    error: str | None = None
    onward: bool = False

    def __str__(self):
        return f"{self.place}:{self.error or 'KILL'}{'+' if self.onward else ''}"

    @staticmethod
    def parse(text):
        place, error = text.split(":")
        onward = error.endswith("+")
        error = error.rstrip("+")
        return Fault(int(place), None if error == "KILL" else error, onward)


@dataclass
class Outcome:
    """The end of a run: `status` is negative for a signal; `calls` and `hit` describe system calls in words."""

    status: int = 0
    output: bytes = b""
    errors: bytes = b""
    hung: bool = False
    calls: list = field(default_factory=list)
    hit: str = ""

    @property
    def text(self):
        return self.errors.decode(errors="replace")


class _Instruction(ctypes.Structure):
    _fields_ = [("code", ctypes.c_ushort), ("if_true", ctypes.c_ubyte), ("if_false", ctypes.c_ubyte), ("k", ctypes.c_uint)]


class _Filter(ctypes.Structure):
    _fields_ = [("length", ctypes.c_ushort), ("code", ctypes.POINTER(_Instruction))]


def _filter():
    """The program that asks about the watched calls and allows all others."""
    code = [_Instruction(0x20, 0, 0, 0)]
    for index, number in enumerate(CALLS.values()):
        code.append(_Instruction(0x15, len(CALLS) - index, 0, number))
    code += [_Instruction(6, 0, 0, ALLOW), _Instruction(6, 0, 0, NOTIFY)]
    array = (_Instruction * len(code))(*code)
    return _Filter(len(code), array)


class _Loaders:
    """Where the dynamic loader lies in each thread's memory: its calls come before the program and do not count."""

    def __init__(self):
        self._maps = {}

    def made(self, thread, address):
        if not any(start <= address < end for start, end, _ in self._maps.get(thread, ())):
            self._maps[thread] = self._read(thread)
        return any(start <= address < end and loader for start, end, loader in self._maps[thread])

    @staticmethod
    def _read(thread):
        spans = []
        try:
            with open(f"/proc/{thread}/maps") as lines:
                for line in lines:
                    words = line.split()
                    if "x" in words[1]:
                        start, end = (int(word, 16) for word in words[0].split("-"))
                        spans.append((start, end, "ld-linux" in words[-1]))
        except OSError:
            pass
        return spans


def _string(thread, address):
    try:
        with open(f"/proc/{thread}/mem", "rb", 0) as memory:
            return os.pread(memory.fileno(), 300, address).split(b"\0")[0].decode(errors="backslashreplace")
    except (OSError, OverflowError):
        return "?"


def _descriptor(thread, number):
    number &= 0xFFFFFFFF
    if number == 0xFFFFFF9C:
        return "."
    try:
        return os.readlink(f"/proc/{thread}/fd/{number}")
    except OSError:
        return f"descriptor {number}"


_RELATIVE = {
    "openat", "mkdirat", "mknodat", "unlinkat", "newfstatat", "statx", "fchownat", "utimensat", "readlinkat", "fchmodat"}
_ABSOLUTE = {
    "getxattr", "lgetxattr", "setxattr", "lsetxattr", "listxattr", "llistxattr", "lremovexattr", "readlink", "access"}
_PAIRS = {"linkat", "renameat", "renameat2"}
_PATHLESS = {"poll", "socketpair", "pipe2"}


def _describe(thread, name, a):
    if name in _RELATIVE:
        return f"{name} {_descriptor(thread, a[0])}/{_string(thread, a[1]) if a[1] else ''}"
    if name in _PAIRS:
        return (f"{name} {_descriptor(thread, a[0])}/{_string(thread, a[1])}"
                f" -> {_descriptor(thread, a[2])}/{_string(thread, a[3])}")
    if name == "symlinkat":
        return f"{name} {_string(thread, a[0])} <- {_descriptor(thread, a[1])}/{_string(thread, a[2])}"
    if name in _ABSOLUTE:
        return f"{name} {_string(thread, a[0])}"
    return name if name in _PATHLESS else f"{name} {_descriptor(thread, a[0])}"


class _Run:
    def __init__(self, fault, record):
        self.fault, self.record = fault, record
        self.outcome = Outcome()
        self.count = 0
        self.loaders = _Loaders()

    def start(self, argv, environment, output, errors):
        """Start the program behind the filter; the listener comes back through a shared page."""
        page = mmap.mmap(-1, 4096)
        program = _filter()
        self.pid = os.fork()
        if self.pid == 0:
            try:
                os.setsid()
                os.dup2(os.open("/dev/null", os.O_RDONLY), 0)
                os.dup2(output.fileno(), 1)
                os.dup2(errors.fileno(), 2)
                listener = LIBC.syscall(SECCOMP, 1, 1 << 3, ctypes.byref(program))
                struct.pack_into("i", page, 0, listener + 1 if listener >= 0 else -1)
                while not page[8]:
                    LIBC.usleep(50)
                os.execve(argv[0], argv, environment)
            finally:
                os._exit(126)
        self.process = os.pidfd_open(self.pid)
        while not (found := struct.unpack_from("i", page, 0)[0]):
            time.sleep(0.0001)
        if found < 0:
            raise RuntimeError("seccomp user notification is refused here: run this as root")
        self.listener = LIBC.syscall(PIDFD_GETFD, self.process, found - 1, 0)
        page[8] = 1

    def _decide(self, thread, number, address, arguments):
        """0 to let the call happen, an error number, or -1 for the end of its process."""
        if self.loaders.made(thread, address):
            return 0
        self.count += 1
        name = NAMES[number]
        if self.record:
            self.outcome.calls.append(_describe(thread, name, arguments))
        fault = self.fault
        if fault is None or self.count < fault.place or self.count > fault.place and not fault.onward:
            return 0
        if not self.outcome.hit:
            self.outcome.hit = _describe(thread, name, arguments)
        return getattr(errno, fault.error) if fault.error else -1

    def answer(self):
        question = bytearray(80)
        try:
            fcntl.ioctl(self.listener, NOTIFICATION_RECEIVE, question)
        except OSError:
            return
        identifier, thread, _, number, _, address = struct.unpack_from("=QIIiIQ", question, 0)
        decision = self._decide(thread, number, address, struct.unpack_from("=6Q", question, 32))
        if decision < 0:
            _kill_process(thread)
            return
        reply = struct.pack("=QqiI", identifier, 0, -decision, 0 if decision else 1)
        try:
            fcntl.ioctl(self.listener, NOTIFICATION_SEND, bytearray(reply))
        except OSError:
            pass

    def serve(self, seconds):
        """Answer until the program and all its children have ended; False if they did not in time."""
        deadline = time.monotonic() + seconds
        poll = select.poll()
        poll.register(self.listener, select.POLLIN)
        while True:
            for _, event in poll.poll(1000):
                if event & select.POLLIN:
                    self.answer()
                elif event & select.POLLHUP:
                    return True
            if time.monotonic() > deadline:
                os.killpg(self.pid, signal.SIGKILL)
                return False


def _kill_process(thread):
    try:
        with open(f"/proc/{thread}/status") as lines:
            process = next(int(line.split()[1]) for line in lines if line.startswith("Tgid:"))
        os.kill(process, signal.SIGKILL)
    except (OSError, StopIteration):
        pass


def run(argv, environment, fault=None, record=False, seconds=60):
    """Run a program to its end, its children included, with at most one fault; `record` keeps all its calls."""
    it = _Run(fault, record)
    with tempfile.TemporaryFile() as output, tempfile.TemporaryFile() as errors:
        it.start(argv, environment, output, errors)
        it.outcome.hung = not it.serve(seconds)
        _, status = os.waitpid(it.pid, 0)
        it.outcome.status = os.waitstatus_to_exitcode(status)
        for file, name in ((output, "output"), (errors, "errors")):
            file.seek(0)
            setattr(it.outcome, name, file.read())
    os.close(it.listener)
    os.close(it.process)
    return it.outcome
