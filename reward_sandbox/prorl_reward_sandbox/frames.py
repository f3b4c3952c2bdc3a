"""Frames between the service and its helper processes: one JSON header and any number of byte blobs.

Never pickle: the far end has handled text or programs written by a model, and reading a frame must not be able to do
anything but yield data. Lengths are bounded, so that a helper gone wrong cannot make the service allocate without
end. The helpers are single-threaded and use the blocking functions; the service uses asyncio.
"""

from __future__ import annotations

import json
import socket
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import asyncio  # not at run time: the program runners fork for every run and stay small

MAX_HEADER_BYTES = 256 * 2**20
MAX_BLOB_BYTES = 128 * 2**20
MAX_BLOBS = 64
_PREFIX = struct.Struct("!IB")
_BLOB_LENGTH = struct.Struct("!I")


class FrameError(ConnectionError):
    """The far end closed in the middle of a frame or announced an impossible one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Frame:
    """One message."""

    header: dict[str, Any]
    blobs: tuple[bytes, ...] = ()


def encode(header: dict[str, Any], blobs: Sequence[bytes] = ()) -> bytes:
    """Return the frame's bytes: header length, blob count, blob lengths, header, blobs."""
    body = json.dumps(header, allow_nan=True).encode("ascii")
    lengths = b"".join(_BLOB_LENGTH.pack(len(blob)) for blob in blobs)
    return b"".join([_PREFIX.pack(len(body), len(blobs)), lengths, body, *blobs])


def receive_exactly(connection: socket.socket, count: int) -> bytes:
    """Read `count` bytes.

    Raises:
        FrameError: The far end closed before.
    """
    buffer = bytearray()
    while len(buffer) < count:
        part = connection.recv(min(count - len(buffer), 2**20))
        if not part:
            raise FrameError("the connection was closed within a frame")
        buffer += part
    return bytes(buffer)


def receive(connection: socket.socket) -> Frame | None:
    """Read one frame, waiting for it; None at the end of the connection."""
    first = connection.recv(_PREFIX.size)
    if not first:
        return None
    header_length, count = _checked_prefix(first + receive_exactly(connection, _PREFIX.size - len(first)))
    body = receive_exactly(connection, count * _BLOB_LENGTH.size + header_length)
    lengths = _checked_lengths(body[: count * _BLOB_LENGTH.size])
    header = _checked_header(body[count * _BLOB_LENGTH.size :])
    return Frame(header=header, blobs=tuple(receive_exactly(connection, length) for length in lengths))


async def read(reader: asyncio.StreamReader) -> Frame:
    """Read one frame.

    Raises:
        FrameError: The connection ended, or the frame is malformed.
    """
    try:
        header_length, count = _checked_prefix(await reader.readexactly(_PREFIX.size))
        lengths = _checked_lengths(await reader.readexactly(count * _BLOB_LENGTH.size))
        header = _checked_header(await reader.readexactly(header_length))
        blobs = [await reader.readexactly(length) for length in lengths]
    except EOFError as error:
        raise FrameError("the connection was closed within a frame") from error
    return Frame(header=header, blobs=tuple(blobs))


def _checked_prefix(data: bytes) -> tuple[int, int]:
    header_length, count = _PREFIX.unpack(data)
    if header_length > MAX_HEADER_BYTES or count > MAX_BLOBS:
        raise FrameError(f"a frame announced a header of {header_length} bytes and {count} blobs")
    return header_length, count


def _checked_lengths(data: bytes) -> list[int]:
    lengths = [length for (length,) in _BLOB_LENGTH.iter_unpack(data)]
    if any(length > MAX_BLOB_BYTES for length in lengths):
        raise FrameError(f"a frame announced blobs of {lengths} bytes; at most {MAX_BLOB_BYTES} are allowed")
    return lengths


def _checked_header(data: bytes) -> dict[str, Any]:
    try:
        header = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise FrameError(f"a frame's header is not JSON: {error}") from error
    if not isinstance(header, dict):
        raise FrameError(f"a frame's header is a {type(header).__name__}, not an object")
    return header
