"""What a check found: figures for every file, and the first findings of each kind by name."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any, NamedTuple

from prorl_api.spec.values import Domain
from prorl_cli.data.contamination import Overlap


class Kind(StrEnum):
    """Kinds of findings."""

    SCHEMA = "schema"
    """The line is not a row of its domain."""
    SETTINGS = "settings"
    """The source that the manifest makes of the files cannot use the row, or asks for more rows."""
    JUDGE = "judge"
    """The row's own answer or solution is not judged right, or the row cannot be judged."""
    CONTRADICTION = "contradiction"
    """An earlier line has the same prompt and another row."""
    DUPLICATE = "duplicate"
    """An earlier line has the same prompt and the same row."""
    CONTAMINATION = "contamination"
    """The prompt touches an evaluation item."""
    NEAR_DUPLICATE = "near-duplicate"
    """An earlier line has a similar prompt."""


WARNINGS = frozenset({Kind.DUPLICATE, Kind.NEAR_DUPLICATE})
"""What leaves rewards and measurements right: the learner takes care of repeated questions itself."""


class Shape(NamedTuple):
    """A fault without its line: what many lines can have in common."""

    field: str
    want: str
    kind: Kind = Kind.SCHEMA


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing found."""

    kind: Kind
    where: str
    """File and line number, and the field if there is one."""
    message: str
    shape: tuple[Path, Shape] | None = None
    """Of a fault in a row: its file, and what it is without its line."""


@dataclass(slots=True)
class FileFigures:
    """Figures of one file."""

    path: Path
    lines: int = 0
    """That are not blank."""
    good_lines: int = 0
    """That fit the domain's row model."""
    judged_rows: int = 0
    """Sent to the judge."""
    unproven_rows: int = 0
    """Judged, but with nothing in them that could be shown to be right: no solution, no answer."""
    findings: Counter[Kind] = field(default_factory=Counter)
    shapes: Counter[Shape] = field(default_factory=Counter)
    """How many lines have each fault."""
    importers: tuple[str, ...] = ()
    """That could read the first line that is no row."""


class CheckReport:
    """Everything that a check found. Keeps at most `max_findings` of each kind, counts all."""

    def __init__(self, domain: Domain, max_findings: int) -> None:
        self.domain = domain
        self.files: list[FileFigures] = []
        self.evaluation: list[Overlap] = []
        self.findings: list[Finding] = []
        self.totals: Counter[Kind] = Counter()
        self.seconds = 0.0
        self.prompt_tokens: dict[str, int] | None = None
        """Figures of the prompts' lengths, where a manifest says how prompts are made."""
        self._max_findings = max_findings

    def add(self, figures: FileFigures, kind: Kind, where: str, message: str, shape: Shape | None = None) -> None:
        """Take note of a finding in a file."""
        if shape is not None:
            figures.shapes[shape] += 1
        figures.findings[kind] += 1
        self.totals[kind] += 1
        if self.totals[kind] <= self._max_findings:
            self.findings.append(Finding(kind, where, message, shape and (figures.path, shape)))

    def is_fault(self, kind: Kind) -> bool:
        """Tell whether findings of this kind make the check fail; others are warnings."""
        return kind not in WARNINGS

    @property
    def num_faults(self) -> int:
        """Findings that are not warnings."""
        return sum(count for kind, count in self.totals.items() if self.is_fault(kind))

    def left_out(self, kind: Kind) -> int:
        """Count findings of a kind that are not kept."""
        return max(0, self.totals[kind] - self._max_findings)

    def as_json(self) -> dict[str, Any]:
        """Return it for programs, as documented in docs/data.md."""
        return {
            "domain": self.domain.value,
            "faults": self.num_faults,
            "seconds": round(self.seconds, 3),
            **({} if self.prompt_tokens is None else {"promptTokens": self.prompt_tokens}),
            "totals": {kind.value: self.totals[kind] for kind in Kind},
            "files": [
                {
                    "path": str(figures.path),
                    "lines": figures.lines,
                    "goodLines": figures.good_lines,
                    "judgedRows": figures.judged_rows,
                    "unprovenRows": figures.unproven_rows,
                    "findings": {kind.value: figures.findings[kind] for kind in Kind},
                }
                for figures in self.files
            ],
            "evaluation": [
                {
                    "path": str(overlap.path),
                    "items": overlap.items,
                    "shortItems": overlap.short_items,
                    "touchedItems": len(overlap.touched),
                    "touchingPrompts": overlap.touching_prompts,
                    "equalPrompts": overlap.equal_prompts,
                }
                for overlap in self.evaluation
            ],
            "findings": [
                {
                    "kind": finding.kind.value,
                    "severity": "fault" if self.is_fault(finding.kind) else "warning",
                    "where": finding.where,
                    "message": finding.message,
                }
                for finding in self.findings
            ],
            "leftOut": {kind.value: self.left_out(kind) for kind in Kind if self.left_out(kind)},
        }
