"""Own files of questions with one final answer, whatever the usual names of their fields, as math.

A long `answer` that ends with `#### 42`, as in GSM8K, stands for what follows the mark.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from prorl_api.spec.values import Domain
from prorl_cli.data.importers.base import Imported, Importer, Skipped, last_box, text_of

QUESTIONS = ("question", "problem", "prompt", "query", "instruction", "input")
ANSWERS = ("answer", "final_answer", "ground_truth", "target", "expected_answer", "solution", "output", "response")
_MARK = "####"


def convert(record: Mapping[str, Any]) -> Imported | Skipped:
    """Return a question with its final answer."""
    question = text_of(record, *QUESTIONS)
    if not question:
        return Skipped(f"no question ({', '.join(QUESTIONS)})")
    for name in ANSWERS:
        value = record.get(name)
        if isinstance(value, int | float) and not isinstance(value, bool):
            return Imported(question, {"answer": value})
    answer = text_of(record, *ANSWERS)
    answer = answer.rpartition(_MARK)[2].strip() or last_box(answer) if _MARK in answer else last_box(answer) or answer
    if not answer:
        return Skipped(f"no answer ({', '.join(ANSWERS)})")
    return Imported(question, {"answer": answer})


QUESTION_ANSWER = Importer(
    name="question-answer",
    domain=Domain.MATH,
    description="own records with question and answer (or problem, solution, ...; GSM8K's ####)",
    convert=convert,
)
