"""Frames with a program over its descriptor 3, as the service writes and reads them: never trusted, always bounded."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from prorl_api.wire.sandbox import ExecutionLimits, Verdict

MAX_ANSWER_BYTES = 4 * 2**20
"""Of one frame that a program writes, whatever its output limit is: the service reads it as a whole."""
_LENGTH_BYTES = 4


@dataclass(slots=True)
class BreachError(Exception):
    """The program did with its conversation what no program needs to do. It ends, with this verdict."""

    verdict: Verdict
    detail: str


def longest_answer(limits: ExecutionLimits) -> int:
    """Return the largest frame that a program may write."""
    return min(limits.output_bytes, MAX_ANSWER_BYTES)


def readable(text: object, *, length: int = 200) -> str:
    """Text that a program chose, fit for an answer: bounded, and without halves of surrogate pairs.

    What should have been text and is something else is not even turned into it: it may be too deep for that.
    """
    shown = text[:length] if isinstance(text, str) else f"a {type(text).__name__}"
    return shown.encode("utf-8", "replace").decode("utf-8")


async def write_frame(writer: asyncio.StreamWriter, body: bytes) -> None:
    """Write one frame."""
    writer.write(len(body).to_bytes(_LENGTH_BYTES, "big") + body)
    await writer.drain()


async def read_frame(reader: asyncio.StreamReader, *, max_bytes: int) -> bytes | None:
    """Read one frame; None if the program has closed its end.

    Raises:
        BreachError: The frame is too large.
    """
    try:
        length = int.from_bytes(await reader.readexactly(_LENGTH_BYTES), "big")
        if length > max_bytes:
            raise BreachError(Verdict.OUTPUT, f"an answer of {length} bytes; at most {max_bytes} are allowed")
        return await reader.readexactly(length)
    except (asyncio.IncompleteReadError, ConnectionError):
        return None
