"""Completions with their rewards, for the report and for people, in `samples/`."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from prorl_api.run_folder import PRIVATE_FOLDER
from prorl_trainer.algorithm.types import Rollout, RolloutGroup, ScoredGroup
from prorl_trainer.storage.durable import explained
from prorl_trainer.storage.fence import Fence

_MAX_TRAIN_GROUPS = 8
"""Groups of a training step that are kept; all of a validation are."""
_MAX_EXPECTED = 500
"""Characters of an expected answer that are shown."""


class SampleFolder:
    """Writes whole files; a later attempt replaces those of the steps it repeats."""

    def __init__(self, folder: Path, fence: Fence) -> None:
        """Make the folder if need be."""
        self._folder = folder
        self._fence = fence
        with explained(folder):
            folder.mkdir(mode=PRIVATE_FOLDER, parents=True, exist_ok=True)

    def write(self, name: str, lines: Iterable[dict[str, Any]]) -> None:
        """Write one file of JSON lines."""
        self._fence.check()
        path = self._folder / name
        partial = path.with_name(f"{name}.partial")
        text = "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines)
        with explained(path, len(text)):
            partial.write_text(text, encoding="utf-8", errors="replace")
            partial.replace(path)


def training_lines(groups: Sequence[ScoredGroup], step: int, attempt: int) -> Iterator[dict[str, Any]]:
    """Yield the samples of the first groups of a batch."""
    for scored in groups[:_MAX_TRAIN_GROUPS]:
        for rollout, advantage in zip(scored.group.rollouts, scored.advantages, strict=True):
            line = _line(scored.group, rollout, step, attempt)
            yield {**line, "prompt_index": scored.group.prompt.index, "advantage": advantage}


def empty_lines(groups: Sequence[RolloutGroup], step: int, attempt: int) -> Iterator[dict[str, Any]]:
    """Yield the samples of groups without a signal, of a step that has found no others so far."""
    for group in groups:
        for rollout in group.rollouts:
            yield {**_line(group, rollout, step, attempt), "prompt_index": group.prompt.index, "advantage": None}


def validation_lines(groups: Sequence[RolloutGroup], step: int, attempt: int) -> Iterator[dict[str, Any]]:
    """Yield every sample of a validation."""
    for group in groups:
        for sample, rollout in enumerate(group.rollouts):
            yield {**_line(group, rollout, step, attempt), "index": group.prompt.index, "sample": sample}


def expected_answer(row: Mapping[str, Any]) -> Any:
    """Return the answer that a row expects, for people; None where it is no single answer, as tests of a program."""
    entry = row.get("entry")  # of a generated item, or a row of domain `logic`
    found = row.get("answer", entry.get("answer") if isinstance(entry, Mapping) else None)
    text = found if isinstance(found, str) else json.dumps(found, ensure_ascii=False)
    return found if len(text) <= _MAX_EXPECTED else f"{text[:_MAX_EXPECTED]}…"


def _line(group: RolloutGroup, rollout: Rollout, step: int, attempt: int) -> dict[str, Any]:
    return {
        "step": step,
        "attempt": attempt,
        "source": group.prompt.source,
        "prompt": group.prompt.text,
        "expected": expected_answer(group.prompt.row),
        "completion": rollout.text,
        "reward": rollout.reward,
        "verdict": rollout.verdict.value,
        "detail": rollout.detail,
        "finish_reason": rollout.finish_reason.value,
        "num_tokens": rollout.num_tokens,
    }
