"""Which lines a body decides on: the same resets come of a series whenever somebody looks at it."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

sys.path.insert(0, str(Path(__file__).parent))
from control_builders import make_job, make_samples, make_status

from prorl_api.resets import ResetCondition, ResetRecord
from prorl_api.wire.learner import ResetOutcome, ResetState
from prorl_control.plan import RunPlan, plan_in_pods
from prorl_control.resets.changes import Creation, Place, Records, Update, advanced, newest_place, taken_over
from prorl_control.resets.decide import replay

SPIKE = {"name": "kl-spike", "klSpike": {"above": 0.05, "windowSteps": 2}}
ONE_SPIKE = [0.01, 0.01, 0.09, 0.09, 0.01, 0.01, 0.01]
"""The mean of two is above the bound at step 4 alone."""


def make_plan(*, total_steps: int = 100, **policy: Any) -> RunPlan:
    reset = {"cooldownSteps": 0, "triggers": [SPIKE], **policy}
    return plan_in_pods(make_job(schedule={"totalSteps": total_steps}, referenceReset=reset))


def proposed_by(
    plan: RunPlan, samples: list[dict[str, Any]], decided: Place | None, records: Records = ()
) -> ResetRecord | None:
    """What one look proposes."""
    changes = advanced(records, plan, make_status(step=50), samples, new_uid=str, now=0.0, decided=decided)
    creations = [change for change in changes if isinstance(change, Creation)]
    return creations[0].build(1) if creations else None


def test_a_spike_between_two_looks_is_noticed_at_its_step() -> None:
    samples = make_samples("kl", ONE_SPIKE)
    record = proposed_by(make_plan(), samples, decided=(1, 2))
    assert record is not None
    assert (record.evidence_step, record.evidence.steps) == (4, (3, 4))
    assert proposed_by(make_plan(), samples, decided=(1, 5)) is None


def test_whoever_knows_of_no_look_before_decides_on_the_newest_line_alone() -> None:
    samples = make_samples("kl", ONE_SPIKE)
    assert proposed_by(make_plan(), samples, decided=None) is None
    assert proposed_by(make_plan(), samples[:4], decided=None) is not None


def test_the_newest_line_is_looked_at_again_for_what_came_late() -> None:
    samples = make_samples("kl", [0.01, 0.09, 0.09])
    assert proposed_by(make_plan(), samples, decided=newest_place(samples)) is not None


def test_what_would_have_expired_by_now_is_not_proposed() -> None:
    samples = make_samples("kl", ONE_SPIKE)
    assert proposed_by(make_plan(expiresAfterSteps=3), samples, decided=(1, 2)) is not None
    assert proposed_by(make_plan(expiresAfterSteps=1), samples, decided=(1, 2)) is None


def test_lines_of_a_new_attempt_are_undecided_though_their_steps_are_not_new() -> None:
    samples = [
        *make_samples("kl", [0.01, 0.01]),
        *make_samples("kl", [0.09, 0.09, 0.01, 0.01], first_step=3, attempt=2),
    ]
    record = proposed_by(make_plan(), samples, decided=(1, 40))
    assert record is not None
    assert (record.evidence_step, record.attempt) == (4, 2)


@given(
    values=st.lists(st.sampled_from([0.01, 0.04, 0.09]), min_size=1, max_size=30),
    cuts=st.lists(st.integers(1, 30), max_size=5),
    cooldown=st.integers(0, 10),
)
def test_the_first_reset_is_the_replay_s_whenever_somebody_looks(
    values: list[float], cuts: list[int], cooldown: int
) -> None:
    plan, samples = make_plan(cooldownSteps=cooldown), make_samples("kl", values)
    looks = sorted({cut for cut in cuts if cut <= len(samples)} | {len(samples)})
    found, decided = None, (1, 0)
    for upto in looks:
        found = found or proposed_by(plan, samples[:upto], decided)
        decided = newest_place(samples[:upto]) or decided
    replayed = replay(plan.reference_reset, samples)[:1]
    assert [(one.evidence_step, one.evidence) for one in replayed] == (
        [] if found is None else [(found.evidence_step, found.evidence)]
    )


def make_reset(apply_at_step: int | None) -> ResetRecord:
    """One of a person, who says when it is to be applied."""
    record = proposed_by(make_plan(), make_samples("kl", [0.09, 0.09]), decided=None)
    assert record is not None
    return record.model_copy(update={"apply_at_step": apply_at_step, "uid": "u1"})


@pytest.mark.parametrize(("step", "is_out_of_reach"), [(None, False), (100, False), (101, True), (2**31 - 1, True)])
def test_a_reset_for_a_step_after_the_run_s_end_expires_with_the_field(step: int | None, is_out_of_reach: bool) -> None:
    record = make_reset(step)
    changes = taken_over([record], (), make_plan(total_steps=100), attempt=1, now=0.0)
    assert len(changes) == is_out_of_reach
    for change in changes:
        assert isinstance(change, Update)
        after = change.change(record)
        assert after.condition is ResetCondition.EXPIRED
        assert after.message.startswith(f"spec.applyAtStep: got {step}, after the run's last step 100")


def test_what_the_learner_knows_already_is_left_to_it() -> None:
    record = make_reset(101)
    outcome = ResetOutcome(uid="u1", name=record.name, state=ResetState.ACCEPTED)
    assert taken_over([record], [outcome], make_plan(total_steps=100), attempt=1, now=0.0) == []
