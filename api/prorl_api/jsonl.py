"""JSON Lines as this project reads them: one object a line, strict, streamed, with the position of each line.

The learner and the command line read data files with it, so that both accept the same files. Defined behaviour:

- Lines end with LF or CR LF. Other characters that look like line ends, such as U+2028, belong to the line.
- A byte order mark at the start of the file is skipped; elsewhere it is an error.
- Lines of white space alone are skipped, but counted.
- Refused: bytes that are not UTF-8, repeated keys, NaN, infinities and numbers that overflow to them, lone surrogates,
  anything that is not an object, values nested deeper than `MAX_DEPTH`, and lines longer than `MAX_LINE_BYTES`.

Memory: one line at a time.
"""

from __future__ import annotations

import codecs
import json
import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from prorl_api.errors import ProRLError

MAX_LINE_BYTES = 64 * 2**20
"""As much as a reward sandbox takes in one request; a file without line ends must not fill the memory."""
MAX_DEPTH = 100
"""Lists and objects within each other. Deeper ones would end in a recursion error in whatever handles them later."""
_SHOWN = 80


class LineError(ProRLError):
    """A line that is not one JSON object."""

    def __init__(self, got: str, want: str) -> None:
        self.got = got
        self.want = want
        super().__init__(f"got {got}; {want}")


@dataclass(frozen=True, slots=True)
class RawLine:
    """A line that is not blank."""

    number: int
    """From 1, blank lines counted."""
    offset: int
    """Of its first byte in the file; a byte order mark is not part of it."""
    content: bytes
    """Without its end. Longer than `MAX_LINE_BYTES` if it is too long; the rest of it was passed over."""


def raw_lines(path: Path) -> Iterator[RawLine]:
    """Return every line of a file that is not blank.

    Raises:
        OSError: The file cannot be read.
    """
    with path.open("rb") as file:
        number = offset = 0
        while piece := file.readline(MAX_LINE_BYTES + 2):
            number += 1
            start, offset = offset, offset + len(piece)
            if len(piece) > MAX_LINE_BYTES:
                offset += _pass_over(file, piece)
            if number == 1 and piece.startswith(codecs.BOM_UTF8):
                start, piece = start + len(codecs.BOM_UTF8), piece[len(codecs.BOM_UTF8) :]
            content = piece.removesuffix(b"\n").removesuffix(b"\r")
            if content.strip():
                yield RawLine(number, start, content)


def _pass_over(file: Any, piece: bytes) -> int:
    """Skip the rest of a line; how many bytes that were."""
    skipped = 0
    while piece and not piece.endswith(b"\n"):
        piece = file.readline(2**20)
        skipped += len(piece)
    return skipped


def line_at(path: Path, offset: int) -> bytes:
    """Return the content of the line that begins at `offset`, as `raw_lines` gave it.

    Raises:
        OSError: The file cannot be read.
    """
    with path.open("rb") as file:
        file.seek(offset)
        return file.readline(MAX_LINE_BYTES + 2).removesuffix(b"\n").removesuffix(b"\r")


def parse_object(content: bytes) -> dict[str, Any]:
    """Return the object that a line holds.

    Raises:
        LineError: It does not hold one, or one of the refused things.
    """
    if len(content) > MAX_LINE_BYTES:
        raise LineError("a longer line", f"at most {MAX_LINE_BYTES // 2**20} MiB a line")
    try:
        text = content.decode("utf-8")
        value = json.loads(
            text, object_pairs_hook=_without_repeats, parse_constant=_refuse_constant, parse_float=_finite
        )
    except UnicodeDecodeError as error:
        raise LineError(f"byte 0x{content[error.start]:02x} at column {error.start + 1}", "UTF-8") from None
    except json.JSONDecodeError as error:
        shown = text[max(0, error.pos - 20) : error.pos + 20]
        raise LineError(f"no JSON from column {error.pos + 1} on: {shown!r}", "one JSON object a line") from None
    except RecursionError:
        raise _too_deep() from None
    except ValueError as error:  # a whole number with more digits than Python converts
        raise LineError(str(error)[:_SHOWN], "numbers of at most some thousand digits") from None
    if not isinstance(value, dict):
        raise LineError(f"{type(value).__name__} {text[:_SHOWN]!r}", "one JSON object a line")
    if text.count("{") + text.count("[") > MAX_DEPTH and _is_deeper(value, MAX_DEPTH):
        raise _too_deep()
    if "\\ud" in text or "\\uD" in text:
        _refuse_surrogates(value)
    return value


def _without_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        repeated = next(name for name in names if names.count(name) > 1)
        raise LineError(f"key {repeated[:_SHOWN]!r} more than once in one object", "every key once")
    return found


def _refuse_constant(name: str) -> Any:
    raise LineError(name, "finite numbers; JSON has no NaN and no infinity")


def _too_deep() -> LineError:
    return LineError("values nested too deep", f"at most {MAX_DEPTH} lists and objects within each other")


def _is_deeper(value: Any, depth: int) -> bool:
    """Tell whether containers are nested more than `depth` deep."""
    level = [value]
    for _ in range(depth):
        inner = [item for one in level for item in (one.values() if isinstance(one, dict) else one)]
        level = [item for item in inner if isinstance(item, dict | list)]
    return bool(level)


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise LineError(text[:_SHOWN], "numbers that fit a 64-bit float")
    return value


def _refuse_surrogates(value: Any) -> None:
    """Half of a surrogate pair is no character: no tokenizer and no request body could carry it."""
    try:
        json.dumps(value, ensure_ascii=False).encode("utf-8")
    except UnicodeEncodeError as error:
        shown = ascii(error.object[error.start : error.end])
        raise LineError(f"a lone surrogate {shown}", "whole characters") from None
