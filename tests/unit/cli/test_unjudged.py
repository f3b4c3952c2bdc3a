"""What the judge failed on is counted where a person looks, with what it said."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from prorl_api.run_folder import RunFolder
from prorl_cli.local.unjudged import unjudged_reason, unjudged_text

RAISED, STRANGE = "your reward function raised KeyError: 'river'", "your reward function returned 'much', no number"


def line(step: int, masked: float) -> dict[str, Any]:
    return {
        "step": step,
        "attempt": 1,
        "rollouts_masked": masked,
        "rollouts_sampled/own": 40.0,
        "rollouts_sampled/b": 24.0,
    }


def make_run(folder: Path, step: int, *details: str | None) -> RunFolder:
    run = RunFolder(folder)
    run.samples.mkdir()
    samples = [
        {"step": step, "attempt": 1, "reward": None if detail else 0.5, "detail": detail or "fine"}
        for detail in details
    ]
    (run.samples / f"train-{step}.jsonl").write_text("".join(json.dumps(sample) + "\n" for sample in samples))
    return run


def test_nothing_is_said_where_all_were_judged(tmp_path: Path) -> None:
    run = make_run(tmp_path, 1, None, None)
    assert unjudged_text(run, [line(1, 0), line(2, 0)]) == ""
    assert unjudged_text(run, []) == ""
    assert unjudged_reason(run, [line(1, 0)]) == ""


def test_the_newest_steps_share_the_sum_and_the_commonest_reason_are_said(tmp_path: Path) -> None:
    run = make_run(tmp_path, 2, RAISED, STRANGE, RAISED, None)
    assert unjudged_text(run, [line(1, 3), line(2, 5)]) == (
        f"5 of 64 completions of step 2, 8 so far; masked, not wrong: {RAISED}"
    )


def test_an_earlier_step_says_why_where_the_newest_had_none(tmp_path: Path) -> None:
    run = make_run(tmp_path, 1, STRANGE)
    assert unjudged_text(run, [line(1, 3), line(2, 0)]) == (
        f"0 of 64 completions of step 2, 3 so far; masked, not wrong: {STRANGE}"
    )


@pytest.mark.parametrize("content", [None, "", "{", '{"reward": null}\n', '{"reward": null, "detail": ""}\n'])
def test_samples_that_say_nothing_leave_the_count(tmp_path: Path, content: str | None) -> None:
    run = RunFolder(tmp_path)
    if content is not None:
        run.samples.mkdir()
        (run.samples / "train-1.jsonl").write_text(content)
    assert unjudged_text(run, [line(1, 2)]) == "2 of 64 completions of step 1, 2 so far; masked, not wrong"


def test_a_long_reason_is_cut(tmp_path: Path) -> None:
    assert len(unjudged_reason(make_run(tmp_path, 1, "x" * 5000), [line(1, 1)])) == 300
