"""Programs that look, reach or stay where they must not: files, network, other processes, the kernel, the next run."""

from __future__ import annotations

from tests.integration.attacks.attack import Attack, tries

_CALL = """
import ctypes
libc = ctypes.CDLL(None, use_errno=True)
def refused(number, *arguments):
    return libc.syscall(number, *arguments) == -1
"""


def _call(name: str, check: str, *, held_from: str = "landlock") -> Attack:
    """One system call, by number on x86-64: `check` is an expression that is true if it was refused."""
    return tries(name, _CALL + f'print("contained" if {check} else "it worked")', held_from=held_from)


def _read(name: str, *paths: str, held_from: str = "landlock") -> Attack:
    source = f"""
    import glob
    found = []
    for pattern in {list(paths)!r}:
        for path in glob.glob(pattern) or [pattern]:
            try:
                with open(path, "rb") as file:
                    if file.read(1):
                        found.append(path)
            except OSError:
                pass
    print("contained" if not found else found)
    """
    return tries(name, source, held_from=held_from)


def _socket(name: str, family: str, kind: str, *, held_from: str = "landlock") -> Attack:
    source = f"""
    import socket
    try:
        socket.socket({family}, {kind})
        print("a socket")
    except OSError:
        print("contained")
    """
    return tries(name, source, held_from=held_from)


READING: tuple[Attack, ...] = (
    tries(
        "what the service's environment holds",
        """
        import os
        extra = set(os.environ) - {"PATH", "LANG", "HOME", "TMPDIR", "PYTHONHASHSEED", "LC_ALL", "LC_CTYPE", "PWD"}
        print("contained" if not extra else sorted(extra))
        """,
    ),
    tries(
        "the environment of every process it can see",
        """
        import os
        try:
            names = os.listdir("/proc")
        except OSError:
            names = []
        found = []
        for name in names:
            if name.isdigit():
                try:
                    with open(f"/proc/{name}/environ", "rb") as file:
                        if b"PRORL" in file.read():
                            found.append(name)
                except OSError:
                    pass
        print("contained" if not found else found)
        """,
    ),
    _read("the password file", "/etc/shadow"),
    _read("the service's home and secrets", "/root/.*", "/root/*", "/run/secrets/*/*", "/var/run/secrets/*/*/*"),
    _read("the kernel's messages and memory", "/dev/kmsg", "/dev/mem", "/proc/kcore", "/proc/kallsyms-x"),
    tries(
        "folders of other runs",
        """
        import glob, os
        mine = os.getcwd()
        others = [path for path in glob.glob("/tmp/prorl*/*") if not os.path.realpath(path).startswith(mine)]
        readable = []
        for path in others:
            try:
                open(path, "rb").read(1)
                readable.append(path)
            except OSError:
                pass
        print("contained" if not readable else readable)
        """,
        held_from="landlock",
    ),
    tries(
        "the heap of the process it was copied from",
        """
        import re
        needle = re.compile(rb"PRORL_[A]CCEPTED_TOKEN")  # matches no copy of itself
        found = 0
        try:
            with open("/proc/self/maps") as maps, open("/proc/self/mem", "rb", 0) as memory:
                for line in maps:
                    region, rights = line.split()[:2]
                    if "rw" in rights and "[stack]" not in line:
                        start, end = (int(part, 16) for part in region.split("-"))
                        try:
                            memory.seek(start)
                            data = memory.read(min(end - start, 64 * 2**20))
                        except (OSError, ValueError, OverflowError):
                            continue
                        found += len(needle.findall(data))
        except OSError:
            pass
        print("contained" if found == 0 else f"{found} hits")
        """,
        memory_bytes=2**30,
    ),
    tries(
        "open descriptors",
        """
        import os
        open_ones = []
        for number in range(3, 1024):
            try:
                os.fstat(number)
                open_ones.append(number)
            except OSError:
                pass
        print("contained" if not open_ones else open_ones)
        """,
    ),
    tries(
        "the names of other processes",
        """
        import os
        try:
            names = os.listdir("/proc")
        except OSError:
            names = []
        seen = []
        for name in names:
            if name.isdigit() and int(name) != os.getpid():
                try:
                    with open(f"/proc/{name}/cmdline", "rb") as file:
                        if b"prorl" in file.read():
                            seen.append(name)
                except OSError:
                    pass
        print("contained" if not seen else seen)
        """,
        held_from="landlock",
    ),
)

WRITING: tuple[Attack, ...] = (
    tries(
        "the interpreter's own folders",
        """
        import os, sys, sysconfig
        made = []
        for folder in {sysconfig.get_path("stdlib"), sysconfig.get_path("purelib"), sys.prefix, "/usr/lib", "/etc"}:
            path = os.path.join(folder, "sitecustomize.py")
            try:
                with open(path, "w") as file:
                    file.write("raise SystemExit")
                made.append(path)
            except OSError:
                pass
        print("contained" if not made else made)
        """,
    ),
    tries(
        "a note for the next run, first half",
        """
        import os
        for folder in ("/tmp", "/var/tmp", "/dev/shm", os.path.expanduser("~"), "."):
            try:
                with open(os.path.join(folder, "note-for-the-next-run"), "w") as file:
                    file.write("answers")
            except OSError:
                pass
        print("contained")
        """,
        held_from="landlock",
    ),
    tries(
        "a note for the next run, second half",
        """
        import os
        places = ("/tmp", "/var/tmp", "/dev/shm", os.path.expanduser("~"), ".")
        found = [place for place in places if os.path.exists(os.path.join(place, "note-for-the-next-run"))]
        print("contained" if not found else found)
        """,
        held_from="landlock",
    ),
    tries(
        "a System V segment for the next run, first half",
        _CALL + 'libc.shmget(4711, 4096, 0o1666)\nprint("contained")',
        held_from="landlock",
    ),
    tries(
        "a System V segment for the next run, second half",
        _CALL + 'print("contained" if libc.shmget(4711, 4096, 0o666) == -1 else "found it")',
        held_from="landlock",
    ),
    tries(
        "a link out of the working folder",
        """
        import os
        os.symlink("/etc", "etc")
        try:
            open("etc/made-by-a-program", "w").close()
            print("made it")
        except OSError:
            print("contained")
        """,
    ),
)

NETWORK: tuple[Attack, ...] = (
    tries(
        "every port of this machine",
        """
        import socket
        try:
            found = []
            for port in range(1, 65536):
                with socket.socket() as probe:
                    probe.settimeout(0.05)
                    if probe.connect_ex(("127.0.0.1", port)) == 0:
                        found.append(port)
                        break
            print("contained" if not found else found)
        except OSError:
            print("contained")
        """,
        held_from="landlock",
        wall_seconds=20.0,
        cpu_seconds=20.0,
    ),
    tries(
        "the cloud's metadata service and a name server",
        """
        import socket
        reached = []
        for address in (("169.254.169.254", 80), ("8.8.8.8", 53)):
            try:
                socket.create_connection(address, timeout=1).close()
                reached.append(address)
            except OSError:
                pass
        print("contained" if not reached else reached)
        """,
        held_from="landlock",
    ),
    _socket("a socket of the internet", "socket.AF_INET", "socket.SOCK_STREAM"),
    _socket("a datagram of the internet", "socket.AF_INET6", "socket.SOCK_DGRAM"),
    _socket("a raw socket", "socket.AF_PACKET", "socket.SOCK_RAW"),
    _socket("a socket to the hypervisor", "socket.AF_VSOCK", "socket.SOCK_STREAM"),
    _socket("a socket to the kernel", "socket.AF_NETLINK", "socket.SOCK_RAW"),
    _socket("a socket of the kernel's cryptography", "socket.AF_ALG", "socket.SOCK_SEQPACKET"),
    tries(
        "an abstract socket of another process",
        """
        import socket
        try:
            names = [line.split()[-1] for line in open("/proc/net/unix") if "@" in line]
        except OSError:
            names = []
        reached = []
        for name in names:
            try:
                probe = socket.socket(socket.AF_UNIX)
                probe.connect("\\0" + name[1:])
                reached.append(name)
            except OSError:
                pass
        print("contained" if not reached else reached)
        """,
        held_from="landlock",
    ),
    tries(
        "a pair of sockets that can send to any other",
        """
        import socket
        made = []
        for kind in (socket.SOCK_DGRAM, socket.SOCK_RAW):
            try:
                socket.socketpair(socket.AF_UNIX, kind)
                made.append(kind)
            except OSError:
                pass
        socket.socketpair(), socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        print("contained" if not made else made)
        """,
        held_from="landlock",
    ),
    tries(
        "sending to a server that a child listens on",
        """
        import socket
        try:
            server = socket.socket()
            server.bind(("0.0.0.0", 0))
            server.listen()
            print("a listener")
        except OSError:
            print("contained")
        """,
        held_from="landlock",
    ),
)

PROCESSES: tuple[Attack, ...] = (
    tries(
        "signals to every process",
        """
        import os, signal
        hit = []
        for pid in [os.getppid(), *range(1, 400)]:
            if pid in (0, os.getpid(), os.getpgrp()):
                continue
            try:
                os.kill(pid, 0)
                hit.append(pid)
            except OSError:
                pass
        mine = {1} if os.getppid() == 0 or os.getpid() <= 2 else set()
        print("contained" if not set(hit) - mine else hit)
        """,
    ),
    tries(
        "a signal to everybody at once",
        """
        import os, signal
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        try:
            os.kill(-1, signal.SIGTERM)
        except OSError:
            pass
        print("contained")
        """,
    ),
    tries(
        "the parent's memory",
        _CALL
        + """
import os
buffer = ctypes.create_string_buffer(16)
class Piece(ctypes.Structure):
    _fields_ = [("base", ctypes.c_void_p), ("length", ctypes.c_size_t)]
mine = Piece(ctypes.addressof(buffer), 16)
theirs = Piece(0x400000, 16)
got = libc.syscall(310, os.getppid() or 1, ctypes.byref(mine), 1, ctypes.byref(theirs), 1, 0)
print("contained" if got == -1 else "read it")
""",
    ),
    _call("tracing the parent", "refused(101, 16, __import__('os').getppid() or 1, 0, 0)", held_from="process"),
    _call("a handle on the parent's descriptors", "refused(438, 3, 0, 0)", held_from="process"),
    tries(
        "files and descriptors of its neighbours",
        _CALL
        + """
import glob, os
taken = []
for path in glob.glob("/tmp/prorl-run-*/*"):
    if not os.path.realpath(path).startswith(os.getcwd()):
        try:
            open(path, "rb").read(1)
            taken.append(path)
        except OSError:
            pass
for pid in range(2, 1 << 15):
    if pid != os.getpid() and (handle := libc.syscall(434, pid, 0)) >= 0:
        taken += [f"{number} of {pid}" for number in range(8) if libc.syscall(438, handle, number, 0) >= 0]
        os.close(handle)
print("contained" if not taken else taken[:3])
""",
    ),
    tries(
        "an early end of what supervises it",
        """
        import os, signal
        try:
            os.kill(os.getppid(), signal.SIGKILL)
            print("contained" if os.getppid() == 0 else "killed it")
        except OSError:
            print("contained")
        """,
    ),
    tries(
        "the limits of other processes",
        """
        import os, resource
        mine = {0, os.getpid()} | ({1} if os.getpid() <= 2 else set())
        reached = []
        for pid in {os.getppid(), *range(1, 400), *range(os.getpid() - 60, os.getpid())} - mine:
            try:
                resource.prlimit(pid, resource.RLIMIT_NOFILE)
                reached.append(pid)
            except OSError:
                pass
        print("contained" if not reached else reached)
        """,
    ),
    tries(
        "the priority of other processes",
        """
        import os
        mine = {0, os.getpid()} | ({1} if os.getpid() <= 2 else set())
        reached = []
        for pid in {os.getppid(), *range(1, 400), *range(os.getpid() - 60, os.getpid())} - mine:
            try:
                os.setpriority(os.PRIO_PROCESS, pid, 19)
                reached.append(pid)
            except OSError:
                pass
        print("contained" if not reached else reached)
        """,
    ),
    tries(
        "the priority of everybody of this user",
        """
        import os
        try:
            os.setpriority(os.PRIO_USER, 0, 19)
            print("contained" if os.getppid() == 0 or os.getpid() <= 2 else "set")
        except OSError:
            print("contained")
        """,
        held_from="landlock",
    ),
    tries(
        "signals that a descriptor sends to another process",
        """
        import fcntl, os, struct
        near, far = os.pipe()
        done = []
        for command, argument in ((8, os.getppid()), (15, struct.pack("=ii", 1, os.getppid())), (10, 9)):
            try:
                fcntl.fcntl(near, command, argument)
                done.append(command)
            except OSError:
                pass
        print("contained" if not done or os.getppid() == 0 or os.getpid() <= 2 else done)
        """,
        held_from="landlock",
    ),
    tries(
        "real-time priority",
        """
        import os
        try:
            os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(50))
            print("real time")
        except OSError:
            print("contained")
        """,
    ),
    tries(
        "a higher priority",
        """
        import os
        try:
            os.nice(-10)
            print("nicer")
        except OSError:
            print("contained")
        """,
    ),
)

KERNEL: tuple[Attack, ...] = (
    _call("a user namespace of its own", "refused(272, 0x10000000)"),
    _call("a mount namespace of its own", "refused(272, 0x00020000)", held_from="process"),
    _call("a process in a user namespace", "refused(56, 0x10000000 | 17, 0, 0, 0, 0)"),
    _call("a mount", "refused(165, b'none', b'/tmp', b'tmpfs', 0, None)", held_from="process"),
    _call("another root", "refused(155, b'/', b'/')", held_from="process"),
    _call("a root of its own", "refused(161, b'/tmp')", held_from="process"),
    _call("a program in the kernel", "refused(321, 0, None, 0)", held_from="process"),
    _call("performance counters", "refused(298, None, 0, -1, -1, 0)", held_from="process"),
    _call("page faults handled in user space", "refused(323, 1)"),
    _call("asynchronous input and output", "refused(425, 8, ctypes.create_string_buffer(256))"),
    _call("a key for other runs", "refused(248, b'user', b'note', b'x', 1, -3)"),
    _call("another kernel", "refused(246, 0, 0, None, 0)", held_from="process"),
    _call("a kernel module", "refused(175, None, 0, b'')", held_from="process"),
    _call("a file by its handle", "refused(304, -100, ctypes.create_string_buffer(64), 0)", held_from="process"),
    _call("swap", "refused(167, b'/tmp/x', 0)", held_from="process"),
    _call("executable data by default", "refused(135, 0x0400000)"),
    _call("the clock", "refused(227, 0, ctypes.create_string_buffer(16))", held_from="process"),
    _call("the host's name", "refused(170, b'mine', 4)", held_from="process"),
    _call("the end of the machine", "refused(169, 0xfee1dead, 672274793, 0x89abcdef, None)", held_from="process"),
    tries(
        "system calls of 32-bit programs",
        """
        import ctypes, mmap, os
        if os.fork() == 0:
            code = b"\\xb8\\x14\\x00\\x00\\x00\\xcd\\x80\\xc3"  # getpid by int 0x80
            page = mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
            page.write(code)
            address = ctypes.addressof(ctypes.c_char.from_buffer(page))
            got = ctypes.CFUNCTYPE(ctypes.c_int)(address)()
            os._exit(0 if got == os.getpid() else 1)
        _, status = os.wait()
        print("contained" if status != 0 else "it worked")
        """,
        held_from="landlock",
    ),
    tries(
        "setuid programs",
        """
        import os, subprocess
        gained = False
        for path in ("/bin/su", "/usr/bin/su", "/bin/mount", "/usr/bin/sudo", "/usr/bin/passwd"):
            if os.path.exists(path):
                try:
                    words = [path, "-c", "id -u"]
                    done = subprocess.run(words, capture_output=True, timeout=2, stdin=subprocess.DEVNULL)
                    gained |= done.stdout.strip() == b"0"
                except (OSError, subprocess.TimeoutExpired):
                    pass
        print("contained" if not gained and os.geteuid() != 0 else "root")
        """,
    ),
    tries(
        "a terminal to type into",
        """
        import fcntl, os, termios
        typed = False
        for path in ("/dev/tty", "/dev/console", "/dev/pts/0"):
            try:
                with open(path, "wb", 0) as terminal:
                    fcntl.ioctl(terminal, termios.TIOCSTI, b"x")
                    typed = True
            except OSError:
                pass
        print("contained" if not typed else "typed")
        """,
    ),
    tries(
        "a device of its own",
        """
        import os, stat
        try:
            os.mknod("disk", 0o600 | stat.S_IFBLK, os.makedev(8, 0))
            print("a device")
        except OSError:
            print("contained")
        """,
    ),
    tries(
        "capabilities",
        """
        def held():
            for line in open("/proc/self/status"):
                if line.startswith(("CapEff", "CapPrm", "CapAmb")) and int(line.split()[1], 16):
                    return True
            return False
        try:
            print("contained" if not held() else "capabilities")
        except OSError:
            print("contained")
        """,
    ),
)

ATTACKS = (*READING, *WRITING, *NETWORK, *PROCESSES, *KERNEL)
