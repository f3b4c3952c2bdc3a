"""C++, by the system's compiler."""

from __future__ import annotations

from prorl_reward_sandbox.execution.compiling.languages.base import Language, Toolchain

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
