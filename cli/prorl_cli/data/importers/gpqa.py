"""GPQA (Idavidrein; arXiv 2311.12022): graduate-level questions with one right and three wrong options.

Fields, as in its CSV files: `Question`, `Correct Answer`, `Incorrect Answer 1` to `3`. The options stand in an order
that hangs on the question's own text alone, so that everybody's import has the same letters.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

from prorl_api.spec.values import Domain
from prorl_cli.data.importers.base import Imported, Importer, Skipped, text_of

_LETTERS = "ABCD"


def convert(record: Mapping[str, Any]) -> Imported | Skipped:
    """Return a question with lettered options."""
    question, right = text_of(record, "Question"), text_of(record, "Correct Answer")
    if not question:
        return Skipped("no question")
    options = [right, *(text_of(record, f"Incorrect Answer {number}") for number in (1, 2, 3))]
    if not all(options):
        return Skipped("not one right and three wrong answers")
    if len({" ".join(option.split()) for option in options}) < len(options):
        return Skipped("two options are the same")
    options.sort(key=lambda option: hashlib.sha256(f"{question}\0{option}".encode(errors="replace")).digest())
    choices = dict(zip(_LETTERS, options, strict=True))
    listed = "\n".join(f"{letter}) {option}" for letter, option in choices.items())
    answer = _LETTERS[options.index(right)]
    return Imported(f"{question}\n\n{listed}", {"answer": answer, "kind": "choice", "choices": choices})


GPQA = Importer(name="gpqa", domain=Domain.STEM, description="GPQA, any subset (gpqa_diamond.csv)", convert=convert)
