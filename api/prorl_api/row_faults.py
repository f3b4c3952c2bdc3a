"""Faults of a data file's rows, equal ones told together: a row in a thousand is not hidden by the others' faults."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass, field

from prorl_api.errors import Fault

MANY = 3
"""Rows with the same fault that are told together."""
_MAX_LINES = 5
_MAX_VALUES = 3
_NUMBER = re.compile(r"\d+")
_Key = tuple[str, str, str]
"""File, place in the row without numbers of items, what is wanted."""


@dataclass(slots=True)
class _Group:
    """Rows of a file with the same fault."""

    lines: list[int] = field(default_factory=list)
    """The first ones."""
    faults: list[Fault] = field(default_factory=list)
    """Of the first rows."""
    values: list[str] = field(default_factory=list)
    """The first different ones that were got."""
    num_rows: int = 0
    num_faults: int = 0
    num_values: int = 0
    """At least so many differ."""
    last_line: int = 0
    form: str | None = None
    """What was got without its number, as long as all have the same."""
    least: int = 0
    most: int = 0

    def add(self, line: int, fault: Fault) -> None:
        """Count one."""
        self.num_faults += 1
        if line != self.last_line:
            self.num_rows += 1
            self.last_line = line
            if len(self.lines) < _MAX_LINES:
                self.lines.append(line)
        if self.num_rows < MANY:
            self.faults.append(fault)
        self._measure(fault.got)
        if fault.got not in self.values and self.num_values <= _MAX_VALUES:
            self.num_values += 1
            self.values += [fault.got][: _MAX_VALUES - len(self.values)]

    def told(self, path: str, want: str, of_rows: int) -> list[Fault]:
        """Return the faults of few rows as they are, of many rows one."""
        if self.num_rows < MANY:
            return self.faults
        which = f"all {of_rows} rows" if self.num_rows == of_rows else f"{self.num_rows} of {of_rows} rows"
        more = ", ..." if self.num_rows > len(self.lines) else ""
        lines = "" if self.num_rows == of_rows else f" (lines {', '.join(map(str, self.lines))}{more})"
        return [Fault(path=path, got=f"{self._got()} in {which}{lines}", want=want)]

    def _measure(self, got: str) -> None:
        number = _NUMBER.match(got)
        form = got[number.end() :] if number else None
        if number is None or (self.num_faults > 1 and form != self.form):
            self.form = None
            return
        value = int(number.group())
        self.least = value if self.num_faults == 1 else min(self.least, value)
        self.most = max(self.most, value)
        self.form = form

    def _got(self) -> str:
        if self.form is not None and self.least < self.most:
            return f"{self.least} to {self.most}{self.form}"
        return ", ".join(self.values) + (" and others" if self.num_values > len(self.values) else "")


class RowFaults:
    """The faults of many files' rows: equal ones together, and a bounded number of different ones."""

    def __init__(self, limit: int) -> None:
        """Tell at most `limit` faults, and the number of the others."""
        self._limit = limit
        self._groups: dict[_Key, _Group] = {}
        self._others: list[Fault] = []
        self._rows: Counter[str] = Counter()
        self.total = 0
        """All faults."""
        self.num_rows = 0
        """Rows with a fault."""

    def saw(self, file: str) -> None:
        """Count a row of a file, good or bad."""
        self._rows[file] += 1

    def add(self, *faults: Fault) -> None:
        """Take note of faults that are no row's."""
        self.total += len(faults)
        self._others += faults

    def add_row(self, file: str, line: int, *faults: Fault) -> None:
        """Take note of a row's faults, whose paths begin with `FILE:LINE`."""
        self.total += len(faults)
        self.num_rows += 1
        for fault in faults:
            place = _NUMBER.sub("*", fault.path.removeprefix(f"{file}:{line}").strip())
            key = (file, place, fault.want)
            if key in self._groups or len(self._groups) < self._limit:
                self._groups.setdefault(key, _Group()).add(line, fault)

    def listed(self, path: str) -> list[Fault]:
        """Return what there is to say, and one fault at `path` that counts the rest if there is a rest."""
        found: list[Fault] = []
        said = 0
        for (file, place, want), group in self._groups.items():
            told = group.told(f"{file} {place}".rstrip(), want, self._rows[file])
            if len(found) + len(told) > self._limit:
                continue
            found += told
            said += group.num_faults
        found += self._others
        rest = self.total - said - len(self._others)
        return [*found, Fault(path=path, got=f"{rest} more faults", want="fix the ones above first")] if rest else found
