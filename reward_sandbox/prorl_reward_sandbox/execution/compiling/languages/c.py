"""C, by the system's compiler."""

from __future__ import annotations

from prorl_reward_sandbox.execution.compiling.languages.base import Language, Toolchain

C = Language(
    names=("c",),
    fences=("c11", "c17", "h"),
    source_name=lambda _: "main.c",
    probe='#include <stdio.h>\n#include <math.h>\nint main(void) { printf("%d\\n", (int)sqrt(1764.0)); return 0; }',
    toolchains=tuple(
        Toolchain(
            version=(compiler, "--version"),
            compile=(compiler, "-O2", "-std=gnu17", "-w", "-o", "program", "{source}", "-lm", "-lpthread"),
            product="program",
            run=("program",),
        )
        for compiler in ("/usr/bin/gcc", "/usr/local/bin/gcc", "/usr/bin/clang", "/usr/bin/cc")
    ),
    memory_marks=(b"std::bad_alloc",),
)
