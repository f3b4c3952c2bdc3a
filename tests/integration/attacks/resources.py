"""Programs that take all there is: processes, memory, disk, output, time."""

from __future__ import annotations

from typing import Any

from prorl_api.wire.sandbox import Verdict
from tests.integration.attacks.attack import Attack, ends, tries

_QUICK: dict[str, Any] = {"wall_seconds": 3.0, "cpu_seconds": 1.0}
_BUSY: dict[str, Any] = {"wall_seconds": 30.0, "cpu_seconds": 1.0}
"""Ends by its CPU time, also where the machine has other things to do."""
_MEMORY = 256 * 2**20

PROCESSES: tuple[Attack, ...] = (
    ends(
        "fork bomb",
        """
        import os
        while True:
            os.fork()
        """,
        Verdict.PIDS,
        Verdict.RUNTIME_ERROR,
        Verdict.TIMEOUT_CPU,
        Verdict.TIMEOUT_WALL,
        **_QUICK,
    ),
    ends(
        "fork bomb that goes on when it is refused",
        """
        import os
        while True:
            try:
                os.fork()
            except OSError:
                pass
        """,
        Verdict.TIMEOUT_CPU,
        Verdict.TIMEOUT_WALL,
        **_QUICK,
    ),
    ends(
        "a crowd of busy processes, each in a session of its own",
        """
        import os
        for _ in range(30):
            try:
                if os.fork() == 0:
                    os.setsid()
                    break
            except OSError:
                break
        while True:
            pass
        """,
        Verdict.TIMEOUT_CPU,
        Verdict.TIMEOUT_WALL,
        **_QUICK,
    ),
    ends(
        "fork bomb in C",
        """
        #include <unistd.h>
        int main(void) { for (;;) fork(); }
        """,
        Verdict.TIMEOUT_CPU,
        Verdict.TIMEOUT_WALL,
        language="c",
        **_QUICK,
    ),
    ends(
        "thread bomb",
        """
        import threading, time
        while True:
            threading.Thread(target=time.sleep, args=(100,)).start()
        """,
        Verdict.PIDS,
        Verdict.MEMORY,
        Verdict.RUNTIME_ERROR,
        Verdict.TIMEOUT_WALL,
        **_QUICK,
    ),
    tries(
        "more processes than allowed",
        """
        import os, time
        alive = 0
        try:
            while alive < 100:
                if os.fork() == 0:
                    time.sleep(100)
                alive += 1
        except OSError:
            pass
        print("contained" if alive < 40 else f"{alive} processes")
        """,
    ),
    tries(
        "ten thousand zombies",
        """
        import os
        made = 0
        for _ in range(3000):
            try:
                if os.fork() == 0:
                    os._exit(0)
                made += 1
            except OSError:
                break
        print("contained" if made < 40 else f"{made} zombies")
        """,
    ),
    tries(
        "a daemon that holds standard output open",
        """
        import os, time
        if os.fork() == 0:
            os.setsid()
            if os.fork() == 0:
                time.sleep(1000)
            os._exit(0)
        print("contained")
        """,
        wall_seconds=4.0,
    ),
    tries(
        "an orphan in a session of its own that ignores every signal",
        """
        import os, signal, time
        if os.fork() == 0:
            os.setsid()
            for number in range(1, 32):
                try:
                    signal.signal(number, signal.SIG_IGN)
                except (OSError, ValueError):
                    pass
            os.close(0), os.close(1), os.close(2)
            while True:
                time.sleep(1)
        print("contained")
        """,
        wall_seconds=4.0,
    ),
)

MEMORY: tuple[Attack, ...] = (
    ends("64 GiB at once", "data = bytearray(64 * 2**30)\n", Verdict.MEMORY),
    ends(
        "memory touched page by page",
        """
        kept = []
        while True:
            kept.append(bytearray(2**20))
        """,
        Verdict.MEMORY,
        memory_bytes=_MEMORY,
        wall_seconds=8.0,
    ),
    ends(
        "memory that is refused, asked for again and again",
        """
        kept = []
        while True:
            try:
                kept.append(bytearray(2**20))
            except MemoryError:
                pass
        """,
        Verdict.MEMORY,
        Verdict.TIMEOUT_CPU,
        Verdict.TIMEOUT_WALL,
        memory_bytes=_MEMORY,
        **_QUICK,
    ),
    ends(
        "memory split over sixteen processes",
        """
        import os, time
        for _ in range(16):
            if os.fork() == 0:
                data = bytearray(48 * 2**20)
                for i in range(0, len(data), 4096):
                    data[i] = 1
                time.sleep(2)
                os._exit(0)
        failed = 0
        for _ in range(16):
            _, status = os.wait()
            failed += status != 0
        print("held 768 MiB" if not failed else "contained")
        raise SystemExit(1 if failed else 0)
        """,
        Verdict.MEMORY,
        Verdict.RUNTIME_ERROR,
        held_from="namespaces",
        memory_bytes=_MEMORY,
    ),
    ends(
        "memory in a file",
        """
        import os
        made = 0
        with open("fill", "wb") as file:
            while True:
                file.write(b"x" * 2**20)
                file.flush()
                made += 1
        """,
        Verdict.RUNTIME_ERROR,
        Verdict.OUTPUT,
        Verdict.MEMORY,
    ),
    ends("recursion without end", "def f():\n    return f()\nf()\n", Verdict.RUNTIME_ERROR),
    ends(
        "recursion past every limit of the interpreter",
        """
        import sys
        sys.setrecursionlimit(10**9)
        def f(x):
            return repr(x) if x is None else [f([x])]
        class Deep:
            def __repr__(self):
                return repr(self)
        repr(Deep())
        """,
        Verdict.RUNTIME_ERROR,
        Verdict.MEMORY,
        wall_seconds=8.0,
    ),
    ends(
        "a stack that overflows in C",
        """
        #include <string.h>
        int deeper(volatile char *before) {
            char here[65536];
            memset(here, 1, sizeof here);
            return deeper(here) + before[0];
        }
        int main(void) { char first[1] = {0}; return deeper(first); }
        """,
        Verdict.RUNTIME_ERROR,
        language="c",
    ),
)

DISK: tuple[Attack, ...] = (
    tries(
        "the working folder exchanged for a link",
        """
        import os
        here = os.getcwd()
        try:
            os.rename(here, here + "-elsewhere")
            os.symlink("/etc", here)
            print("exchanged")
        except OSError:
            print("contained")
        """,
    ),
    tries(
        "folders three thousand deep, the last without permissions",
        """
        import os
        try:
            for _ in range(3000):
                os.mkdir("d")
                os.chdir("d")
            os.chmod(".", 0)
        except OSError:
            pass
        print("contained")
        """,
        wall_seconds=20.0,
        cpu_seconds=15.0,
    ),
    tries(
        "folders and files whose owner may do nothing with them",
        """
        import os
        os.makedirs("a/b/c")
        for name in ("a/b/c/file", "a/file"):
            open(name, "w").close()
            os.chmod(name, 0)
        for name in ("a/b/c", "a/b", "a", "."):
            os.chmod(name, 0)
        print("contained")
        """,
    ),
    tries(
        "ten gigabytes in the temporary folder",
        """
        import os, tempfile
        written = 0
        try:
            for number in range(1000):
                with open(os.path.join(tempfile.gettempdir(), f"fill-{number}"), "wb") as file:
                    for _ in range(10):
                        written += file.write(b"x" * 2**20)
                        file.flush()
        except OSError:
            pass
        print("contained" if written < 2**30 else f"{written} bytes")
        """,
        held_from="namespaces",
    ),
    tries(
        "a sparse file of a terabyte",
        """
        import signal
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        try:
            with open("sparse", "wb") as file:
                file.truncate(2**40)
            print("made it")
        except OSError:
            print("contained")
        """,
    ),
    tries(
        "a million empty files",
        """
        made = 0
        try:
            for number in range(1_000_000):
                open(f"f{number}", "wb").close()
                made += 1
        except OSError:
            pass
        print("contained" if made < 100_000 else f"{made} files")
        """,
        held_from="namespaces",
        wall_seconds=20.0,
        cpu_seconds=20.0,
    ),
    tries(
        "shared memory filled",
        """
        written = 0
        try:
            with open("/dev/shm/fill", "wb") as file:
                for _ in range(4096):
                    written += file.write(b"x" * 2**20)
                    file.flush()
        except OSError:
            pass
        print("contained" if written < 2**29 else f"{written} bytes")
        """,
        held_from="landlock",
    ),
    tries(
        "a core dump",
        """
        import os, signal
        if os.fork() == 0:
            data = bytearray(100 * 2**20)
            os.kill(os.getpid(), signal.SIGSEGV)
        os.wait()
        print("contained" if not [name for name in os.listdir(".") if "core" in name] else "a core file")
        """,
    ),
    tries(
        "folders nested until the path is too long",
        """
        import os
        try:
            for _ in range(3000):
                os.mkdir("d" * 200)
                os.chdir("d" * 200)
        except OSError:
            pass
        print("contained")
        """,
    ),
    tries(
        "files that nobody may delete",
        """
        import os
        os.mkdir("locked")
        open("locked/file", "w").close()
        os.chmod("locked", 0)
        os.mkfifo("pipe")
        os.symlink("/etc/passwd", "link")
        print("contained")
        """,
    ),
)

OUTPUT: tuple[Attack, ...] = (
    ends("output without end", "while True:\n    print('x' * 1000)\n", Verdict.OUTPUT),
    ends(
        "errors without end",
        """
        import sys
        while True:
            sys.stderr.write("x" * 1000)
        """,
        Verdict.OUTPUT,
    ),
    ends(
        "output, then sleep for ever",
        "import time\nprint('half', flush=True)\ntime.sleep(1e6)\n",
        Verdict.TIMEOUT_WALL,
        **_QUICK,
    ),
    ends(
        "a file as large as may be, and larger",
        """
        with open("big", "wb") as file:
            for _ in range(1000):
                file.write(b"x" * 2**20)
                file.flush()
        """,
        Verdict.RUNTIME_ERROR,
        Verdict.OUTPUT,
        Verdict.MEMORY,
    ),
)

TIME: tuple[Attack, ...] = (
    ends("a busy loop", "while True:\n    pass\n", Verdict.TIMEOUT_CPU, **_BUSY),
    ends("a sleep without end", "import time\ntime.sleep(1e9)\n", Verdict.TIMEOUT_WALL, **_QUICK),
    ends(
        "waiting for input that does not come",
        "import time\nwhile True:\n    time.sleep(0.1)\n",
        Verdict.TIMEOUT_WALL,
        **_QUICK,
    ),
    ends(
        "signals ignored",
        """
        import signal
        for number in range(1, 65):
            try:
                signal.signal(number, signal.SIG_IGN)
            except (OSError, ValueError):
                pass
        while True:
            pass
        """,
        Verdict.TIMEOUT_CPU,
        **_BUSY,
    ),
    ends(
        "a number with a hundred million digits",
        "print(len(str(9 ** 9 ** 9)))\n",
        Verdict.TIMEOUT_CPU,
        Verdict.MEMORY,
        **_BUSY,
    ),
    ends(
        "a regular expression that backtracks",
        "import re\nre.match(r'(a+)+$', 'a' * 60 + 'b')\n",
        Verdict.TIMEOUT_CPU,
        **_BUSY,
    ),
    ends(
        "a dictionary whose keys collide",
        """
        class Key:
            def __hash__(self):
                return 1
        keys = {Key(): None for _ in range(10**6)}
        """,
        Verdict.TIMEOUT_CPU,
        **_BUSY,
    ),
    ends(
        "CPU time over several processes",
        """
        import os
        for _ in range(8):
            if os.fork() == 0:
                while True:
                    pass
        while True:
            os.wait()
        """,
        Verdict.TIMEOUT_CPU,
        Verdict.TIMEOUT_WALL,
        Verdict.RUNTIME_ERROR,
        **_QUICK,
    ),
    ends(
        "a child that waits for its parent in the kernel",
        """
        #include <unistd.h>
        int main(void) { if (vfork() == 0) for (;;) pause(); return 0; }
        """,
        Verdict.TIMEOUT_WALL,
        language="c",
        **_QUICK,
    ),
)

COMPILERS: tuple[Attack, ...] = (
    ends(
        "a source that includes an endless file",
        "#include </dev/zero>\nint main(void) { return 0; }\n",
        Verdict.COMPILE_ERROR,
        Verdict.MEMORY,
        Verdict.TIMEOUT_CPU,
        language="c",
    ),
    ends(
        "a source that includes the judge's input",
        '#include "/dev/stdin"\nint main(void) { return 0; }\n',
        Verdict.WRONG,  # where its standard input is there, and empty
        Verdict.COMPILE_ERROR,
        Verdict.MEMORY,
        Verdict.TIMEOUT_CPU,
        language="c",
    ),
    ends(
        "a source that includes the password file",
        '#include "/etc/shadow"\nint main(void) { return 0; }\n',
        Verdict.COMPILE_ERROR,
        Verdict.MEMORY,
        Verdict.TIMEOUT_CPU,
        language="c",
    ),
    ends(
        "templates that unfold without end",
        """
        template <int N> struct Deep { typedef typename Deep<N + 1>::type type; };
        typedef Deep<0>::type forever;
        int main() { return 0; }
        """,
        Verdict.COMPILE_ERROR,
        Verdict.MEMORY,
        Verdict.TIMEOUT_CPU,
        language="cpp",
    ),
    ends(
        "a macro that doubles thirty times",
        """
        #define A(x) x x
        #define B(x) A(A(A(A(A(x)))))
        #define C(x) B(B(B(B(B(x)))))
        int main(void) { C(C(;)) return 0; }
        """,
        Verdict.COMPILE_ERROR,
        Verdict.MEMORY,
        Verdict.TIMEOUT_CPU,
        language="c",
    ),
    ends(
        "brackets nested a hundred thousand deep",
        "x = " + "(" * 100_000 + ")" * 100_000 + "\n",
        Verdict.COMPILE_ERROR,
        Verdict.RUNTIME_ERROR,
        Verdict.MEMORY,
    ),
    ends(
        "an expression of a million terms",
        "x = 0" + "+1" * 500_000 + "\n",
        Verdict.COMPILE_ERROR,
        Verdict.RUNTIME_ERROR,
        Verdict.MEMORY,
        Verdict.CORRECT,
        Verdict.WRONG,
    ),
)

ATTACKS = (*PROCESSES, *MEMORY, *DISK, *OUTPUT, *TIME, *COMPILERS)
