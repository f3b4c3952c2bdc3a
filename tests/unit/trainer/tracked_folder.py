"""A run folder as trackers see it: lines of metrics, and the checkpoint that the run would go on from."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from prorl_api.manifest import read_job
from prorl_api.run_folder import RunFolder
from prorl_api.spec.job import ProRLJob
from prorl_api.spec.tracking import Tracker
from prorl_trainer.storage.checkpoints import LearnerState, LineageEntry
from tests.unit.trainer.trainer_builders import make_state

TOTAL_STEPS = 8
BASE = LineageEntry(digest="b" * 64, since_step=0, trigger="base model")


class TrackedFolder:
    """Written by the test as a learner writes it."""

    def __init__(self, folder: Path, *trackers: dict[str, Any]) -> None:
        self.run = RunFolder(folder)
        folder.mkdir()
        document = {
            "apiVersion": "prorl.dev/v1alpha1",
            "kind": "ProRLJob",
            "metadata": {"name": "demo"},
            "spec": {
                "model": {"path": "/models/base"},
                "data": {
                    "sources": [{"name": "sums", "domain": "logic", "reasoningGym": {"tasks": [{"name": "chain_sum"}]}}]
                },
                "schedule": {"totalSteps": TOTAL_STEPS},
                "tracking": {"trackers": list(trackers)},
            },
        }
        self.manifest = folder / "job.json"
        self.manifest.write_text(json.dumps(document))

    @property
    def job(self) -> ProRLJob:
        return read_job(self.manifest)

    @property
    def trackers(self) -> tuple[Tracker, ...]:
        return self.job.spec.tracking.trackers

    def record(self, attempt: int, *steps: int) -> None:
        """Lines whose KL says which attempt wrote them: 2.05 is attempt 2's step 5."""
        with self.run.metrics.open("a") as file:
            for step in steps:
                line = {"step": step, "attempt": attempt, "time": 1000.0 + step, "stage": ""}
                line |= {"kl": kl(attempt, step), "accuracy_sampled/sums": step / 10}
                file.write(json.dumps(line) + "\n")

    def checkpoint(self, attempt: int, step: int, *resets: LineageEntry, **fields: Any) -> LearnerState:
        state = make_state(step=step, attempt=attempt, lineage=(BASE, *resets), **fields)
        folder = self.run.checkpoint(attempt, step)
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "checkpoint.json").write_bytes(TypeAdapter(LearnerState).dump_json(state))
        self.run.current.write_text(json.dumps({"attempt": attempt, "step": step}))
        return state


def kl(attempt: int, step: int) -> float:
    return attempt + step / 100


def reset(step: int, uid: str = "01R", trigger: str = "KL above 0.25") -> LineageEntry:
    return LineageEntry(digest="d" * 64, since_step=step, reset_uid=uid, trigger=trigger)
