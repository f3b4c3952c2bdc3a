"""Which steps that no checkpoint holds yet are sampled again after an edit, and why."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parent))
from api_builders import make_job_of

from prorl_api.journalled import sampled_again, sampling_settings
from prorl_api.run_folder import RunFolder
from prorl_api.spec.job import ProRLJobSpec


def spec_of(**sections: Any) -> ProRLJobSpec:
    return make_job_of(**sections).spec


def journalled(folder: Path, steps: range, *specs: ProRLJobSpec, attempt: int = 1) -> RunFolder:
    """A run whose journal holds groups of `steps`, made with each of `specs` in turn."""
    run = RunFolder(folder)
    run.journal(attempt).mkdir(parents=True, exist_ok=True)
    for step in steps:
        (run.journal(attempt) / f"step-{step}.jsonl").write_text("{}\n")
        lines = [json.dumps(sampling_settings(spec)) + "\n" for spec in specs]
        (run.journal(attempt) / f"step-{step}.settings").write_text("".join(lines))
    return run


@pytest.mark.parametrize(
    ("edited", "why"),
    [
        ({"rollout": {"maxCompletionTokens": 32}}, "spec.rollout.maxCompletionTokens changed"),
        ({"rollout": {"temperature": 0.7}}, "spec.rollout.temperature changed"),
        ({"rollout": {"stop": ["END"]}}, "spec.rollout.stop changed"),
        (
            {"learner": {"promptsPerStep": 8, "minibatchPrompts": 4, "groupSize": 5}},
            "spec.learner.groupSize changed",
        ),
        (
            {"rollout": {"temperature": 0.7, "maxCompletionTokens": 32}},
            "spec.rollout.temperature and spec.rollout.maxCompletionTokens changed",
        ),
    ],
)
def test_steps_that_were_made_with_other_settings_are_named_with_the_cause(
    tmp_path: Path, edited: dict[str, Any], why: str
) -> None:
    run = journalled(tmp_path, range(1, 3), spec_of())
    assert sampled_again(run, spec_of(**edited), None) == [f"steps 1 to 2 are sampled again, because {why}"]


@pytest.mark.parametrize(
    "edited",
    [
        {},
        {"schedule": {"totalSteps": 4}},
        {"learner": {"promptsPerStep": 16, "minibatchPrompts": 4}},
        {"checkpoint": {"everySteps": 3}},
        {"rollout": {"dtype": "float32"}},
    ],
)
def test_nothing_is_said_where_groups_still_count(tmp_path: Path, edited: dict[str, Any]) -> None:
    run = journalled(tmp_path, range(1, 3), spec_of())
    assert sampled_again(run, spec_of(**edited), None) == []


@pytest.mark.parametrize(("domain", "libraries_count"), [("math", False), ("code", True)])
def test_libraries_count_where_programs_are_judged(tmp_path: Path, domain: str, libraries_count: bool) -> None:
    data = {"sources": [{"name": "own", "domain": domain, "jsonl": "own.jsonl", "heldOut": 128}]}
    run = journalled(tmp_path, range(1, 3), spec_of(data=data))
    why = ["steps 1 to 2 are sampled again, because spec.sandbox.libraries changed"]
    edited = spec_of(data=data, sandbox={"libraries": ["numpy"]})
    assert sampled_again(run, edited, None) == (why if libraries_count else [])


def test_notes_of_an_earlier_version_say_what_they_know(tmp_path: Path) -> None:
    run = journalled(tmp_path, range(1, 2), spec_of())
    path = run.journal(1) / "step-1.settings"
    noted = json.loads(path.read_text())
    del noted["spec.rollout.stop"]
    path.write_text(json.dumps(noted) + "\n")
    assert sampled_again(run, spec_of(), None) == []
    assert sampled_again(run, spec_of(learner={"groupSize": 5}), None) == [
        "step 1 is sampled again, because spec.learner.groupSize changed"
    ]


def test_what_a_checkpoint_holds_is_not_sampled_again(tmp_path: Path) -> None:
    run = journalled(tmp_path, range(3, 6), spec_of())
    edited = spec_of(rollout={"maxCompletionTokens": 32})
    assert sampled_again(run, edited, 4) == [
        "step 5 is sampled again, because spec.rollout.maxCompletionTokens changed"
    ]
    assert sampled_again(run, edited, 5) == []


def test_an_edit_that_was_put_back_costs_nothing(tmp_path: Path) -> None:
    run = journalled(tmp_path, range(1, 3), spec_of(), spec_of(rollout={"temperature": 0.7}))
    assert sampled_again(run, spec_of(), None) == []
    assert sampled_again(run, spec_of(rollout={"temperature": 0.7}), None) == []


def test_a_stage_that_is_edited_counts_for_its_steps(tmp_path: Path) -> None:
    stage = {"name": "late", "fromStep": 3, "overrides": {"temperature": 0.5}}
    run = journalled(tmp_path, range(1, 6), spec_of())
    assert sampled_again(run, spec_of(schedule={"stages": [stage]}), None) == [
        "steps 3 to 5 are sampled again, because spec.rollout.temperature changed"
    ]


def test_the_newest_journal_counts_and_what_a_kill_left_torn_does_not(tmp_path: Path) -> None:
    edited = spec_of(rollout={"temperature": 0.7})
    run = journalled(tmp_path, range(1, 3), spec_of(), attempt=9)
    journalled(tmp_path, range(1, 3), edited, attempt=10)
    assert sampled_again(run, edited, None) == []
    path = run.journal(10) / "step-1.settings"
    path.write_text('{"spec.rollout.temp')
    (run.journal(10) / "step-2.jsonl").unlink()
    assert sampled_again(run, spec_of(), None) == []
    assert sampled_again(RunFolder(tmp_path / "new"), spec_of(), None) == []
