"""Lines of the metrics table in columns: eight bytes a number, where a dictionary a line takes ten times as much.

An operator keeps a hundred lines of each of hundreds of runs. They become dictionaries again for the moment of a look.
"""

from __future__ import annotations

import math
from array import array
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypeAlias

Column: TypeAlias = "array[Any]"
_WHOLE, _REAL = "q", "d"
_MISSING = math.nan


class PackedLines:
    """Lines with numbers alone, in the order in which they were put. A value that is None or no number is left out."""

    def __init__(self, lines: Iterable[Mapping[str, Any]] = ()) -> None:
        self._columns: dict[str, Column] = {}
        self._count = 0
        for line in lines:
            self.insert(self._count, line)

    def __len__(self) -> int:
        """Return the number of lines."""
        return self._count

    def insert(self, index: int, line: Mapping[str, Any]) -> None:
        """Put a line before the one at `index`; at the end, if that is the number of lines."""
        for name in line.keys() - self._columns.keys():
            if _is_number(line[name]):
                self._columns[name] = (
                    array(_REAL, [_MISSING]) * self._count if self._count else array(_kind(line[name]))
                )
        for name, column in self._columns.items():
            value = line.get(name)
            self._fitting(name, column, value).insert(index, value if _is_number(value) else _MISSING)
        self._count += 1

    def column(self, name: str) -> Sequence[Any]:
        """Return a metric's values, NaN where a line has none; empty: no line has one. To be read only."""
        return self._columns.get(name, ())

    def get(self, index: int, name: str) -> Any:
        """Return a line's value; None if it has none."""
        column = self._columns.get(name)
        return None if column is None or column[index] != column[index] else column[index]

    def set(self, index: int, name: str, value: float) -> None:
        """Give a line a value."""
        column = self._columns.get(name)
        if column is None:
            column = self._columns[name] = array(_REAL, [_MISSING]) * self._count
        self._fitting(name, column, value)[index] = value

    def keep(self, indices: Sequence[int]) -> None:
        """Drop all lines but these."""
        self._columns = {name: array(of.typecode, [of[i] for i in indices]) for name, of in self._columns.items()}
        self._count = len(indices)

    def unpacked(self, indices: Sequence[int] | None = None) -> list[dict[str, Any]]:
        """Return the lines, or those at `indices`, as dictionaries of their own."""
        columns: Iterable[Iterable[Any]] = self._columns.values()
        if indices is not None:
            columns = [[column[i] for i in indices] for column in self._columns.values()]
        names = tuple(self._columns)
        return [
            {name: value for name, value in zip(names, row, strict=True) if value == value}  # noqa: PLR0124  (NaN)
            for row in zip(*columns, strict=True)
        ]

    def _fitting(self, name: str, column: Column, value: Any) -> Column:
        """Return the column of a metric; one of whole numbers that does not stay one becomes one of doubles."""
        if column.typecode == _WHOLE and not (_is_number(value) and _kind(value) == _WHOLE):
            column = self._columns[name] = array(_REAL, column)
        return column


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _kind(value: float) -> str:
    return _WHOLE if isinstance(value, int) and abs(value) < 2**63 else _REAL
