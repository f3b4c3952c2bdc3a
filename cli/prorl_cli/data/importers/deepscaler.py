"""DeepScaleR-Preview-Dataset (agentica-org): about 40,000 competition problems in mathematics.

Fields: `problem`, `answer` (LaTeX or plain notation), `solution` (may be empty; not used).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from prorl_api.spec.values import Domain
from prorl_cli.data.importers.base import Imported, Importer, Skipped, text_of


def convert(record: Mapping[str, Any]) -> Imported | Skipped:
    """Return a problem with its final answer."""
    problem = text_of(record, "problem")
    if not problem:
        return Skipped("no problem")
    value = record.get("answer")
    if isinstance(value, int | float) and not isinstance(value, bool):
        return Imported(problem, {"answer": value})
    answer = text_of(record, "answer")
    if not answer:
        return Skipped("no answer")
    return Imported(problem, {"answer": answer})


DEEPSCALER = Importer(
    name="deepscaler", domain=Domain.MATH, description="DeepScaleR-Preview-Dataset (deepscaler.json)", convert=convert
)
