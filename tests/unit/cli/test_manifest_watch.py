"""What a live edit leaves in the run folder, and what is said of it."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import yaml

from prorl_api.journalled import sampling_settings
from prorl_api.manifest import read_job
from prorl_api.run_folder import RunFolder
from prorl_cli.local import folder
from prorl_cli.local.job import read_local_job
from prorl_cli.local.manifest_watch import ManifestWatch
from tests.conformance.jobs import make_job
from tests.model_folder import write_model_files


class Bench:
    """A manifest, a run that began with it, and the watch on it."""

    def __init__(self, path: Path, *assignments: str) -> None:
        """Begin."""
        self.manifest = path / "job.yaml"
        write_model_files(path / "model")
        self.edit()
        self.run = RunFolder(path / "run")
        self.run.create()
        load = partial(read_local_job, self.manifest, None, assignments)
        job = load()
        identity = folder.begin(self.run, job.stored, manifest_folder=path, model=None)
        self.watch = ManifestWatch(self.manifest, self.run, job, load, identity)

    def edit(self, **sections: Any) -> None:
        """Write the manifest, with sections of the spec changed."""
        self.manifest.write_text(yaml.safe_dump(make_job("demo", {"model": {"path": "./model"}}, sections)))

    def look(self) -> tuple[str, ...]:
        """What the watch says."""
        edit = self.watch.look()
        return () if edit is None else edit.messages


def test_an_edit_is_stored_as_the_file_has_it(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    bench.edit(schedule={"totalSteps": 4})
    assert bench.look() == ("spec.schedule.totalSteps: 40 -> 4 (holds from the next step on)",)
    assert bench.run.manifest.read_text() == bench.manifest.read_text()


@pytest.mark.parametrize("section", [{"checkpoint": {"everySteps": 7}}, {"rollout": {"dtype": "float32"}}])
def test_under_set_it_is_stored_as_the_command_line_changed_it(tmp_path: Path, section: dict[str, Any]) -> None:
    """Whether it holds now or at the next start."""
    bench = Bench(tmp_path, "spec.schedule.totalSteps=100000")
    bench.edit(**section)
    assert bench.look()
    wanted = read_job(bench.manifest, ["spec.schedule.totalSteps=100000"])
    assert read_job(bench.run.manifest) == wanted


@pytest.mark.parametrize("section", [{"seed": 9}, {"rollout": {"temprature": 1.0}}])
def test_an_edit_that_is_refused_is_not_stored(tmp_path: Path, section: dict[str, Any]) -> None:
    bench = Bench(tmp_path)
    before = bench.run.manifest.read_text()
    bench.edit(**section)
    assert bench.look()
    assert bench.run.manifest.read_text() == before


def test_an_edit_after_which_journalled_steps_are_sampled_again_says_so_once(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    for step in (1, 2):
        bench.run.journal(1).mkdir(parents=True, exist_ok=True)
        (bench.run.journal(1) / f"step-{step}.jsonl").write_text("{}\n")
        settings = sampling_settings(bench.watch.effective.spec)
        (bench.run.journal(1) / f"step-{step}.settings").write_text(f"{json.dumps(settings)}\n")
    again = "if the run is started again before its next checkpoint, steps 1 to 2 are sampled again, because"
    bench.edit(rollout={"maxCompletionTokens": 63})
    assert bench.look()[1:] == (f"{again} spec.rollout.maxCompletionTokens changed",)
    bench.edit(rollout={"maxCompletionTokens": 63}, schedule={"totalSteps": 4})
    assert bench.look() == ("spec.schedule.totalSteps: 40 -> 4 (holds from the next step on)",)
    bench.edit(schedule={"totalSteps": 4})
    assert len(bench.look()) == 1
    bench.edit(rollout={"maxCompletionTokens": 65}, schedule={"totalSteps": 4})
    assert bench.look()[1:] == (f"{again} spec.rollout.maxCompletionTokens changed",)
