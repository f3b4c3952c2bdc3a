"""`prorl data import`: from a published set's files to a data file, every record that is left out counted by reason."""

from __future__ import annotations

import json
import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from prorl_api.data_lines import data_faults
from prorl_api.errors import Fault, SpecError
from prorl_cli.data.importers import IMPORTERS
from prorl_cli.data.importers.base import Imported, Importer, Skipped
from prorl_cli.data.sources import Record, records
from prorl_cli.errors import storage_error
from prorl_cli.local.files import written_beside
from prorl_cli.program import command

_MAX_NAMED = 10
"""Records left out for one reason that are named."""


@dataclass(slots=True)
class ImportCounts:
    """What became of the records."""

    records: int = 0
    fields: tuple[str, ...] = ()
    """Of the first record."""
    written: int = 0
    skipped: Counter[str] = field(default_factory=Counter)
    skipped_at: defaultdict[str, list[int]] = field(default_factory=lambda: defaultdict(list))
    """Numbers of the first records, counted from 1, that were left out for each reason."""
    notes: Counter[str] = field(default_factory=Counter)


def import_files(name: str, sources: Sequence[Path], output: Path, *, replaces: bool = False) -> ImportCounts:
    """Write a data file. It appears under its name when it is whole.

    Args:
        name: Of the importer.
        sources: The set's files, read in this order.
        output: The file to write.
        replaces: Whether it may exist.

    Raises:
        SpecError: There is no such importer, the output exists, a source cannot be read, or no record fits.
        StorageError: The output cannot be written.
    """
    importer = IMPORTERS.get(name)
    if importer is None:
        want = f"one of {', '.join(IMPORTERS)}"
        raise SpecError([Fault(path="NAME", got=name, want=want)], source="the command line")
    if output.exists() and not replaces:
        want = "a new file, or --force to replace it"
        raise SpecError([Fault(path="--output", got=f"{output}, which exists", want=want)], source="the command line")
    counts = ImportCounts()
    found = (record for path in sources for record in records(path))
    try:
        _write(output, converted(importer, found, counts), counts, ", ".join(map(str, sources)))
    except OSError as error:
        raise storage_error(error, output, "--output") from error
    return counts


def converted(importer: Importer, found: Iterator[Record | None], counts: ImportCounts) -> Iterator[dict[str, Any]]:
    """Yield the lines that records become; `counts` is brought up to date on the way."""
    for number, record in enumerate(found):
        counts.records += 1
        if record is not None and not counts.fields:
            counts.fields = tuple(map(str, record))
        made = Skipped("not a JSON object") if record is None else importer.convert(record)
        line = _validated(importer, made, number) if isinstance(made, Imported) else made
        if isinstance(line, Skipped):
            counts.skipped[line.reason] += 1
            if len(counts.skipped_at[line.reason]) < _MAX_NAMED:
                counts.skipped_at[line.reason].append(counts.records)
            continue
        if isinstance(made, Imported):
            counts.notes.update(made.notes)
        yield line


def _validated(importer: Importer, line: Imported, number: int) -> dict[str, Any] | Skipped:
    value = {"id": f"{importer.name}/{number}", "prompt": line.prompt, "row": line.row}
    faults = data_faults(value, importer.domain)
    if not faults:
        return value
    path = re.sub(r"\.\d+", "[]", faults[0].path)  # without numbers, so that reasons can be counted
    return Skipped(f"does not fit the row model: {path}: {faults[0].want}")


def _write(output: Path, lines: Iterator[Mapping[str, Any]], counts: ImportCounts, source: str) -> None:
    with written_beside(output) as file:
        for line in lines:
            # Escaped, so that half a surrogate pair in the source is found by the check instead of failing here.
            file.write(json.dumps(line) + "\n")
            counts.written += 1
        if not counts.written:
            got = "; ".join(f"{count} {reason}" for reason, count in counts.skipped.most_common(5)) or "no records"
            seen = f" (the first has {', '.join(counts.fields[:_MAX_NAMED])})" if counts.fields else ""
            want = f"at least one record that can be imported{seen}"
            raise SpecError([Fault(path=source, got=got, want=want)], source="the data")


def summary(counts: ImportCounts, output: Path) -> str:
    """Return what became of the records."""
    lines = [f"{counts.written} of {counts.records} records written to {output}"]
    lines += [
        f"  {count:>8}  left out: {reason}: record{'s' if count > 1 else ''} {_numbers(counts, reason)}"
        for reason, count in counts.skipped.most_common()
    ]
    lines += [f"  {count:>8}  {note}" for note, count in counts.notes.most_common()]
    return "\n".join(lines)


def _numbers(counts: ImportCounts, reason: str) -> str:
    shown = ", ".join(map(str, counts.skipped_at[reason]))
    return f"{shown}, ..." if counts.skipped[reason] > _MAX_NAMED else shown


def next_check(name: str, output: Path) -> str:
    """Return what to do with a file that an importer wrote."""
    checking = command("data", "check", output, "--domain", IMPORTERS[name].domain.value)
    return f"next: {checking}, which shows whether the answers verify"
