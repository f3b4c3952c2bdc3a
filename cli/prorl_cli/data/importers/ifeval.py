"""IFEval (google; arXiv 2311.07911) for evaluation: the published verdicts, and a prompt counts if all is followed.

`llama-nemotron-if` reads the same form for training, where verdicts are stricter and each instruction counts.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from prorl_api.spec.values import Domain
from prorl_cli.data.importers.base import Imported, Importer, Skipped
from prorl_cli.data.importers.llama_nemotron import convert as instructions_of


def convert(record: Mapping[str, Any]) -> Imported | Skipped:
    """Return a prompt with its instructions: prompt-level strict accuracy."""
    made = instructions_of(record)
    if isinstance(made, Skipped):
        return made
    return Imported(made.prompt, {**made.row, "strictness": "ifeval", "reward": "all"}, made.notes)


IFEVAL = Importer(
    name="ifeval",
    domain=Domain.INSTRUCTION_FOLLOWING,
    description="IFEval, judged as published: prompt-level strict accuracy",
    convert=convert,
)
