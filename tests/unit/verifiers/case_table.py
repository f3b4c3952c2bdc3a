"""Tables of cases: source, domain, answer format, row, completion and the right reward, separated by tabs; row and
completion are JSON. Each domain's table lies in `golden/cases_*.tsv`."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from prorl_api.spec.values import AnswerFormat

GOLDEN = Path(__file__).parent / "golden"


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One completion for one row, with the reward that is right."""

    source: str
    domain: str
    answer_format: AnswerFormat
    row: Mapping[str, Any]
    completion: str
    right: float

    @property
    def name(self) -> str:
        """Return what a test shows of the case."""
        return f"{self.source}: {self.completion[:60]!r} -> {self.right}"


def load_cases(name: str) -> list[Case]:
    """Return the cases of one table."""
    lines = (GOLDEN / name).read_text(encoding="utf-8").split("\n")
    return [_case(line) for line in lines[1:] if line]


def _case(line: str) -> Case:
    source, domain, answer_format, row, completion, right = line.split("\t")
    return Case(
        source=source,
        domain=domain,
        answer_format=AnswerFormat(answer_format),
        row=json.loads(row),
        completion=json.loads(completion),
        right=float(right),
    )
