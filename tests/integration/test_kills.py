"""A staged run that is killed at twenty random moments, five to a part, and changes no number.

`pytest -m chaos tests/integration/test_kills.py -k part-1` runs one part; each costs eight starts of a learner.
"""

from __future__ import annotations

import random
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from prorl_api.errors import ExitCode
from prorl_api.run_folder import RunFolder
from tests.integration.learner_world import World, manifest, world
from tests.integration.test_learner import RESET, compared

pytestmark = [pytest.mark.slow, pytest.mark.chaos, pytest.mark.timeout(1800)]
PARTS = 4
KILLS = 5
"""In a part."""
STAGES = [
    {
        "name": "wide",
        "fromStep": 8,
        "overrides": {"groupSize": 6, "learningRate": 0.0005},
        "resetReferenceOnEntry": True,
    },
    {"name": "long", "fromStep": 16, "overrides": {"maxCompletionTokens": 12, "klCoefficient": 0.1, "clipHigh": 0.4}},
    {"name": "last", "fromStep": 24, "overrides": {"promptsPerStep": 6, "minibatchPrompts": 3}},
]


def document(model: Path) -> dict[str, Any]:
    """Thirty steps in four stages, a checkpoint after every second one: more than five kills let through."""
    return manifest(
        model,
        schedule={"totalSteps": 30, "stages": STAGES},
        checkpoint={"everySteps": 2, "keep": 2},
        validation={"everySteps": 3},
    )


@pytest.fixture(scope="module")
def whole(model: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """The same run, left alone."""
    with world(tmp_path_factory.mktemp("whole")) as made:
        process = made.start(1, document(model))
        made.call("POST", "/v1/resets", RESET)
        assert process.wait(timeout=600) == ExitCode.OK, made.log(1)
        yield made


def partial_checkpoints(run: RunFolder) -> set[Path]:
    return set(run.attempts.glob("*/checkpoints/*.partial"))


def num_lines(path: Path) -> int:
    return path.read_bytes().count(b"\n") if path.exists() else 0


def kill(made: World, process: subprocess.Popen[str], dice: random.Random) -> str:
    """Have the learner killed at a moment of a kind that is thrown; which kind."""
    recorded, torn = num_lines(made.run.metrics), partial_checkpoints(made.run)
    moments: dict[str, Callable[[], bool]] = {
        "after a step": lambda: num_lines(made.run.metrics) > recorded,
        "while a checkpoint is written": lambda: bool(partial_checkpoints(made.run) - torn),
        "after a checkpoint": lambda: made.run.current.exists() and made.run.current.stat().st_mtime > begun,
        "while it samples": lambda: len(made.requests) >= asked,
        "soon after its start": lambda: made.run.highest_attempt() > attempt,
    }
    begun, asked, attempt = time.time(), len(made.requests) + dice.randint(1, 30), made.run.highest_attempt()
    kind, delay = dice.choice(sorted(moments)), dice.choice((0.0, dice.uniform(0, 0.2)))

    def watch() -> None:
        while process.poll() is None and not moments[kind]() and num_lines(made.run.metrics) < recorded + 3:
            time.sleep(0.002)  # a moment that is over before it is seen is made up for two steps later
        time.sleep(delay)  # the moment of the kill, not a wait for something
        process.kill()

    threading.Thread(target=watch, daemon=True).start()
    return kind


@pytest.mark.parametrize("part", range(1, PARTS + 1), ids="part-{}".format)
def test_a_staged_run_killed_at_random_moments_changes_no_number(
    model: Path, whole: World, tmp_path: Path, part: int
) -> None:
    dice, killed = random.Random(part), list[str]()
    with world(tmp_path) as made:
        for attempt in range(1, 100):
            process = made.start(attempt, document(model))
            kind = kill(made, process, dice) if len(killed) < KILLS else ""
            made.call("POST", "/v1/resets", RESET)
            code = process.wait(timeout=600)
            if code == ExitCode.OK:
                break
            assert code == -signal.SIGKILL, made.log(attempt)
            killed.append(kind)
        assert len(killed) == KILLS, f"the run was over before all of them: {killed}"
        assert compared(made) == compared(whole)
        ours, theirs = made.state(), whole.state()
        assert ours.applied_resets == theirs.applied_resets
        assert [entry.digest for entry in ours.lineage] == [entry.digest for entry in theirs.lineage]
        assert ours.best == theirs.best
        assert {path.name for path in made.run.references.iterdir()} >= ours.digests
