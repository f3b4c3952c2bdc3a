"""Attacks on oneself: small programs that try what a level must prevent, and what to look at afterwards.

A level is what withstands, not what a version number promises. An attack prints `open` if it got through; where what
it did can be seen from outside, that is looked at instead. Adding an attack is adding an entry to `ATTACKS`.
"""

from __future__ import annotations

import builtins
import contextlib
import os
import secrets
import select
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from prorl_api.wire.sandbox import ExecutionLimits
from prorl_reward_sandbox.execution.isolation import RawOutcome

LIMITS = ExecutionLimits(
    wall_seconds=20.0, cpu_seconds=10.0, memory_bytes=64 * 2**20, processes=12, output_bytes=4096, file_bytes=2**20
)
"""Of each attack."""
# A container's first process is number 1, and so is a program in a pid namespace of its own: the number means itself.
_ELSEWHERE = "import os\nif SERVICE == os.getpid(): raise SystemExit\n"
_LIBC = "import ctypes; libc = ctypes.CDLL(None, use_errno=True)\n"


class Threat(StrEnum):
    """What an attack tries; the value is for people."""

    READ_OUTSIDE = "read files outside the system's own"
    WRITE_OUTSIDE = "write outside its folder"
    NETWORK = "connect to a port"
    ABSTRACT_SOCKET = "connect to an abstract socket"
    DATAGRAM = "send a datagram to a socket"
    SIGNAL = "signal the service"
    SIGNAL_BY_DESCRIPTOR = "have a descriptor signal the service"
    LIMITS = "set the service's limits"
    PRIORITY = "set the service's priority"
    SERVICE_MEMORY = "read the service's memory"
    TRACE = "trace the service"
    SEE_PROCESSES = "see other processes"
    LEFTOVER_PROCESS = "leave a process behind"
    LEFTOVER_NOTE = "leave a note in shared memory"
    MEMORY = "use more memory by having several processes"
    PROCESSES = "have more processes than allowed"
    DESCRIPTORS = "find an inherited descriptor"
    NAMESPACE = "make a namespace"
    PRIVILEGES = "become root"
    NEIGHBOUR = "read what another program has"


@dataclass(frozen=True, slots=True, kw_only=True)
class Bait:
    """What attacks go for.

    Attributes:
        folder: Anybody may read and write there; it holds a file `secret`.
        neighbour: Holds the text `private` in a file and behind a descriptor, as another program of the same user may.
        mark: The name that a process left behind gives itself.
        key: Of shared memory.
    """

    folder: str
    listener: socket.socket
    abstract: socket.socket
    mailbox: socket.socket
    neighbour: Neighbour
    secret: str = field(default_factory=lambda: secrets.token_hex(16))
    mark: str = field(default_factory=lambda: secrets.token_hex(7))
    key: int = field(default_factory=lambda: secrets.randbelow(2**30) + 1)

    @property
    def values(self) -> Mapping[str, object]:
        """What attacks are told, by the names that they use."""
        return {
            "FOLDER": self.folder,
            "PORT": self.listener.getsockname()[1],
            "ABSTRACT": self.abstract.getsockname(),
            "MAILBOX": self.mailbox.getsockname(),
            "SERVICE": os.getpid(),
            "MARK": self.mark,
            "KEY": self.key,
            "LIMIT": LIMITS.processes,
            "PRIVATE": self.neighbour.file,
            "NEIGHBOUR": self.neighbour.process.pid,
            "DESCRIPTOR": self.neighbour.descriptor,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Neighbour:
    """A process of this user that waits, with a file and a descriptor of its own."""

    file: str
    descriptor: int
    private: str
    process: subprocess.Popen[bytes]


@contextlib.contextmanager
def _moved_in(folder: str) -> Iterator[Neighbour]:
    private = secrets.token_hex(16)
    path = os.path.join(folder, "tests.py")
    with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="ascii") as file:
        file.write(private)
    descriptor = os.open(path, os.O_RDONLY)
    # Not this interpreter, whose start takes ten times as long.
    process = subprocess.Popen(["/bin/cat"], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, pass_fds=[descriptor])
    try:
        yield Neighbour(file=path, descriptor=descriptor, private=private, process=process)
    finally:
        process.kill()
        process.communicate()
        os.close(descriptor)


@contextlib.contextmanager
def laid_bait() -> Iterator[Bait]:
    """Lay bait out, and take it away."""
    folder = tempfile.mkdtemp(prefix="prorl-bait-")
    own = tempfile.mkdtemp(prefix="prorl-bait-")
    try:
        with (
            socket.socket() as listener,
            socket.socket(socket.AF_UNIX) as abstract,
            socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as mailbox,
            _moved_in(own) as neighbour,
        ):
            listener.bind(("127.0.0.1", 0))
            abstract.bind(f"\0prorl-bait-{secrets.token_hex(8)}")
            mailbox.bind(f"\0prorl-bait-{secrets.token_hex(8)}")
            for each in (listener, abstract):
                each.listen()
            bait = Bait(folder=folder, listener=listener, abstract=abstract, mailbox=mailbox, neighbour=neighbour)
            with open(os.path.join(folder, "secret"), "w", encoding="ascii") as file:
                file.write(bait.secret)
            os.chmod(os.path.join(folder, "secret"), 0o644)
            os.chmod(folder, 0o777)  # noqa: S103  (nothing but the level may stop an attack)
            yield bait
    finally:
        for path in (folder, own):
            shutil.rmtree(path, ignore_errors=True)


Sight = Callable[[Bait, bytes], str]
"""From the bait and the attack's output to what got through; empty if nothing did."""


def _said(_: Bait, stdout: bytes) -> str:
    lines = stdout.decode(errors="replace").splitlines()
    return next((line.removeprefix("open").strip(": ") or "it did" for line in lines if line.startswith("open")), "")


def _secret_is_out(bait: Bait, stdout: bytes) -> str:
    return "a file that any user may read" if bait.secret.encode() in stdout else ""


def _neighbour_is_out(bait: Bait, stdout: bytes) -> str:
    return "its file or its descriptor" if bait.neighbour.private.encode() in stdout else ""


def _file_appeared(bait: Bait, _: bytes) -> str:
    return "a file in a folder that any user may write to" if len(os.listdir(bait.folder)) > 1 else ""


def _connection_came(bait: Bait, stdout: bytes) -> str:
    came = any(select.select([each], [], [], 0)[0] for each in (bait.listener, bait.abstract))
    return "a connection arrived" if came else _said(bait, stdout)


def _datagram_came(bait: Bait, stdout: bytes) -> str:
    return "a datagram arrived" if select.select([bait.mailbox], [], [], 0)[0] else _said(bait, stdout)


def _process_is_left(bait: Bait, _: bytes) -> str:
    for name in os.listdir("/proc"):
        with contextlib.suppress(OSError):
            if name.isdigit():
                with open(f"/proc/{name}/comm", encoding="utf-8", errors="replace") as file:
                    if file.read().strip() == bait.mark:
                        return f"process {name} lives on"
    return ""


def took_place(outcome: RawOutcome) -> bool:
    """Tell whether an attack ran into a wall, or through, and not into a mistake of its own."""
    if outcome.exit_code in (0, None):
        return True
    last = outcome.stderr.strip().rsplit(b"\n", 1)[-1].decode(errors="replace")
    error = getattr(builtins, last.partition(":")[0], None)
    return isinstance(error, type) and issubclass(error, OSError | MemoryError)


@dataclass(frozen=True, slots=True, kw_only=True)
class Attack:
    """One attempt.

    Attributes:
        steps: Programs, run one after the other; all but the last may prepare.
        sight: What shows whether it got through.
    """

    threat: Threat
    steps: tuple[str, ...]
    sight: Sight = _said

    def sources(self, bait: Bait) -> tuple[str, ...]:
        """Return the programs, told what to go for."""
        told = "".join(f"{name} = {value!r}\n" for name, value in bait.values.items())
        return tuple(told + step for step in self.steps)


_DAEMON = (
    _LIBC
    + """
import os, time
ends = os.pipe()
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        libc.prctl(15, MARK.encode(), 0, 0, 0)
        for descriptor in range(3): os.close(descriptor)
        os.write(ends[1], b"x")
        time.sleep(3600)
    os._exit(0)
os.read(ends[0], 1)
"""
)
_MANY_PROCESSES = """
import os, time
count = 1
try:
    while count <= 2 * LIMIT:
        if os.fork() == 0: time.sleep(3600)
        count += 1
except OSError: pass
# Where the user is shared the limit is counted from a moment's number of other processes: it is not exact.
print(f"open: {count} processes" if count > 1.5 * LIMIT else "stopped")
"""
_MUCH_MEMORY = """
import os, time
ends = os.pipe()
for _ in range(6):
    if os.fork() == 0:
        kept = b"x" * (24 << 20)
        os.write(ends[1], b"x")
        time.sleep(3600)
held, before = 0, time.monotonic()
os.set_blocking(ends[0], False)
while held < 6 and time.monotonic() < before + 2:
    try: held += len(os.read(ends[0], 6))
    except BlockingIOError: time.sleep(0.002)
    try: stopped = os.waitpid(-1, os.WNOHANG)[0]
    except ChildProcessError: break
    if stopped: break
print("open: 144 MiB with a limit of 64 MiB" if held == 6 else "stopped")
"""
_TRACE = """
if libc.ptrace(0x4206, SERVICE, None, None) == 0: print("open: seized")
"""
_NEIGHBOUR = """
import os
try: print(open(PRIVATE).read())
except OSError: pass
handle = libc.syscall(434, NEIGHBOUR, 0)
taken = libc.syscall(438, handle, DESCRIPTOR, 0) if handle >= 0 else -1
if taken >= 0: print(os.pread(taken, 100, 0).decode())
for entry in (f"/proc/{NEIGHBOUR}/fd/{DESCRIPTOR}", f"/proc/{NEIGHBOUR}/cwd/{PRIVATE}"):
    try: print(open(entry).read())
    except OSError: pass
"""
_CONNECT = """
import socket
with socket.socket(FAMILY) as near:
    near.settimeout(2)
    near.connect(ADDRESS)
"""

ATTACKS: tuple[Attack, ...] = (
    Attack(threat=Threat.READ_OUTSIDE, steps=("print(open(FOLDER + '/secret').read())",), sight=_secret_is_out),
    Attack(threat=Threat.WRITE_OUTSIDE, steps=("open(FOLDER + '/note', 'w').close()",), sight=_file_appeared),
    Attack(
        threat=Threat.NETWORK,
        steps=(_CONNECT.replace("FAMILY", "socket.AF_INET").replace("ADDRESS", "('127.0.0.1', PORT)"),),
        sight=_connection_came,
    ),
    Attack(
        threat=Threat.ABSTRACT_SOCKET,
        steps=(_CONNECT.replace("FAMILY", "socket.AF_UNIX").replace("ADDRESS", "ABSTRACT"),),
        sight=_connection_came,
    ),
    Attack(
        threat=Threat.DATAGRAM,
        steps=(
            "import socket\nnear, far = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)\n"
            "near.sendto(b'note', MAILBOX)",
        ),
        sight=_datagram_came,
    ),
    Attack(
        threat=Threat.SIGNAL_BY_DESCRIPTOR,
        steps=(
            _ELSEWHERE + "import fcntl, struct\nnear, far = os.pipe()\n"
            "fcntl.fcntl(near, 15, struct.pack('=ii', 1, SERVICE)); print('open: F_SETOWN_EX')",
        ),
    ),
    Attack(
        threat=Threat.LIMITS,
        steps=(
            _ELSEWHERE + "import resource\nkind = resource.RLIMIT_CORE\n"
            "resource.prlimit(SERVICE, kind, resource.prlimit(SERVICE, kind)); print('open: prlimit')",
        ),
    ),
    Attack(
        threat=Threat.PRIORITY,
        steps=(
            _ELSEWHERE + "os.setpriority(os.PRIO_PROCESS, SERVICE, os.getpriority(os.PRIO_PROCESS, SERVICE))\n"
            "print('open: setpriority')",
        ),
    ),
    Attack(threat=Threat.SIGNAL, steps=(_ELSEWHERE + "os.kill(SERVICE, 0); print('open: signal 0')",)),
    Attack(
        threat=Threat.SERVICE_MEMORY, steps=(_ELSEWHERE + "open(f'/proc/{SERVICE}/mem', 'rb'); print('open: /proc')",)
    ),
    Attack(threat=Threat.TRACE, steps=(_LIBC + _TRACE,)),
    Attack(
        threat=Threat.SEE_PROCESSES,
        steps=(
            "import os; others = [n for n in os.listdir('/proc') if n.isdigit() and int(n) != os.getpid()]\n"
            "if others: print(f'open: {len(others)} of them')",
        ),
    ),
    Attack(threat=Threat.LEFTOVER_PROCESS, steps=(_DAEMON,), sight=_process_is_left),
    Attack(
        threat=Threat.LEFTOVER_NOTE,
        steps=(
            _LIBC + "libc.shmget(KEY, 4096, 0o1666)",
            _LIBC + "note = libc.shmget(KEY, 4096, 0)\nif note >= 0: libc.shmctl(note, 0, None); print('open: found')",
        ),
    ),
    Attack(threat=Threat.MEMORY, steps=(_MUCH_MEMORY,)),
    Attack(threat=Threat.PROCESSES, steps=(_MANY_PROCESSES,)),
    Attack(
        threat=Threat.DESCRIPTORS,
        steps=(
            "import os\nfor number in range(3, 1024):\n  try: os.fstat(number)\n  except OSError: continue\n"
            "  print(f'open: {number}')",
        ),
    ),
    Attack(
        threat=Threat.NAMESPACE, steps=(_LIBC + "if libc.unshare(0x10000000) == 0: print('open: a user namespace')",)
    ),
    Attack(
        threat=Threat.PRIVILEGES,
        steps=(
            _LIBC + "import os\nif os.getuid() == 0 or libc.setuid(0) == 0: print('open: user 0')\n"
            "if libc.prctl(39, 0, 0, 0, 0) != 1: print('open: new privileges allowed')",
        ),
    ),
    Attack(threat=Threat.NEIGHBOUR, steps=(_LIBC + _NEIGHBOUR,), sight=_neighbour_is_out),
)
