"""What a person sees of a run."""

from __future__ import annotations

import dataclasses
import io
import time
from io import StringIO
from typing import Any

import pytest
from rich.console import Console

from prorl_api.limits import Limits
from prorl_api.resets import Evidence, ResetCondition, ResetRecord
from prorl_api.settings import RolloutServerSettings, SandboxSettings
from prorl_api.spec.resets import ReferenceResetSpec
from prorl_api.spec.run import RestartSpec
from prorl_api.spec.values import OptimizerAction, ResetSource, Role
from prorl_api.vitals import vitals
from prorl_api.wire.learner import LearnerPhase, LearnerStatus
from prorl_cli.local.live import render
from prorl_cli.local.plain import PlainProgress
from prorl_cli.local.startup import TYPICAL_SECONDS
from prorl_cli.local.view import (
    View,
    doing,
    figures,
    reset_lines,
    step_line,
    truncation_text,
    warnings,
)
from prorl_control.advice import advise
from prorl_control.decision import Outcome, OutcomeKind
from prorl_control.members import Exit, Member, MemberState
from prorl_control.plan import RunPlan

PLAN = RunPlan(
    job_name="demo",
    total_steps=20,
    num_rollout_servers=1,
    num_sandboxes=1,
    learner_replicas=1,
    learner_ranks_per_replica=1,
    rollout_settings=RolloutServerSettings(),
    sandbox_settings=SandboxSettings(),
    restarts=RestartSpec(),
    reference_reset=ReferenceResetSpec(),
    suspend=False,
)
LINES = [
    {"step": 4, "attempt": 1, "validation_accuracy": 0.25, "seconds_total": 10.0},
    {
        "step": 5,
        "attempt": 1,
        "reward_mean": 0.5,
        "kl": 0.0123,
        "seconds_total": 20.0,
        "seconds_sampling": 10.0,
        "tokens_generated": 12345,
        "completion_length": 31.7,
    },
]
RECORD = ResetRecord(
    name="demo-reset-1",
    number=1,
    uid="u",
    created=0.0,
    attempt=1,
    evidence_step=3,
    evidence=Evidence(trigger="spike", metric="kl", rule="r", steps=(3,), values=(1.0,), reason="KL averaged 1"),
    source=ResetSource.CURRENT,
    optimizer=OptimizerAction.CLEAR,
    condition=ResetCondition.APPROVED,
)


def make_view(phase: LearnerPhase | None = LearnerPhase.SAMPLING, **fields: Any) -> View:
    learner = None
    if phase is not None:
        learner = LearnerStatus(attempt=1, phase=phase, phase_since=0, heartbeat=0, step=5, total_steps=20)
    defaults: dict[str, Any] = {
        "plan": PLAN,
        "members": tuple(Member(role=role, index=0, state=MemberState.READY, started_at=60.0) for role in Role),
        "learner": learner,
        "lines": LINES,
        "resets": (),
        "outcome": Outcome(kind=OutcomeKind.RUNNING, reason="Running"),
        "usual_seconds": TYPICAL_SECONDS,
        "now": 100.0,
    }
    return View(**(defaults | fields))


def rendered(view: View) -> str:
    out = StringIO()
    Console(file=out, width=160).print(render(view))
    return out.getvalue()


def test_the_newest_value_of_everything_is_shown_with_the_time_left() -> None:
    assert figures(make_view()) == [
        ("reward", "0.500"),
        ("held-out accuracy", "0.250 (step 4)"),
        ("KL", "0.0123 nats"),
        ("tokens/s sampled", "1 234"),
        ("left", "about 3 min 45 s"),
    ]


def test_a_step_is_one_line() -> None:
    assert step_line(LINES[-1], make_view()) == (
        "step 5/20  reward 0.500  KL 0.0123  length 32  1234 tokens/s sampled  about 3 min 45 s left"
    )


def test_while_starting_members_are_shown_with_how_long_they_usually_take() -> None:
    starting = Member(role=Role.ROLLOUT, index=0, state=MemberState.STARTING, started_at=88.0)
    text = rendered(make_view(phase=None, members=(starting,), lines=()))
    assert "rollout-0" in text
    assert "12 s, usually about 1 min 00 s" in text


def test_training_shows_step_phase_and_figures() -> None:
    text = rendered(make_view())
    for part in ("step 5/20", "sampling", "reward 0.500", "rollout"):
        assert (part in text) is (part != "rollout")


def test_a_stop_says_what_it_waits_for() -> None:
    outcome = Outcome(kind=OutcomeKind.RUNNING, reason="Stopping", message="waiting for the learner")
    assert "waiting for the learner. Ctrl-C again ends at once" in rendered(make_view(outcome=outcome))


def test_an_ended_member_says_how_it_ended() -> None:
    member = Member(role=Role.ROLLOUT, index=0, state=MemberState.EXITED, exit=Exit(code=1))
    assert doing(member, make_view()) == "ended: exit code 1 (FAILED)"


def test_plain_progress_says_each_thing_once() -> None:
    out = StringIO()
    progress = PlainProgress(Console(file=out, width=200))
    starting = Member(role=Role.SANDBOX, index=0, state=MemberState.STARTING, started_at=88.0)
    ready = Member(role=Role.SANDBOX, index=0, state=MemberState.READY, started_at=88.0)
    for member in (starting, starting, ready, ready):
        progress.show(make_view(members=(member,)))
    text = out.getvalue()
    assert text.count("usually about 10 s") == 1
    assert text.count("ready after 12 s") == 1
    assert text.count("step 5/20") == 1


def test_every_change_of_a_reset_is_one_line() -> None:
    applied = RECORD.model_copy(update={"condition": ResetCondition.APPLIED, "applied_step": 6})
    judged = applied.model_copy(update={"validation_before": 0.25, "validation_after": 0.5})
    assert reset_lines((), (RECORD,)) == ["demo-reset-1 asked for: KL averaged 1 [spike]"]
    assert reset_lines((RECORD,), (RECORD,)) == []
    evidence = RECORD.evidence.model_copy(update={"trigger": "manual", "reason": "asked for by a person at step 3"})
    by_hand = RECORD.model_copy(update={"evidence": evidence})
    assert reset_lines((), (by_hand,)) == ["demo-reset-1 asked for by a person at step 3"]
    assert "applied at step 6" in reset_lines((RECORD,), (applied,))[0]
    assert reset_lines((applied,), (judged,)) == ["demo-reset-1: held-out accuracy 0.250 before, 0.500 after"]


def steps_of(*times: float, **fields: Any) -> list[dict[str, Any]]:
    return [{"step": step, "attempt": 1, "time": at, **fields} for step, at in enumerate(times, 1)]


def test_steps_of_an_earlier_start_are_not_told_again_with_today_s_time() -> None:
    out = io.StringIO()
    progress = PlainProgress(Console(file=out, width=200))
    now = time.time()
    progress.show(make_view(lines=steps_of(now - 900, now - 800)))
    progress.show(make_view(lines=steps_of(now - 900, now - 800, now + 5)))
    steps = [line.split(" ", 1)[1] for line in out.getvalue().splitlines() if "step " in line]
    assert steps == ["done before this start: step 2/20", "step 3/20"]


@pytest.mark.parametrize(
    ("share", "reward", "warns"),
    [
        (0.25, None, 0),
        (0.27, None, 1),
        (0.27, 0.73, 1),
        (0.27, 0.74, 0),
        (0.51, None, 1),
        (1.0, None, 1),
        (None, None, 0),
        (1.0, 0.0, 1),
        (0.9, 0.1, 1),
        (1.0, 0.1, 0),
        (0.9, 0.6, 0),
    ],
)
def test_a_run_that_cuts_many_completions_warns_once_unless_cut_ones_are_paid(
    share: float | None, reward: float | None, warns: int
) -> None:
    out = io.StringIO()
    progress = PlainProgress(Console(file=out, width=200))
    later = time.time() + 60
    for count in (1, 2):
        progress.show(make_view(lines=steps_of(*[later] * count, truncated=share, reward_mean=reward)))
    assert out.getvalue().count("WARNING") == warns
    assert out.getvalue().count("maxCompletionTokens") == warns


@pytest.mark.parametrize("share", [0.2, 0.25, 0.27, 0.6])
@pytest.mark.parametrize("reward", [0.1, 0.7])
def test_a_step_is_judged_as_ten_of_them_are(share: float, reward: float) -> None:
    """One bound and one remedy, whoever speaks of completions that are cut."""
    lines = steps_of(*range(10), truncated=share, reward_mean=reward)
    limits = Limits(checkpoint_every_steps=10, checkpoint_every_minutes=60)
    advised = [f"more than 25%. {one.remedy}" for one in advise(limits, vitals(lines)) if one.name == "Truncation"]
    said = [text.partition("limit, ")[2] for kind, text in warnings(lines) if kind == "Truncation"]
    assert said == advised


@pytest.mark.parametrize(
    ("share", "reward", "said"),
    [
        (None, None, ""),
        (0.0, 0.5, "0% cut at the limit"),
        (0.12, 0.5, "12% cut at the limit (up to 25% does no harm)"),
        (0.27, None, "27% cut at the limit (up to 25% does no harm)"),
        (0.27, 0.9, "27% cut at the limit (behind their answer)"),
    ],
)
def test_a_share_that_is_cut_is_told_with_the_one_that_matters(
    share: float | None, reward: float | None, said: str
) -> None:
    assert truncation_text({"step": 3, "truncated": share, "reward_mean": reward}) == said


@pytest.mark.parametrize(
    ("accuracies", "warns"), [([], 0), ([None], 0), ([0.0], 1), ([0.0, None, 0.0], 1), ([0.0, 0.1], 0), ([0.1, 0.0], 0)]
)
def test_held_out_data_of_which_nothing_is_right_is_said_once(accuracies: list[float | None], warns: int) -> None:
    later = time.time() + 60
    lines = [
        line | {"validation_accuracy": accuracies[n]} for n, line in enumerate(steps_of(*[later] * len(accuracies)))
    ]
    out = io.StringIO()
    progress = PlainProgress(Console(file=out, width=200))
    for _ in range(2):
        progress.show(make_view(lines=lines))
    assert out.getvalue().count("WARNING") == warns
    assert out.getvalue().count("answerFormat") == warns


def test_what_is_unusual_about_a_sampling_is_a_line_each_time_it_changes() -> None:
    out = io.StringIO()
    progress = PlainProgress(Console(file=out, width=200))
    view = make_view(lines=())
    assert view.learner is not None
    told = [
        "round 1: 0 of 8",
        "round 1: 0 of 8; note: 1 of 5",
        "round 2: 0 of 8; note: 1 of 5",
        "round 1; note: 2 of 5",
    ]
    for detail in told:
        learner = view.learner.model_copy(update={"phase_detail": detail})
        progress.show(dataclasses.replace(view, learner=learner))
    assert [line[9:] for line in out.getvalue().splitlines() if "WARNING" in line] == [
        "WARNING 1 of 5",
        "WARNING 2 of 5",
    ]


def test_the_time_left_is_told_by_training_alone_and_not_by_the_start() -> None:
    start = {"step": 0, "attempt": 1, "seconds_total": 600.0, "seconds_waiting": 590.0}
    resumed = {"step": 1, "attempt": 2, "seconds_total": 130.0, "seconds_waiting": 120.0}
    assert make_view(lines=(start,)).seconds_left is None
    view = make_view(lines=(start, resumed))
    assert view.learner is not None
    assert view.seconds_left == 10.0 * (view.plan.total_steps - view.learner.step)
