"""Records of published files: JSON Lines (also gzipped), a JSON array or an object with one in `data`, CSV, or Parquet.

Parquet is read by pyarrow, which is not installed by default.
"""

from __future__ import annotations

import csv
import gzip
import json
import zlib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from prorl_api.errors import Fault, SpecError
from prorl_api.jsonl import LineError, parse_object, raw_lines
from prorl_api.wording import reason_of

Record = Mapping[str, Any]

_PARQUET_BATCH = 256


def records(path: Path) -> Iterator[Record | None]:
    """Return every record of a file, in order; None for one that is not a readable object.

    JSON Lines and Parquet are streamed; a JSON array is read as a whole.

    Raises:
        SpecError: The file cannot be read, or its kind is not known.
    """
    suffix = "".join(path.suffixes[-2:]) if path.suffix == ".gz" else path.suffix
    reader = _READERS.get(suffix)
    if reader is None:
        raise _fault(path, f"suffix {suffix!r}", f"one of {', '.join(_READERS)}")
    try:
        yield from reader(path)
    except (OSError, EOFError, zlib.error) as error:
        raise _fault(path, reason_of(error), "a readable file") from error


def is_lines(path: Path) -> bool:
    """Tell whether a file holds plain JSON Lines, judging by its name: what is no other form that can be read."""
    return path.suffix not in _OTHER_SUFFIXES


def _gzipped_lines(path: Path) -> Iterator[Record | None]:
    with gzip.open(path, "rb") as file:
        for line in file:
            if line.strip():
                try:
                    yield parse_object(line)
                except LineError:
                    yield None


def _json_lines(path: Path) -> Iterator[Record | None]:
    for raw in raw_lines(path):
        try:
            yield parse_object(raw.content)
        except LineError:
            yield None


def _json_array(path: Path) -> Iterator[Record | None]:
    try:
        value = json.loads(path.read_text(encoding="utf-8-sig"))
    except (ValueError, RecursionError) as error:
        raise _fault(path, reason_of(error), "one JSON array of objects; JSON Lines need the suffix .jsonl") from error
    if isinstance(value, dict):
        value = value.get("data")
    if not isinstance(value, list):
        raise _fault(path, type(value).__name__, "one JSON array of objects, or an object with such an array in `data`")
    yield from (item if isinstance(item, dict) else None for item in value)


def _table(path: Path) -> Iterator[Record | None]:
    """Read a table with a line of names; a row with more or fewer values than names is no record."""
    csv.field_size_limit(64 * 2**20)  # a problem may be longer than the 128 KiB of the default
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            for row in csv.DictReader(file, restval=None):
                yield None if None in row or None in row.values() else row
    except (csv.Error, UnicodeDecodeError) as error:
        raise _fault(path, str(error), "comma-separated values in UTF-8, the names in the first line") from error


def _parquet(path: Path) -> Iterator[Record | None]:
    try:
        from pyarrow import ArrowInvalid, parquet
    except ImportError as error:
        want = "the package pyarrow (`pip install 'prorl[parquet]'`), or the same records as .jsonl"
        raise _fault(path, "a Parquet file without a library that reads it", want) from error
    try:
        with parquet.ParquetFile(path) as file:
            for batch in file.iter_batches(batch_size=_PARQUET_BATCH):
                yield from batch.to_pylist()
    except ArrowInvalid as error:
        raise _fault(path, str(error), "a Parquet file") from error


_READERS: Mapping[str, Callable[[Path], Iterator[Record | None]]] = {
    ".jsonl": _json_lines,
    ".ndjson": _json_lines,
    ".jsonl.gz": _gzipped_lines,
    ".ndjson.gz": _gzipped_lines,
    ".json": _json_array,
    ".csv": _table,
    ".parquet": _parquet,
}
_OTHER_SUFFIXES = frozenset({".json", ".csv", ".parquet", ".gz"})


def _fault(path: Path, got: str, want: str) -> SpecError:
    return SpecError([Fault(path=str(path), got=got, want=want)], source="the published files")
