"""Reset decisions: one worked example for each rule, and properties over any series."""

from __future__ import annotations

import itertools
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from prorl_api.resets import ResetCondition, ResetRecord
from prorl_api.spec.values import ResetMode
from prorl_api.wire.learner import ResetOutcome, ResetState
from prorl_control.resets.decide import ResetProposal, decide, replay
from prorl_control.resets.judgement import with_judgement
from prorl_control.resets.records import (
    ResetStateError,
    approved,
    command,
    expired,
    proposed,
    requested,
    superseded,
    vetoed,
    with_outcome,
)

sys.path.insert(0, str(Path(__file__).parent))
from control_builders import make_policy, make_samples

SPIKE = {"name": "kl-spike", "klSpike": {"above": 0.05, "windowSteps": 2}}
STALLED = {"name": "stalled", "validationStalled": {"patience": 2, "minGain": 0.01}}
DROPPED = {"name": "dropped", "validationDropped": {"belowBest": 0.1, "validations": 2}}
EVERY_TEN = {"name": "interval", "interval": {"everySteps": 10}}


def fires(trigger: dict[str, Any], metric: str, values: Sequence[float | None], **policy: Any) -> ResetProposal | None:
    samples = make_samples(metric, values)
    return decide(make_policy(triggers=[trigger], **policy), samples, (), len(values))


def make_record(proposal: ResetProposal | None = None, **changes: Any) -> ResetRecord:
    proposal = proposal or fires(SPIKE, "kl", [0.06, 0.1])
    assert proposal is not None
    return proposed(proposal, job_name="demo", number=1, uid="u1", now=1.0).model_copy(update=changes)


def test_kl_spike_fires_on_the_mean_of_the_window_and_says_why() -> None:
    proposal = fires(SPIKE, "kl", [0.0] * 8 + [0.062, 0.1])
    assert proposal is not None
    assert proposal.evidence.steps == (9, 10)
    assert proposal.evidence.values == (0.062, 0.1)
    assert proposal.evidence.reason == "KL averaged 0.081 nats over steps 9-10, above 0.05"
    assert proposal.condition is ResetCondition.APPROVED
    assert proposal.expires_after_step == 60


def test_kl_at_the_bound_does_not_fire() -> None:
    assert fires(SPIKE, "kl", [0.05, 0.05]) is None


def test_fewer_samples_than_the_window_never_fire() -> None:
    assert fires(SPIKE, "kl", [9.0]) is None


def test_a_missing_or_infinite_value_is_no_evidence() -> None:
    assert fires(SPIKE, "kl", [9.0, 9.0, None]) is None
    assert fires(SPIKE, "kl", [9.0, float("inf")]) is None


def test_kl_loss_share_is_read_from_its_own_metric() -> None:
    trigger = {"name": "share", "klSpike": {"metric": "klLossShare", "above": 0.5, "windowSteps": 1}}
    proposal = fires(trigger, "kl_loss_share", [0.75])
    assert proposal is not None
    assert proposal.evidence.metric == "kl_loss_share"
    assert "share of the loss averaged 0.75" in proposal.evidence.reason


def test_after_a_reset_only_later_samples_count() -> None:
    applied = make_record(condition=ResetCondition.APPLIED, applied_step=2)
    policy = make_policy(triggers=[SPIKE])
    samples = make_samples("kl", [0.1, 0.1, 0.1])
    assert decide(policy, samples, (applied,), 3) is None
    assert decide(policy, make_samples("kl", [0.1, 0.1, 0.1, 0.1]), (applied,), 4) is not None


def test_validation_stalls_after_patience_without_a_gain() -> None:
    assert fires(STALLED, "validation_accuracy", [0.30, 0.40, 0.405]) is None
    proposal = fires(STALLED, "validation_accuracy", [0.30, 0.40, None, 0.405, 0.40])
    assert proposal is not None
    assert proposal.evidence.steps == (2, 4, 5)
    assert proposal.evidence.values == (0.40, 0.405, 0.40)


def test_small_gains_that_add_up_are_a_gain() -> None:
    assert fires(STALLED, "validation_accuracy", [0.40, 0.405, 0.412, 0.413]) is None


def test_validation_drop_needs_all_of_its_validations() -> None:
    assert fires(DROPPED, "validation_accuracy", [0.5, 0.35]) is None
    assert fires(DROPPED, "validation_accuracy", [0.5, 0.35, 0.45]) is None
    proposal = fires(DROPPED, "validation_accuracy", [0.5, 0.35, 0.30])
    assert proposal is not None
    assert proposal.evidence.values == (0.5, 0.35, 0.30)


def test_interval_counts_from_the_start_and_from_the_last_reset() -> None:
    policy = make_policy(triggers=[EVERY_TEN])
    assert decide(policy, (), (), 9) is None
    assert decide(policy, (), (), 10) is not None
    applied = make_record(condition=ResetCondition.APPLIED, applied_step=12)
    assert decide(policy, (), (applied,), 21) is None
    assert decide(policy, (), (applied,), 22) is not None


def test_the_first_trigger_that_fires_wins() -> None:
    policy = make_policy(triggers=[EVERY_TEN, SPIKE])
    proposal = decide(policy, make_samples("kl", [0.1] * 10), (), 10)
    assert proposal is not None
    assert proposal.evidence.trigger == "interval"


def test_cooldown_counts_from_the_start_and_from_the_applied_step() -> None:
    policy = make_policy(triggers=[SPIKE], cooldownSteps=5)
    samples = make_samples("kl", [0.1] * 20)
    assert decide(policy, samples[:4], (), 4) is None
    assert decide(policy, samples[:5], (), 5) is not None
    applied = make_record(condition=ResetCondition.APPLIED, applied_step=8)
    assert decide(policy, samples[:12], (applied,), 12) is None
    assert decide(policy, samples[:13], (applied,), 13) is not None


@pytest.mark.parametrize("condition", [ResetCondition.PENDING, ResetCondition.APPROVED])
def test_a_reset_under_way_blocks_another(condition: ResetCondition) -> None:
    policy = make_policy(triggers=[SPIKE])
    assert decide(policy, make_samples("kl", [0.1] * 5), (make_record(condition=condition),), 5) is None


def test_an_expired_reset_may_be_proposed_again_at_once_and_a_vetoed_one_after_a_cooldown() -> None:
    policy = make_policy(triggers=[SPIKE], cooldownSteps=3)
    samples = make_samples("kl", [0.1] * 12)
    gone = make_record(condition=ResetCondition.EXPIRED, evidence_step=8)
    refused = make_record(condition=ResetCondition.VETOED, evidence_step=8)
    assert decide(policy, samples[:9], (gone,), 9) is not None
    assert decide(policy, samples[:10], (refused,), 10) is None
    assert decide(policy, samples[:11], (refused,), 11) is not None


def test_modes_decide_how_a_proposal_begins() -> None:
    def begins(mode: str) -> tuple[ResetCondition, bool] | None:
        proposal = fires(SPIKE, "kl", [0.1, 0.1], mode=mode)
        return None if proposal is None else (proposal.condition, proposal.dry_run)

    assert begins("automatic") == (ResetCondition.APPROVED, False)
    assert begins("approve") == (ResetCondition.PENDING, False)
    assert begins("dry-run") == (ResetCondition.PENDING, True)
    assert begins("disabled") is None


def test_a_dry_run_restarts_the_cooldown_in_its_own_mode_alone() -> None:
    record = make_record(dry_run=True, condition=ResetCondition.PENDING, evidence_step=8)
    samples = make_samples("kl", [0.1] * 9)
    dry = make_policy(triggers=[SPIKE], mode="dry-run", cooldownSteps=5)
    assert decide(dry, samples, (record,), 9) is None
    assert decide(make_policy(triggers=[SPIKE], cooldownSteps=5), samples, (record,), 9) is not None


def test_replay_lists_what_would_have_been_proposed() -> None:
    samples = make_samples("kl", [0.01, 0.01, 0.1, 0.1, 0.1, 0.1, 0.0])
    policy = make_policy(triggers=[SPIKE], mode="disabled")
    assert [proposal.evidence_step for proposal in replay(policy, samples)] == [3, 5]


def test_replay_reads_the_surviving_timeline_only() -> None:
    lost = make_samples("kl", [0.01, 9.0, 9.0])
    resumed = make_samples("kl", [0.01, 0.01], first_step=2, attempt=2)
    assert replay(make_policy(triggers=[SPIKE]), [*lost, *resumed]) == []


@given(
    values=st.lists(st.one_of(st.none(), st.floats(0, 10)), max_size=30),
    cooldown=st.integers(0, 40),
    applied=st.one_of(st.none(), st.integers(1, 30)),
    mode=st.sampled_from(ResetMode),
)
def test_nothing_fires_in_the_cooldown_or_when_disabled(
    values: list[float | None], cooldown: int, applied: int | None, mode: ResetMode
) -> None:
    policy = make_policy(triggers=[SPIKE, EVERY_TEN], cooldownSteps=cooldown, mode=mode.value)
    records = [] if applied is None else [make_record(condition=ResetCondition.APPLIED, applied_step=applied)]
    proposal = decide(policy, make_samples("kl", values), records, len(values))
    if proposal is not None:
        assert mode is not ResetMode.DISABLED
        assert len(values) - (applied or 0) >= cooldown
        assert all(step > (applied or 0) for step in proposal.evidence.steps)


@given(values=st.lists(st.floats(0, 1), max_size=40), cooldown=st.integers(0, 10))
def test_replayed_resets_keep_the_cooldown_between_them(values: list[float], cooldown: int) -> None:
    policy = make_policy(triggers=[SPIKE], cooldownSteps=cooldown)
    steps = [0, *(proposal.evidence_step for proposal in replay(policy, make_samples("kl", values)))]
    assert all(later - earlier >= max(cooldown, 1) for earlier, later in itertools.pairwise(steps))


def test_the_command_carries_identity_and_reason() -> None:
    posted = command(make_record())
    assert posted.uid == "u1"
    assert posted.name == "demo-reset-1"
    assert posted.trigger.startswith("kl-spike: KL averaged")


def test_the_learners_answer_becomes_the_record_once() -> None:
    record = make_record()
    accepted = ResetOutcome(uid="u1", name="demo-reset-1", state=ResetState.ACCEPTED)
    applied = accepted.model_copy(update={"state": ResetState.APPLIED, "applied_step": 4, "digest_after": "d"})
    assert with_outcome(record, accepted) == record
    done = with_outcome(record, applied)
    assert (done.condition, done.applied_step, done.digest_after) == (ResetCondition.APPLIED, 4, "d")
    assert with_outcome(done, accepted.model_copy(update={"state": ResetState.FAILED})) == done
    assert with_outcome(record, applied.model_copy(update={"uid": "other"})) == record


def test_only_an_unapproved_proposal_expires() -> None:
    pending = make_record(condition=ResetCondition.PENDING, expires_after_step=10)
    assert expired(pending, 10) == pending
    assert expired(pending, 11).condition is ResetCondition.EXPIRED
    waiting = make_record(condition=ResetCondition.APPROVED, expires_after_step=10)
    assert expired(waiting, 99) == waiting


def test_validations_around_the_applied_step_judge_the_reset() -> None:
    record = make_record(condition=ResetCondition.APPLIED, applied_step=3)
    samples = make_samples("validation_accuracy", [0.1, None, 0.3, None])
    before = with_judgement(record, samples, [record])
    assert (before.validation_before, before.validation_after) == (0.3, None)
    later = with_judgement(before, make_samples("validation_accuracy", [0.1, None, 0.3, 0.4, 0.9]), [before])
    assert (later.validation_before, later.validation_after) == (0.3, 0.4)


def test_people_decide_on_pending_resets_only() -> None:
    pending = make_record(condition=ResetCondition.PENDING)
    assert approved(pending).condition is ResetCondition.APPROVED
    assert vetoed(pending).condition is ResetCondition.VETOED
    with pytest.raises(ResetStateError, match="cannot be taken back"):
        vetoed(make_record())
    with pytest.raises(ResetStateError, match="applied already"):
        approved(make_record(condition=ResetCondition.APPLIED))
    with pytest.raises(ResetStateError, match="dry run"):
        approved(make_record(condition=ResetCondition.PENDING, dry_run=True))


def test_a_reset_by_hand_is_approved_at_once() -> None:
    record = make_record()
    manual = requested(
        job_name="demo",
        number=3,
        uid="u3",
        now=0.0,
        attempt=1,
        step=7,
        source=record.source,
        optimizer=record.optimizer,
    )
    assert (manual.name, manual.condition, manual.evidence.trigger) == (
        "demo-reset-3",
        ResetCondition.APPROVED,
        "manual",
    )


def test_a_reset_is_never_applied_before_its_evidence() -> None:
    record = make_record()
    assert record.apply_at_step == record.evidence_step


@pytest.mark.parametrize(
    ("applied_step", "is_stale"),
    [(9, False), (10, True), (20, True), (None, False)],
    ids=["before its evidence", "at its evidence", "after its evidence", "not applied"],
)
def test_a_pending_reset_whose_evidence_speaks_of_a_replaced_reference_is_superseded(
    applied_step: int | None, is_stale: bool
) -> None:
    pending = make_record(condition=ResetCondition.PENDING, evidence_step=10)
    condition = ResetCondition.VETOED if applied_step is None else ResetCondition.APPLIED
    other = make_record(uid="u2", name="demo-reset-2", condition=condition, applied_step=applied_step)
    after = superseded(pending, [pending, other])
    assert after.condition is (ResetCondition.EXPIRED if is_stale else ResetCondition.PENDING)
    if is_stale:
        assert f"demo-reset-2 was applied at step {applied_step}" in after.message
        with pytest.raises(ResetStateError, match="superseded"):
            approved(after)


def test_only_a_pending_reset_is_superseded_by_the_body() -> None:
    other = make_record(uid="u2", condition=ResetCondition.APPLIED, applied_step=20)
    for untouched in (
        make_record(condition=ResetCondition.APPROVED, evidence_step=10),
        make_record(condition=ResetCondition.PENDING, dry_run=True, evidence_step=10),
        make_record(condition=ResetCondition.APPLIED, applied_step=10, evidence_step=10),
    ):
        assert superseded(untouched, [untouched, other]) == untouched
