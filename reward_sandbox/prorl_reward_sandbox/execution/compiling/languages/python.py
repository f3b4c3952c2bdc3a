"""Python, by the isolation's own runtime: isolated from the environment and without site-packages."""

from __future__ import annotations

from prorl_reward_sandbox.execution.compiling.languages.base import Language, Toolchain
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
