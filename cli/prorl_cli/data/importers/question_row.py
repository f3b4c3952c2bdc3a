"""Own files of questions, judged by a function of one's own: the whole record becomes the row that it reads."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from prorl_api.spec.values import Domain
from prorl_cli.data.importers.base import Imported, Importer, Skipped, conversation, text_of
from prorl_cli.data.importers.question_answer import QUESTIONS


def convert(record: Mapping[str, Any]) -> Imported | Skipped:
    """Return a question with its record."""
    question = conversation(record.get("prompt")) or conversation(record.get("messages")) or text_of(record, *QUESTIONS)
    return Imported(question, dict(record)) if question else Skipped(f"no question ({', '.join(QUESTIONS)})")


QUESTION_ROW = Importer(
    name="question-row",
    domain=Domain.CUSTOM,
    description="own records with a question, for a reward function of one's own: the record becomes the row",
    convert=convert,
)
