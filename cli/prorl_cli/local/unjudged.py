"""Completions that the judge failed on: how many, and what it said; a reward of one's own may raise on every one."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from prorl_api.run_folder import RunFolder
from prorl_cli.errors import RunFolderError
from prorl_cli.local.files import read_lines

_SHOWN = 300


def unjudged_reason(run: RunFolder, lines: Sequence[Mapping[str, Any]]) -> str:
    """Return what the judge said most often of the samples in the newest step with any; empty if nobody knows.

    Args:
        run: Whose samples are read. They are private: another user's are not known.
        lines: Of the surviving timeline, ascending.
    """
    newest = next((line for line in reversed(lines) if line.get("rollouts_masked")), None)
    if newest is None:
        return ""
    try:
        samples = read_lines(run.samples / f"train-{newest['step']}.jsonl", "reward", "detail")
    except RunFolderError:
        return ""
    reasons = Counter(str(sample["detail"]) for sample in samples if sample["reward"] is None and sample["detail"])
    return reasons.most_common(1)[0][0][:_SHOWN] if reasons else ""


def unjudged_text(run: RunFolder, lines: Sequence[Mapping[str, Any]]) -> str:
    """Return how many completions have no reward, and why; empty if all have one."""
    total = sum(int(line.get("rollouts_masked") or 0) for line in lines)
    if not total:
        return ""
    newest = lines[-1]
    sampled = sum(int(count) for name, count in newest.items() if name.startswith("rollouts_sampled/"))
    text = f"{int(newest.get('rollouts_masked') or 0)} of {sampled} completions of step {newest['step']}"
    reason = unjudged_reason(run, lines)
    return f"{text}, {total} so far; masked, not wrong{': ' + reason if reason else ''}"
