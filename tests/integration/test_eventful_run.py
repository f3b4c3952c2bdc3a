"""Single events that must not end a run, with every real part. `make bench-events` makes it 500 steps long."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.integration.events.eventful_run import LENGTH, LONGER, run

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]
STEPS = 80


def test_single_events_do_not_end_a_run(tmp_path: Path) -> None:
    seen = run(tmp_path, STEPS, timeout_seconds=540)
    assert seen.exit_code == 0, seen.output
    assert [line["step"] for line in seen.lines] == list(range(STEPS + 1))
    assert {line["attempt"] for line in seen.lines} == {1}, "nothing was started again"
    assert seen.total("prompts_passed_over") > 0
    assert seen.total("samplings_empty") > 0
    assert seen.total("rollouts_masked") > 0
    change = f"spec.rollout.maxCompletionTokens: {LENGTH} -> {LONGER}"
    assert f"{change} (holds from the next start on: the engines are sized when they start)" in seen.output
    assert seen.effective_length == LENGTH
    assert all(line["groups_trained"] > 0 for line in seen.lines[1:])
