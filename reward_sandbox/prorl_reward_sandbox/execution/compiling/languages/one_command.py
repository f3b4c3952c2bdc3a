"""Languages that one command compiles and one command runs. Those that need more have a module of their own."""

from __future__ import annotations

from prorl_reward_sandbox.execution.compiling.languages.base import MEBIBYTE, Language, Toolchain
from prorl_reward_sandbox.execution.isolation import Runtime

PYTHON = Language(
    names=("python",),
    fences=("py", "python3", "py3"),
    source_name=lambda _: "main.py",
    probe="print(6 * 7)",
    toolchains=(
        Toolchain(
            version=("main.py",),
            version_files={"main.py": b"import sys\nprint(sys.version)"},
            run=("main.py",),
            runtime=Runtime.PYTHON,
        ),
    ),
    compile_marks=(b"SyntaxError: ", b"IndentationError: ", b"TabError: "),
    memory_marks=(b"MemoryError",),
    process_marks=(b"BlockingIOError: [Errno 11]", b"can't start new thread"),
)
"""Python, by the isolation's own runtime: isolated from the environment and without site-packages."""

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
"""C, by the system's compiler."""

CPP = Language(
    names=("cpp", "c++"),
    fences=("cc", "cxx", "c++17", "c++20", "cpp17", "cpp20"),
    source_name=lambda _: "main.cpp",
    probe="#include <iostream>\nint main() { if (auto answer = 6 * 7; answer) std::cout << answer << std::endl; }",
    toolchains=tuple(
        Toolchain(
            version=(compiler, "--version"),
            compile=(compiler, "-O2", f"-std={standard}", "-w", "-o", "program", "{source}", "-lpthread"),
            product="program",
            run=("program",),
        )
        for compiler in ("/usr/bin/g++", "/usr/local/bin/g++", "/usr/bin/clang++", "/usr/bin/c++")
        for standard in ("gnu++20", "gnu++17")
    ),
    memory_marks=(b"std::bad_alloc",),
)
"""C++, by the system's compiler."""

RUST = Language(
    names=("rust",),
    fences=("rs",),
    source_name=lambda _: "main.rs",
    probe='fn main() { println!("{}", 6 * 7); }',
    toolchains=tuple(
        Toolchain(
            version=(compiler, "--version"),
            compile=(compiler, "-O", "--edition", "2021", "-A", "warnings", "-o", "program", "{source}"),
            product="program",
            run=("program",),
        )
        for compiler in ("/usr/local/bin/rustc", "/usr/local/cargo/bin/rustc", "/usr/bin/rustc", "/opt/rust/bin/rustc")
    ),
    process_marks=(b"failed to spawn thread",),
    memory_marks=(b"memory allocation of",),
)
"""Rust: one file, no crates."""

JAVASCRIPT = Language(
    names=("javascript", "nodejs"),
    fences=("js", "node", "mjs"),
    source_name=lambda _: "main.js",
    probe="const answer = 6 * 7; console.log(String(answer));",
    toolchains=tuple(
        Toolchain(
            version=(interpreter, "--version"),
            run=(interpreter, "--max-old-space-size={heap_mebibytes}", "{source}"),
        )
        for interpreter in ("/usr/local/bin/node", "/usr/bin/node", "/usr/bin/nodejs")
    ),
    extra_bytes=3072 * MEBIBYTE,  # V8 reserves far more addresses than it uses
    extra_processes=16,
    memory_marks=(b"JavaScript heap out of memory", b"Array buffer allocation failed"),
)
"""JavaScript by Node."""
