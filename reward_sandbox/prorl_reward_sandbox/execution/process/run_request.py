"""What the service tells a runner about one run, and what the runner makes of it.

The runner imports neither pydantic nor asyncio: it forks for every run and stays small.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from prorl_reward_sandbox import frames

if TYPE_CHECKING:
    from prorl_reward_sandbox.execution.isolation import RunSpec

FAILURE = "failure"
"""Header field of a reply that says why the program could not be run."""
LIBRARY_ADDRESS_BYTES = 256 * 2**20
"""Address space that a program gets on top of its limit where it uses libraries: their own is about 190 MiB."""
PYTHON = "python"
"""As `isolation.Runtime.PYTHON`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Limits of one run, as in `prorl_api.wire.sandbox.ExecutionLimits`."""

    wall_seconds: float
    cpu_seconds: float
    memory_bytes: int
    processes: int
    output_bytes: int
    file_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """One run, as in `isolation.RunSpec`; the conversation is a descriptor that came before."""

    argv: tuple[str, ...]
    runtime: str
    files: Mapping[str, bytes]
    executables: frozenset[str]
    kept: tuple[str, ...]
    stdin: bytes
    libraries: tuple[str, ...] = ()
    limits: Limits
    has_conversation: bool


def encode_request(spec: RunSpec) -> bytes:
    """Return the frame for a runner.

    Raises:
        ValueError: A file's name is not a plain name, or there are too many files, or the script is missing.
    """
    for name in (*spec.files, *spec.kept):
        if not name or name in (".", "..") or "/" in name or "\0" in name:
            raise ValueError(f"a file in a program's folder needs a plain name without `/`, got {name!r}")
    if len(spec.files) >= frames.MAX_BLOBS - 1 or len(spec.kept) >= frames.MAX_BLOBS - 2:
        raise ValueError(f"a run takes and gives back fewer than {frames.MAX_BLOBS - 2} files, got {len(spec.files)}")
    if spec.runtime.value == PYTHON and spec.argv[0] not in spec.files:
        raise ValueError(f"a Python program's script must be among its files {list(spec.files)}, got {spec.argv[0]!r}")
    header = {
        "argv": spec.argv,
        "runtime": spec.runtime.value,
        "files": list(spec.files),
        "executables": sorted(spec.executables),
        "kept": spec.kept,
        "libraries": spec.libraries,
        "limits": spec.limits.model_dump(),
        "has_conversation": spec.conversation is not None,
    }
    return frames.encode(header, [spec.stdin, *spec.files.values()])


def decode_request(frame: frames.Frame) -> Request:
    """Return the request in a frame that `encode_request` made."""
    header = frame.header
    return Request(
        argv=tuple(header["argv"]),
        runtime=header["runtime"],
        files=dict(zip(header["files"], frame.blobs[1:], strict=True)),
        executables=frozenset(header["executables"]),
        kept=tuple(header["kept"]),
        stdin=frame.blobs[0],
        libraries=tuple(header["libraries"]),
        limits=Limits(**header["limits"]),
        has_conversation=header["has_conversation"],
    )
