"""Building the tools, once: a build is kept under the digest of everything that decides what comes out."""

from __future__ import annotations

import logging
import os
import subprocess
import time
from pathlib import Path

from tests.testbed.errors import TestbedError
from tests.testbed.files import locked, staged
from tests.testbed.toolchain import go_command, go_environment, series
from tests.testbed.tools import CACHE, Tool, digest, linker_flags, version

_logger = logging.getLogger(__name__)


def folder_of(tool: Tool) -> Path:
    """Where the tool's present version is, or will be once it is built."""
    return CACHE / f"bin-{tool.name}-{digest(tool, series())}"


def command_path(tool: Tool, command: str) -> Path:
    """The path of one of a built tool's commands.

    Tests call this and never build: minutes of compiling must not hide in the first test that needs a cluster.

    Raises:
        TestbedError: The tool is not built.
    """
    path = folder_of(tool) / command
    if not path.exists():
        raise TestbedError(
            f"{tool.name} {version(tool)} is not built: run make cluster-build"
            f" (about {tool.minutes:g} min on two cores, once; needs a Go module proxy and PyPI)"
        )
    return path


def build(tool: Tool) -> Path:
    """Build a tool unless it is there, and return its folder.

    Raises:
        TestbedError: No Go compiler, a module that cannot be had, or code that does not compile.
    """
    folder = folder_of(tool)
    with locked(CACHE / f"{tool.name}.lock"):
        if not folder.exists():
            _compile(tool, folder)
    return folder


def _compile(tool: Tool, target: Path) -> None:
    go = go_command()
    _logger.info("building %s %s (about %g min from nothing)", tool.name, version(tool), tool.minutes)
    started = time.monotonic()
    with staged(target) as folder:
        program = folder / tool.name
        command = [str(go), "build", "-tags", ",".join(tool.tags), "-ldflags", linker_flags(tool)]
        command += ["-o", str(program), tool.package]
        done = subprocess.run(
            command, cwd=tool.folder, env=go_environment(os.environ), capture_output=True, text=True, check=False
        )
        if done.returncode != 0:
            raise TestbedError(
                f"building {tool.name} {version(tool)} failed; if a module could not be downloaded, set GOPROXY to a"
                f" proxy this machine can reach:\n{done.stderr[-4000:]}"
            )
        for name in tool.commands:
            if name != tool.name:
                (folder / name).symlink_to(tool.name)
    _logger.info("built %s in %.0f s", tool.name, time.monotonic() - started)
