"""Every level of isolation, to run programs at, and programs to run.

Levels of a restricted pod are run as one would: another user, no capabilities, a filter.
"""

from __future__ import annotations

import os
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

from prorl_reward_sandbox.execution.isolation import RunSpec, Runtime
from prorl_reward_sandbox.execution.levels.process_isolation import ProcessIsolation
from prorl_reward_sandbox.execution.levels.runner_isolation import RunnerIsolation
from prorl_reward_sandbox.hygiene import helper_environment
from tests.unit.reward_sandbox.restricted_pod import USER

SYSTEM_PYTHON = f"/usr/bin/python3.{sys.version_info.minor}"
RESTRICTED = str(Path(__file__).with_name("restricted_pod.py"))
LEVELS = {
    "namespaces": ("namespaces", ""),
    "namespaces in a user namespace": ("namespaces", "user-namespaces"),
    "namespaces in a restricted pod": ("namespaces", "restricted"),
    "landlock": ("landlock", ""),
    "landlock in a restricted pod": ("landlock", "restricted"),
    "process": ("process", ""),
    "process in a restricted pod": ("process", "restricted"),
}
"""Name: level, and how the pod is restricted. All but one can be had."""


def make_level(name: str, *, slots: int = 1) -> RunnerIsolation:
    """A level, not started; the test is skipped where it cannot be had."""
    level, restriction = LEVELS[name]
    if os.geteuid() != 0:
        pytest.skip("only root can become another user, or have namespaces for certain")
    command: tuple[str, ...] = (sys.executable,)
    if restriction:
        if not _others_can_read():
            pytest.skip(f"another user cannot run this project with {SYSTEM_PYTHON}")
        command = (SYSTEM_PYTHON, "-B", RESTRICTED, restriction, SYSTEM_PYTHON, "-B")
    return (
        ProcessIsolation(slots, command=command)
        if level == "process"
        else RunnerIsolation(level, slots, command=command)
    )


@cache
def _others_can_read() -> bool:
    command = [SYSTEM_PYTHON, "-B", "-c", "import prorl_reward_sandbox"]
    return os.access(SYSTEM_PYTHON, os.X_OK) and not subprocess.call(
        command, env=helper_environment(), cwd="/", user=USER, group=USER, extra_groups=[]
    )


def python(source: str, *arguments: str, **fields: object) -> RunSpec:
    """A run of a script with arguments; `fields` are those of `RunSpec`."""
    files = {"main.py": source.encode(), **fields.pop("files", {})}  # type: ignore[dict-item]
    return RunSpec(argv=("main.py", *arguments), runtime=Runtime.PYTHON, files=files, **fields)  # type: ignore[arg-type]
