"""What an edit does to the groups of steps that no checkpoint holds yet: those made with other settings count no more.

The learner notes with what settings it samples a step (`step-<n>.settings` beside the step's groups); whoever starts a
run, or takes an edit up, says which steps are sampled again. The notes are for people: what counts for the learner is
the digest with each group.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import groupby
from pathlib import Path
from typing import Any

from prorl_api.run_folder import RunFolder
from prorl_api.spec.job import ProRLJobSpec
from prorl_api.spec.merge import spec_at
from prorl_api.spec.values import Domain

SETTINGS_SUFFIX = ".settings"


def sampling_settings(spec: ProRLJobSpec) -> dict[str, Any]:
    """Return the fields that a group of a training step depends on and that a begun run may change.

    Args:
        spec: As it holds at the step.
    """
    settings: dict[str, Any] = {
        "spec.learner.groupSize": spec.learner.group_size,
        "spec.rollout.temperature": spec.rollout.temperature,
        "spec.rollout.maxCompletionTokens": spec.rollout.max_completion_tokens,
        "spec.rollout.stop": list(spec.rollout.stop),
        "spec.data.sources.weight": {source.name: source.weight for source in spec.data.sources},
    }
    if any(source.domain is Domain.CODE for source in spec.data.sources):
        settings["spec.sandbox.libraries"] = list(spec.sandbox.libraries)
    return settings


def sampled_again(run: RunFolder, spec: ProRLJobSpec, checkpoint_step: int | None) -> list[str]:
    """Say which journalled steps a start with `spec` samples again, and why: "steps 1 to 2: spec.x changed".

    Args:
        run: The folder.
        spec: As the run would go on.
        checkpoint_step: Where it would go on; None: from the start.
    """
    found = []
    for step, noted in sorted(_noted(run).items()):
        wanted = sampling_settings(spec_at(spec, step))
        if step <= (checkpoint_step or 0) or wanted in noted:
            continue
        changed = tuple(path for path, value in wanted.items() if noted[-1].get(path, value) != value)
        if changed:
            found.append((step, changed))
    # Steps in a row have the same difference to their place in the list.
    runs = groupby(enumerate(found), key=lambda pair: (pair[1][0] - pair[0], pair[1][1]))
    return [_said([step for _, (step, _) in steps], changed) for (_, changed), steps in runs]


def _said(steps: list[int], changed: tuple[str, ...]) -> str:
    which = f"step {steps[0]} is" if len(steps) == 1 else f"steps {steps[0]} to {steps[-1]} are"
    return f"{which} sampled again, because {' and '.join(changed)} changed"


def _noted(run: RunFolder) -> dict[int, list[dict[str, Any]]]:
    """Return the notes of each step that has groups in the newest journal, in the order written."""
    attempts = [int(path.parent.name) for path in run.attempts.glob("*/journal") if path.parent.name.isdigit()]
    found = {}
    for path in run.journal(max(attempts)).glob(f"step-*{SETTINGS_SUFFIX}") if attempts else ():
        step = path.stem.removeprefix("step-")
        if step.isdigit() and path.with_suffix(".jsonl").exists() and (lines := list(_objects(path))):
            found[int(step)] = lines
    return found


def _objects(path: Path) -> Iterator[dict[str, Any]]:
    try:
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    except FileNotFoundError:  # a checkpoint holds the step by now
        return
    for line in lines:
        try:
            value = json.loads(line)
        except ValueError:  # torn by a kill
            continue
        if isinstance(value, dict):
            yield value
