"""JavaScript by Node."""

from __future__ import annotations

from prorl_reward_sandbox.execution.compiling.languages.base import MEBIBYTE, Language, Toolchain

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
