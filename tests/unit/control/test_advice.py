"""Advice: every row of the table is given where it holds, and not just beside it."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from prorl_api.limits import KLBound, Limits
from prorl_api.metrics import LIVE
from prorl_api.metrics import TABLE as METRICS
from prorl_api.spec.resets import ReferenceResetSpec
from prorl_api.vitals import VITALS
from prorl_api.wire.learner import LearnerPhase
from prorl_control.advice import TABLE, Severity, advise, advise_on, bounds

sys.path.insert(0, str(Path(__file__).parent))
from control_builders import make_job, make_status

NOW = 100_000.0
STEPS = {"step_usual": 200.0, "step_pause_longest": 50.0}
BOUND = KLBound(trigger="spike", metric="kl", above=0.2)
SHARE = KLBound(trigger="share", metric="kl_loss_share", above=0.5)
GAMED = {"validation_best": 0.7, "validation_recent": 0.66, "reward_recent": 0.55, "reward_at_best": 0.5}


@dataclass(frozen=True, kw_only=True)
class Case:
    """One look, and what it must say."""

    vitals: Mapping[str, float] = field(default_factory=dict)
    learner: Mapping[str, Any] | None = None
    limits: Limits = field(default_factory=Limits)
    says: str | None = None
    """A part of what is seen; None: nothing."""


def training(**fields: Any) -> dict[str, Any]:
    """A learner that has just been heard of."""
    return {"heartbeat": NOW, "started": NOW - 90_000, "last_checkpoint_at": NOW} | fields


CASES: dict[str, list[Case]] = {
    "StepOverdue": [
        Case(vitals=STEPS | {"step_timestamp": NOW - 1051}, learner=training(), says="no step for 18 min"),
        Case(vitals=STEPS | {"step_timestamp": NOW - 1049}, learner=training()),
        Case(vitals=STEPS | {"step_timestamp": NOW - 9000}, learner=training(started=NOW - 60)),
        Case(vitals=STEPS | {"step_timestamp": NOW - 9000}),
        Case(vitals={"step_usual": 1.0, "step_timestamp": NOW - 599}, learner=training()),
        Case(vitals={"step_usual": 1.0, "step_timestamp": NOW - 601}, learner=training(), says="takes 1 s as a rule"),
        Case(vitals={"step_timestamp": NOW - 9000}, learner=training()),
    ],
    "LearnerHeartbeatStale": [
        Case(learner=training(heartbeat=NOW - 1801, step=1), says="no progress for 30 min while sampling"),
        Case(learner=training(heartbeat=NOW - 1799, step=1)),
    ],
    "LearnerNoStep": [
        Case(learner=training(started=NOW - 7300, step=0), says="no step completed in 2.0 h"),
        Case(learner=training(started=NOW - 7100, step=0)),
        Case(learner=training(started=0.0, step=0)),
        Case(learner=training(started=NOW - 7300, step=0), vitals={"step_timestamp": NOW - 7300}),
        Case(learner=training(started=NOW - 7300, step=4)),
    ],
    "CheckpointOverdue": [
        Case(
            vitals=STEPS | {"step_timestamp": NOW},
            learner=training(last_checkpoint_at=NOW - 4600),
            limits=Limits(checkpoint_every_steps=10, checkpoint_every_minutes=60),
            says="no checkpoint for 77 min, one is due every 38 min",
        ),
        Case(
            vitals=STEPS | {"step_timestamp": NOW},
            learner=training(last_checkpoint_at=NOW - 4400),
            limits=Limits(checkpoint_every_steps=10, checkpoint_every_minutes=60),
        ),
        Case(
            vitals=STEPS | {"step_timestamp": NOW},
            learner=training(last_checkpoint_at=None, started=NOW - 4600),
            limits=Limits(checkpoint_every_steps=10, checkpoint_every_minutes=60),
            says="no checkpoint",
        ),
    ],
    "RolloutServersMissing": [
        Case(learner=training(live_rollout_servers=1), limits=Limits(rollout_servers=4), says="1 of 4 rollout servers"),
        Case(learner=training(live_rollout_servers=4), limits=Limits(rollout_servers=4)),
        Case(learner=training(live_rollout_servers=None), limits=Limits(rollout_servers=4)),
        Case(learner=training(live_rollout_servers=0, step=0, started=NOW), limits=Limits(rollout_servers=4)),
        Case(
            learner=training(live_rollout_servers=0, phase=LearnerPhase.WAITING_FOR_ROLLOUT),
            limits=Limits(rollout_servers=4),
        ),
    ],
    "GpuUnused": [
        Case(learner=training(is_gpu_unused=True), says="trains on the CPU"),
        Case(learner=training(is_gpu_unused=False)),
    ],
    "RewardGamed": [
        Case(vitals=GAMED, says="held-out accuracy fell from 0.700 to 0.660"),
        Case(vitals=GAMED | {"validation_recent": 0.68}),
        Case(vitals=GAMED | {"reward_recent": 0.51}),
        Case(vitals={name: value for name, value in GAMED.items() if name != "validation_recent"}),
    ],
    "EngineMismatch": [
        Case(
            vitals={"mismatch_logprob_recent": 0.16}, limits=Limits(max_mismatch=0.3), says="0.16 nats a token; at 0.3"
        ),
        Case(vitals={"mismatch_logprob_recent": 0.14}, limits=Limits(max_mismatch=0.3)),
    ],
    "RolloutsMasked": [
        Case(
            vitals={"rollouts_masked_recent/code": 0.11, "rollouts_masked_recent/math": 0.0},
            says="11% of the rollouts of code",
        ),
        Case(vitals={"rollouts_masked_recent/code": 0.1}),
    ],
    "EntropyCollapsed": [
        Case(
            vitals={"entropy_sampled_start/a": 1.0, "entropy_sampled_recent/a": 0.29}, says="of a fell from 1 to 0.29"
        ),
        Case(vitals={"entropy_sampled_start/a": 1.0, "entropy_sampled_recent/a": 0.31}),
        Case(vitals={"entropy_sampled_start/b": 1.0, "entropy_sampled_recent/a": 0.01}),
    ],
    "KLBeyondBound": [
        Case(
            vitals={"kl_long": 0.21},
            limits=Limits(kl_bounds=(BOUND, SHARE), are_resets_applied=False),
            says="KL averaged 0.21 over 50 steps, above 0.2 of trigger spike",
        ),
        Case(
            vitals={"kl_long": 0.1, "kl_loss_share_long": 0.6},
            limits=Limits(kl_bounds=(BOUND, SHARE), are_resets_applied=False),
            says="KL's share of the loss averaged 0.6",
        ),
        Case(vitals={"kl_long": 0.19}, limits=Limits(kl_bounds=(BOUND,), are_resets_applied=False)),
        Case(vitals={"kl_long": 0.21}, limits=Limits(kl_bounds=(BOUND,), are_resets_applied=True)),
        Case(vitals={"kl_long": 9.0}, limits=Limits(are_resets_applied=False)),
    ],
    "LittleSignal": [
        Case(vitals={"groups_kept_recent": 0.49}, says="51% of the groups of the last 10 steps had no signal"),
        Case(vitals={"groups_kept_recent": 0.5}),
    ],
    "Truncation": [
        Case(vitals={"truncated_recent": 0.26}, says="26% of the completions"),
        Case(vitals={"truncated_recent": 0.25}),
        Case(vitals={"truncated_recent": 0.75, "reward_recent": 0.25}, says="75% of the completions"),
        Case(vitals={"truncated_recent": 0.75, "reward_recent": 0.26}),
    ],
}
ROWS = [(name, case) for name, cases in CASES.items() for case in cases]


def test_every_row_with_a_finder_has_a_case_that_holds_and_one_that_does_not() -> None:
    assert set(CASES) == {rule.name for rule in TABLE if rule.find is not None}
    for cases in CASES.values():
        assert {case.says is None for case in cases} == {True, False}


@pytest.mark.parametrize(("name", "case"), ROWS, ids=[f"{name}-{index}" for index, (name, _) in enumerate(ROWS)])
def test_a_condition_is_seen_where_it_holds_and_nothing_else_is(name: str, case: Case) -> None:
    learner = None if case.learner is None else make_status(**case.learner)
    found = advise(case.limits, case.vitals, learner, NOW if learner else None)
    if case.says is None:
        assert found == ()
        return
    [advice] = found
    assert advice.name == name
    assert case.says in advice.seen
    assert advice.remedy in advice.text


def test_the_most_urgent_advice_comes_first() -> None:
    learner = make_status(**training())
    found = advise(Limits(), STEPS | {"step_timestamp": NOW - 9999, "truncated_recent": 1.0}, learner, NOW)
    assert [advice.severity for advice in found] == [Severity.CRITICAL, Severity.WARNING]


def test_lines_alone_are_enough_for_what_does_not_need_a_learner() -> None:
    lines = [{"step": step, "attempt": 1, "truncated": 0.5} for step in range(1, 11)]
    assert [advice.name for advice in advise_on(make_job().spec, lines)] == ["Truncation"]


def test_limits_are_those_of_the_spec() -> None:
    spec = make_job(
        rollout={"replicas": 3},
        algorithm={"engineMismatch": {"maxLogprobDistance": 0.7}},
        checkpoint={"everySteps": 7, "everyMinutes": 5},
        referenceReset={
            "mode": "dry-run",
            "triggers": [
                {"name": "spike", "klSpike": {"above": 0.2}},
                {"name": "share", "klSpike": {"metric": "klLossShare", "above": 0.5}},
                {"name": "often", "interval": {"everySteps": 9}},
            ],
        },
    ).spec
    assert Limits.of(spec) == Limits(
        kl_bounds=(BOUND, SHARE),
        are_resets_applied=False,
        max_mismatch=0.7,
        rollout_servers=3,
        checkpoint_every_steps=7,
        checkpoint_every_minutes=5.0,
    )
    assert ReferenceResetSpec().mode.value == "automatic"
    assert Limits.of(make_job().spec).are_resets_applied


def test_alerts_compare_what_is_exported_with_the_bounds_of_advice() -> None:
    known = {metric.prometheus_name for metric in (*METRICS, *LIVE, *VITALS)}
    for rule in TABLE:
        named = {word for word in _words(rule.expr) if word.startswith("prorl_learner_")}
        assert named <= known, rule.name
    assert f"< {bounds.ENTROPY_LEFT:g}" in next(rule.expr for rule in TABLE if rule.name == "EntropyCollapsed")


def _words(expr: str) -> set[str]:
    cleaned = "".join(letter if letter.isalnum() or letter == "_" else " " for letter in expr)
    return set(cleaned.split())
