"""Go: one file, standard library only.

Go compiles the standard library itself, into a cache in the home folder, which is a fresh one for every run. So the
packages that programs of this kind import are compiled once per service, and every compilation gets that cache.
"""

from __future__ import annotations

from prorl_reward_sandbox.execution.compiling.languages.base import COMPILE_LIMITS, MEBIBYTE, Language, Toolchain

_PACKAGES = (
    "bufio bytes cmp container/heap container/list container/ring errors fmt io maps math math/big math/bits "
    "math/cmplx math/rand os regexp slices sort strconv strings sync time unicode unicode/utf8"
)
_ENVIRONMENT = b'export GOCACHE="$PWD/cache" GOFLAGS=-p=2 GO111MODULE=off GOTOOLCHAIN=local\n'
_PREPARE = (
    b"set -e\n"
    + _ENVIRONMENT
    + b'"$1" build '
    + _PACKAGES.encode()
    + b"\necho 'package main\n\nfunc main() {}' > empty.go"
    + b'\n"$1" build -ldflags "-s -w" -o empty empty.go\ntar -cf cache.tar cache\n'
)
_BUILD = b"set -e\n" + _ENVIRONMENT + b'tar -xf cache.tar\nexec "$1" build -ldflags "-s -w" -o program "$2"\n'

GO = Language(
    names=("go",),
    fences=("golang",),
    source_name=lambda _: "main.go",
    probe='package main\n\nimport "fmt"\n\nfunc main() { fmt.Println(6 * 7) }\n',
    toolchains=tuple(
        Toolchain(
            version=(compiler, "version"),
            files={"prepare.sh": _PREPARE, "build.sh": _BUILD},
            prepare=("/bin/sh", "prepare.sh", compiler),
            prepared="cache.tar",
            compile=("/bin/sh", "build.sh", compiler, "{source}"),
            product="program",
            run=("program",),
        )
        for compiler in ("/usr/local/go/bin/go", "/usr/bin/go", "/usr/lib/go/bin/go")
    ),
    extra_bytes=1024 * MEBIBYTE,
    extra_processes=16,
    compile_limits=COMPILE_LIMITS.model_copy(update={"memory_bytes": 4096 * MEBIBYTE, "processes": 256}),
    memory_marks=(b"fatal error: runtime: out of memory", b"cannot allocate memory"),
    process_marks=(b"failed to create new OS thread",),
)
