"""Every tracker with its real library: a run that was killed and resumed is one run there, each step in it once.

`make test-trackers` gives the libraries an environment of their own; TensorBoard is tested without it, too.
"""

from __future__ import annotations

import json
import os
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from prorl_api.names import ENV_TRACKER_PYTHON
from prorl_trainer.tracking.record import TrackerRecord, read_record
from tests.unit.trainer.tracked_folder import TrackedFolder, kl, reset

READING = Path(__file__).with_name("reading.py")
SPECS: dict[str, dict[str, Any]] = {
    "tensorboard": {"tensorboard": {}},
    "wandb": {"wandb": {"mode": "offline"}},
    "mlflow": {"mlflow": {}},
    "trackio": {"trackio": {}},
}
LIVE = {"tensorboard"}
PATIENCE_SECONDS = 300.0


def python() -> str:
    found = os.environ.get(ENV_TRACKER_PYTHON)
    if not found:
        pytest.fail(f"{ENV_TRACKER_PYTHON} is not set; `make test-trackers` sets it")
    return found


class Following:
    """The tracker's process, as the learner starts it."""

    def __init__(self, folder: TrackedFolder, **variables: str) -> None:
        self.folder = folder
        (name,) = (tracker.name for tracker in folder.trackers)
        self.name = name
        command = [python(), "-m", "prorl_trainer.tracking", str(folder.run.path), str(folder.manifest), name, "01RUN"]
        environment = {**os.environ, "HOME": str(folder.run.path.parent), **variables}
        environment.pop("WANDB_API_KEY", None)
        self._log = (folder.run.path.parent / "log").open("ab")
        self.process = subprocess.Popen(
            command, env=environment, stdin=subprocess.PIPE, stdout=self._log, stderr=subprocess.STDOUT
        )

    def wait(self, reached: Callable[[TrackerRecord], object]) -> TrackerRecord:
        limit = time.monotonic() + PATIENCE_SECONDS
        while True:
            record = read_record(self.folder.run, self.name)
            if record is not None and reached(record):
                return record
            assert time.monotonic() < limit, (record, (self.folder.run.path.parent / "log").read_text()[-3000:])
            time.sleep(0.1)

    def end(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.close()
        assert self.process.wait(PATIENCE_SECONDS) == 0
        self._log.close()

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()
        assert self.process.stdin is not None
        self.process.stdin.close()
        self._log.close()


def read_back(kind: str, folder: TrackedFolder) -> dict[str, Any]:
    command = [python(), str(READING), kind, str(folder.run.tracking / kind)]
    found: dict[str, Any] = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    return found


@pytest.mark.timeout(900)
@pytest.mark.parametrize("kind", SPECS)
def test_a_killed_and_resumed_run_is_one_run_with_each_step_once(tmp_path: Path, kind: str) -> None:
    folder = TrackedFolder(tmp_path / "run", {"name": kind, **SPECS[kind]})
    folder.record(1, 0, 1, 2, 3, 4)
    folder.checkpoint(1, 2, reset(2))
    first = Following(folder)
    settled = 4 if kind in LIVE else 2
    first.wait(lambda record: record.mark.step == settled and not record.problem)
    first.kill()  # with the learner, after step 4; the next attempt goes on from step 2
    folder.record(2, 3, 4, 5)
    second = Following(folder)
    folder.checkpoint(2, 5, reset(2), reset(5, "01S", "by hand"))
    second.wait(lambda record: record.mark.step == 5)
    folder.record(2, 6, 7, 8)
    folder.checkpoint(2, 8, reset(2), reset(5, "01S", "by hand"))
    second.end()
    found = read_back(kind, folder)
    assert found["runs"] == 1
    assert [step for step, _ in found["kl"]] == list(range(9))
    assert [value for _, value in found["kl"]] == pytest.approx([kl(1 if step < 3 else 2, step) for step in range(9)])
    assert found["resets"] == [[2, 1.0], [5, 1.0]]
    assert found["texts"]["reset_reason"] == [[2, "KL above 0.25"], [5, "by hand"]]
    assert {"kl", "accuracy_sampled/sums"} <= set(found["names"]), "the names of metrics.jsonl"
    if kind == "mlflow":
        assert found["status"] == "FINISHED"
        assert found["params"]["schedule.totalSteps"] == "8"


@pytest.mark.timeout(600)
@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ({"wandb": {}}, "set WANDB_API_KEY"),
        ({"trackio": {"space": "me/runs"}}, "needs HF_TOKEN"),
        ({"mlflow": {"trackingUri": "http://127.0.0.1:9"}}, "must be reachable"),
    ],
    ids=["wandb", "trackio", "mlflow"],
)
def test_without_credentials_or_a_server_the_record_holds_the_remedy(
    tmp_path: Path, spec: dict[str, Any], words: str
) -> None:
    folder = TrackedFolder(tmp_path / "run", {"name": "one", **spec})
    folder.record(1, 0, 1)
    folder.checkpoint(1, 1)
    quick = {"MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0", "HF_TOKEN": ""}
    following = Following(folder, **quick)
    record = following.wait(lambda seen: seen.problem)
    assert words in record.problem
    assert record.mark.step == -1
    following.kill()
