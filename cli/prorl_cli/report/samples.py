"""Reading `samples/`: rewards of every held-out item, and the text of the few completions that the page shows.

Files are read line by line and only what is asked for is kept, so that long runs with long completions fit. Lines
of attempts that did not survive are left out, as in the metrics.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from prorl_api.run_folder import RunFolder
from prorl_cli.report.loading import Line, read_lines, value

Item = tuple[str, int]
"""Source and index of a held-out prompt."""

Rewards = dict[int, dict[Item, float]]
"""Step to held-out item to its reward, averaged over samples; items that could not be judged are absent."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Completion:
    """One completion as the page shows it."""

    prompt: str
    text: str
    reward: float | None
    advantage: float | None
    verdict: str
    detail: str
    finish_reason: str
    num_tokens: int | None


def validation_rewards(run: RunFolder, timeline: Mapping[int, int]) -> Rewards:
    """Mean reward of every held-out item at every validation that survived."""
    rewards: Rewards = {}
    for step in sample_steps(run, "validation", timeline):
        path = run.samples / f"validation-{step}.jsonl"
        judged = _judged(path, _version(path), timeline[step] if timeline else None)
        if judged:
            rewards[step] = judged
    return rewards


@lru_cache(maxsize=1024)
def _judged(path: Path, _: object, attempt: int | None) -> dict[Item, float]:
    """Return the rewards in one file; a live page asks again and again for files that no longer change."""
    judged: defaultdict[Item, list[float]] = defaultdict(list)
    for line in read_lines(path):
        item, reward = _item(line), value(line, "reward")
        if item is not None and reward is not None and attempt in (None, line.get("attempt")):
            judged[item].append(reward)
    return {item: sum(found) / len(found) for item, found in sorted(judged.items())}


def _version(path: Path) -> tuple[int, int, int]:
    try:
        found = path.stat()
    except OSError:
        return (0, 0, 0)
    return (found.st_mtime_ns, found.st_size, found.st_ino)


def validation_prompts(run: RunFolder, timeline: Mapping[int, int], step: int) -> dict[Item, str]:
    """Return the prompt of every held-out item of one validation: what makes items of two runs the same."""
    found: dict[Item, str] = {}
    for line in _lines(run, "validation", step, timeline):
        item = _item(line)
        if item is not None:
            found.setdefault(item, _string(line, "prompt"))
    return found


def validation_completions(
    run: RunFolder, timeline: Mapping[int, int], steps: Collection[int], items: Collection[Item]
) -> dict[tuple[int, Item], Completion]:
    """Return the first sample of each of the given items at each of the given steps, where there is one."""
    found: dict[tuple[int, Item], Completion] = {}
    for step in steps:
        for line in _lines(run, "validation", step, timeline):
            item = _item(line)
            if item is not None and item in items:
                found.setdefault((step, item), _completion(line))
    return found


def training_groups(
    run: RunFolder, timeline: Mapping[int, int], step: int, *, most: int
) -> dict[Item, list[Completion]]:
    """Return the first groups of a training step: source and prompt index to completions."""
    groups: dict[Item, list[Completion]] = {}
    for line in _lines(run, "train", step, timeline):
        item = _item(line, "prompt_index")
        if item is not None and (item in groups or len(groups) < most):
            groups.setdefault(item, []).append(_completion(line))
    return groups


def sample_steps(run: RunFolder, kind: str, timeline: Mapping[int, int]) -> list[int]:
    """Return the steps of the surviving timeline that have such a file, ascending.

    Without metrics, all that have one.
    """
    names = (re.fullmatch(rf"{kind}-([0-9]{{1,12}})\.jsonl", path.name) for path in run.samples.glob(f"{kind}-*.jsonl"))
    steps = sorted({int(match[1]) for match in names if match})
    return [step for step in steps if step in timeline or not timeline]


def _lines(run: RunFolder, kind: str, step: int, timeline: Mapping[int, int]) -> Iterator[Line]:
    """Lines of the attempt that survived at that step; without metrics, of every attempt."""
    for line in read_lines(run.samples / f"{kind}-{step}.jsonl"):
        if not timeline or line.get("attempt") == timeline[step]:
            yield line


def _item(line: Line, key: str = "index") -> Item | None:
    source, index = line.get("source"), line.get(key)
    return (source, index) if isinstance(source, str) and isinstance(index, int) else None


def _completion(line: Line) -> Completion:
    tokens = value(line, "num_tokens")
    return Completion(
        prompt=_string(line, "prompt"),
        text=_string(line, "completion"),
        reward=value(line, "reward"),
        advantage=value(line, "advantage"),
        verdict=_string(line, "verdict"),
        detail=_string(line, "detail"),
        finish_reason=_string(line, "finish_reason"),
        num_tokens=None if tokens is None else int(tokens),
    )


def _string(line: Line, key: str) -> str:
    found = line.get(key)
    return "" if found is None else str(found)
