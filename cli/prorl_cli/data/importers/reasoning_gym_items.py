"""Items that reasoning-gym made, written down one a line, as published evaluation sets of it are.

Fields: `question`, `answer`, `metadata` (an object, or a JSON text with one), which names the task in
`source_dataset`; a `task`, `dataset` or `dataset_name` beside them counts as well. A manifest can generate items by
itself (`reasoningGym`); this is for those that somebody else has made.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from prorl_api.spec.values import Domain
from prorl_cli.data.importers.base import Imported, Importer, Skipped, text_of


def convert(record: Mapping[str, Any]) -> Imported | Skipped:
    """Return an item with the task that judges it."""
    question = record.get("question")
    if not isinstance(question, str) or not question.strip():
        return Skipped("no question")
    metadata = _metadata(record.get("metadata"))
    if metadata is None:
        return Skipped("metadata is not an object")
    task = text_of(record, "task", "dataset", "dataset_name") or text_of(metadata, "source_dataset")
    if not task:
        return Skipped("no task (task, dataset, or source_dataset in metadata)")
    answer = record.get("answer")
    if answer is not None and not isinstance(answer, str):
        answer = json.dumps(answer)
    return Imported(question, {"task": task, "entry": {"question": question, "answer": answer, "metadata": metadata}})


def _metadata(value: Any) -> dict[str, Any] | None:
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except (ValueError, RecursionError):
            return None
    if value is None:
        return {}
    return value if isinstance(value, dict) else None


REASONING_GYM = Importer(
    name="reasoning-gym",
    domain=Domain.LOGIC,
    description="items of reasoning-gym: question, answer and metadata with the task",
    convert=convert,
)
