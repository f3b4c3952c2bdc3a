"""`prorl boundary` and `prorl novelty`: results compared, as text, as one page and as JSON."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from rich.console import Console

from prorl_analysis.boundary import Boundary
from prorl_analysis.comparison import Comparison, compare, consecutive
from prorl_analysis.corpus import CorpusIndex, read_corpus
from prorl_analysis.estimators import at_most
from prorl_analysis.novelty import LONGEST, SHORTEST, Novelty, novelty
from prorl_analysis.results import Results, read_results, require_comparable
from prorl_api.errors import Fault, SpecError
from prorl_cli.errors import storage_error
from prorl_cli.evaluation.figures import curves, moves, novelties
from prorl_cli.evaluation.page import BoundaryReport, boundary_json, write_boundary_page
from prorl_cli.local.files import write_atomically


@dataclass(frozen=True, slots=True, kw_only=True)
class Spans:
    """Lengths of the spans by which novelty is measured, in words."""

    shortest: int = SHORTEST
    longest: int = LONGEST


@dataclass(frozen=True, slots=True, kw_only=True)
class BoundaryRequest:
    """What `prorl boundary` was asked for."""

    base: Path
    checkpoints: tuple[Path, ...]
    k: int | None = None
    """Samples of an item that are looked at; None: as many as every item has."""
    corpus: Path | None = None
    spans: Spans = Spans()
    page: Path | None = None
    output: Path | None = None


def show_boundary(request: BoundaryRequest, console: Console) -> None:
    """Print what each checkpoint has lost and gained against the base, losses first; write the page and the JSON file.

    Raises:
        SpecError: Results that cannot be read or compared.
        StorageError: A file that cannot be written.
    """
    first = read_results(request.base)
    others = [read_results(path) for path in request.checkpoints]
    for other in others:
        require_comparable(first, other)
    report = BoundaryReport(
        base=first.path,
        settings=first.settings,
        comparisons=tuple(compare(first, other, k=request.k) for other in others),
        pairs=tuple(consecutive(others)),
        novelty=() if request.corpus is None else _novelty(request.corpus, [first, *others], request.spans),
    )
    for warning in report.warnings:
        _say(f"warning: {warning}", console)
    for found in report.comparisons:
        _show(found, console)
    if report.novelty:
        console.print(novelties(report.novelty))
    if request.output is not None:
        _write(request.output, boundary_json(report))
    if request.page is not None:
        _say(f"page: {write_boundary_page(report, request.page)}", console)


def show_novelty(corpus: Path, paths: Sequence[Path], spans: Spans, output: Path | None, console: Console) -> None:
    """Print how new the completions of evaluations are against a corpus, in the order of the files.

    Raises:
        SpecError: Files that cannot be read.
        StorageError: The output cannot be written.
    """
    found = _novelty(corpus, [read_results(path) for path in paths], spans)
    for warning in dict.fromkeys(warning for each in found for warning in each.warnings):
        _say(f"warning: {warning}", console)
    console.print(novelties(found))
    if output is not None:
        _write(output, json.dumps({"format": 1, "novelty": [asdict(each) for each in found]}, indent=2) + "\n")


def read_spans(text: str) -> Spans:
    """Read `SHORTEST-LONGEST`.

    Raises:
        SpecError: Something else.
    """
    first, sign, last = text.partition("-")
    if not (sign and first.isdecimal() and last.isdecimal() and 1 <= int(first) <= int(last) <= 64):
        fault = Fault(path="--spans", got=text, want="SHORTEST-LONGEST in words, such as 5-11; at most 64")
        raise SpecError([fault], source="the command line")
    return Spans(shortest=int(first), longest=int(last))


def _novelty(corpus: Path, results: Sequence[Results], spans: Spans) -> tuple[Novelty, ...]:
    try:
        index = CorpusIndex(read_corpus(corpus))
    except ValueError as error:
        fault = Fault(path=str(corpus), got=str(error), want="a smaller corpus")
        raise SpecError([fault], source="the corpus") from error
    return tuple(novelty(each, index, str(corpus), shortest=spans.shortest, longest=spans.longest) for each in results)


def _show(found: Comparison, console: Console) -> None:
    rows = [row.boundary for row in found.rows]
    _say(f"{found.base} -> {found.checkpoint}", console)
    if not rows:
        return
    console.print(moves(rows))
    console.print(curves(rows))
    for row in rows:
        _say(f"  {row.source}: {_words(row)}", console)


def _words(row: Boundary) -> str:
    bound = at_most(row.k)
    gains = "; ".join(
        f"{name} {gain.value:+.3f}"
        + ("" if gain.low is None or gain.high is None else f" ({gain.low:+.3f} to {gain.high:+.3f}, paired)")
        for name, gain in (("pass@1", row.first_gain), (f"pass@{row.k}", row.last_gain))
    )
    return f"{gains}. 0 of {row.k} means a success probability below {bound:.2%} (95 %), not an impossibility"


def _write(path: Path, text: str) -> None:
    try:
        write_atomically(path, text)
    except OSError as error:
        raise storage_error(error, path, "--output") from error


def _say(text: str, console: Console) -> None:
    console.print(text, markup=False, highlight=False, soft_wrap=True)
