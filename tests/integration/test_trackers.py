"""Trackers beside a real learner: killed and resumed, failing, hanging; and the best policy kept as a folder."""

from __future__ import annotations

import json
import os
import signal
import sys
from pathlib import Path
from typing import Any

import pytest

from prorl_api.errors import ExitCode
from prorl_api.export_record import ExportRecord
from prorl_api.names import ENV_TRACKER_PYTHON
from prorl_api.run_identity import RunIdentity
from prorl_trainer.tracking.processes import TrackerProcesses
from tests.integration.learner_world import manifest, world
from tests.integration.tiny_model import write_model
from tests.integration.trained_run import loaded
from tests.unit.trainer.http_apps import wait_until
from tests.unit.trainer.tracked_folder import TrackedFolder

BOARD = {"name": "board", "tensorboard": {}}
REMOTE = {"name": "remote", "wandb": {}}
RESET = {"uid": "01RESET", "name": "demo-reset-1", "apply_at_step": 2, "trigger": "kl spike"}


def scalars(folder: Path, tag: str) -> list[tuple[int, float]]:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(folder))
    events.Reload()
    return [(event.step, event.value) for event in events.Scalars(tag)]


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_killed_run_is_shown_once_a_failing_tracker_stops_nothing_and_the_best_policy_is_kept(tmp_path: Path) -> None:
    document = manifest(
        write_model(tmp_path / "model"),
        tracking={"trackers": [BOARD, REMOTE]},
        schedule={"totalSteps": 6},
        checkpoint={"everySteps": 2, "keep": 2, "exportBest": True},
        validation={"everySteps": 2, "samplesPerPrompt": 1, "sources": [{"name": "sums", "size": 4}]},
    )
    with world(tmp_path / "world") as made:
        made.run.identity.write_text(RunIdentity(uid="01RUN", created=1.0).model_dump_json())
        first = made.start(1, document)
        made.call("POST", "/v1/resets", RESET)
        wait_until(lambda: any(line["step"] >= 3 for line in made.series()), 240)
        first.send_signal(signal.SIGKILL)
        first.wait()
        second = made.start(2, document)
        status = made.call("GET", "/v1/status")
        assert second.wait(timeout=240) == ExitCode.OK, made.log(2)
        series, best = made.series(), made.state().best
    shown, wanted = scalars(made.run.tracking / "board", "kl"), [line for line in series if "kl" in line]
    assert [step for step, _ in shown] == [line["step"] for line in wanted] == list(range(1, 7))
    assert [value for _, value in shown] == pytest.approx([line["kl"] for line in wanted])
    assert scalars(made.run.tracking / "board", "reset") == [(2, 1.0)]
    assert "training goes on" in made.log(2)
    assert "pip install 'prorl[wandb]'" in made.log(2)
    assert {"trackers", "export_problem"} <= set(status)
    assert best is not None
    record = ExportRecord.model_validate_json((made.run.exported_best / "prorl.json").read_text())
    assert (record.digest, record.step, record.run_uid) == (best.digest, best.step, "01RUN")
    assert loaded(made.run.exported_best)[0].num_parameters() > 0


def program(folder: Path, text: str) -> str:
    """A Python in whose place another program runs."""
    file = folder / "python"
    file.write_text(f"#!{sys.executable}\n{text}")
    file.chmod(0o755)
    return str(file)


BAD: dict[str, tuple[str, str]] = {
    "hangs": ("import time\ntime.sleep(3600)", "did not take the last steps within 0.5 s"),
    "crashes": ("import sys\nsys.exit(3)", "its process ended with 3"),
    "is killed": ("import os, signal\nos.kill(os.getpid(), signal.SIGKILL)", "its process ended with -9"),
}


@pytest.mark.parametrize("kind", BAD)
def test_a_process_that_goes_wrong_is_told_of_and_waited_for_but_briefly(tmp_path: Path, kind: str) -> None:
    text, words = BAD[kind]
    folder = TrackedFolder(tmp_path / "run", BOARD)
    environment = {**os.environ, ENV_TRACKER_PYTHON: program(tmp_path, text)}
    started = TrackerProcesses(folder.run, folder.manifest, "01RUN", folder.trackers, environment)
    (process,) = (item.process for item in started._started.values())
    if kind != "hangs":
        process.wait(60)
    (state,) = started.close(0.5)
    assert words in state.problem
    assert process.poll() is not None


def test_a_python_that_is_not_there_is_told_of(tmp_path: Path) -> None:
    folder = TrackedFolder(tmp_path / "run", BOARD)
    environment = {**os.environ, ENV_TRACKER_PYTHON: str(tmp_path / "nowhere")}
    (state,) = TrackerProcesses(folder.run, folder.manifest, "01RUN", folder.trackers, environment).states()
    assert ENV_TRACKER_PYTHON in state.problem


def test_trackers_are_given_no_token_of_the_run(tmp_path: Path) -> None:
    folder = TrackedFolder(tmp_path / "run", BOARD)
    seen = tmp_path / "seen.json"
    text = f"import json, os\nopen({str(seen)!r}, 'w').write(json.dumps(dict(os.environ)))"
    environment = {
        **os.environ,
        ENV_TRACKER_PYTHON: program(tmp_path, text),
        "PRORL_TOKEN_SANDBOX": "secret",
        "WANDB_API_KEY": "theirs",
    }
    TrackerProcesses(folder.run, folder.manifest, "01RUN", folder.trackers, environment).close(60)
    given: dict[str, Any] = json.loads(seen.read_text())
    assert given["WANDB_API_KEY"] == "theirs"
    assert not any("TOKEN_SANDBOX" in name for name in given)
