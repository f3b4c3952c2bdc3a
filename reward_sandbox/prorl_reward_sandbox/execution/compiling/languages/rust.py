"""Rust: one file, no crates."""

from __future__ import annotations

from prorl_reward_sandbox.execution.compiling.languages.base import Language, Toolchain

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
