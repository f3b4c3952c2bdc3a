"""A reset's record and its Kubernetes object: each holds what the other holds."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from prorl_api.crd.objects import from_time, to_time
from prorl_api.crd.reset_models import MAX_EVIDENCE, ResetObjectSpec
from prorl_api.crd.reset_object import (
    OpenFields,
    reset_from_object,
    reset_status,
    reset_to_object,
    status_without_job,
)
from prorl_api.resets import Estimate, Evidence, EvidenceOrigin, Judgement, ResetCondition, ResetEffect, ResetRecord
from prorl_api.spec.values import OptimizerAction, ResetSource

CREATED = 1_800_000_000.0
OPEN = OpenFields(number=1, attempt=2, evidence_step=3, source=ResetSource.BEST, optimizer=OptimizerAction.KEEP)

_COUNTS = st.integers(0, 2**31 - 1)
_VALUES = st.floats(allow_nan=False, allow_infinity=False)
_TEXTS = st.text(max_size=50)
_ESTIMATES = st.builds(
    Estimate, value=_VALUES, low=st.none() | _VALUES, high=st.none() | _VALUES, count=st.integers(0, 1000)
)
_JUDGEMENTS = st.builds(
    Judgement,
    effect=st.sampled_from(ResetEffect),
    accuracy_before=_ESTIMATES,
    accuracy_after=_ESTIMATES,
    change=_ESTIMATES,
    expected_by_trend=st.none() | _VALUES,
    kl_after=st.none() | _ESTIMATES,
    until_step=_COUNTS,
)
RECORDS = st.builds(
    ResetRecord,
    name=st.just("demo-reset-3"),
    number=st.integers(1, 2**31 - 1),
    uid=st.uuids().map(str),
    created=st.integers(0, 2**32).map(float),
    attempt=_COUNTS,
    evidence_step=_COUNTS,
    evidence=st.lists(st.tuples(_COUNTS, _VALUES), max_size=20).flatmap(
        lambda pairs: st.builds(
            Evidence,
            trigger=st.just("kl-spike"),
            metric=st.just("kl"),
            rule=_TEXTS,
            reason=_TEXTS,
            steps=st.just(tuple(step for step, _ in pairs)),
            values=st.just(tuple(value for _, value in pairs)),
        )
    ),
    source=st.sampled_from(ResetSource),
    optimizer=st.sampled_from(OptimizerAction),
    apply_at_step=st.none() | _COUNTS,
    expires_after_step=st.none() | _COUNTS,
    condition=st.sampled_from(ResetCondition),
    message=_TEXTS,
    applied_step=st.none() | _COUNTS,
    digest_before=st.none() | _TEXTS,
    digest_after=st.none() | _TEXTS,
    validation_before=st.none() | _VALUES,
    validation_after=st.none() | _VALUES,
    kl_before=st.none() | _ESTIMATES,
    judgement=st.none() | _JUDGEMENTS,
)


def make_record(**changes: Any) -> ResetRecord:
    """A reset after a spike of the KL; applied, unless its condition says otherwise."""
    condition = changes.pop("condition", ResetCondition.APPLIED)
    came_of_it: dict[str, Any] = {"applied_step": 41, "digest_before": "a" * 64, "digest_after": "b" * 64}
    judged: dict[str, Any] = {"validation_before": 0.5, "validation_after": 0.625}
    evidence = Evidence(
        trigger="kl-spike",
        metric="kl",
        rule="mean of kl over 2 steps above 0.25 nats",
        steps=(39, 40),
        values=(0.28, 0.32),
        reason="KL averaged 0.3 nats over steps 39-40, above 0.25",
    )
    fields: dict[str, Any] = {
        "name": "demo-reset-3", "number": 3, "uid": "uid-3", "created": CREATED, "attempt": 2, "evidence_step": 40,
        "evidence": evidence, "source": ResetSource.CURRENT, "optimizer": OptimizerAction.CLEAR, "apply_at_step": 40,
        "expires_after_step": 90, "condition": condition,
    }  # fmt: skip
    if condition is ResetCondition.APPLIED:
        fields |= came_of_it | judged
    return ResetRecord(**(fields | changes))


def stored(record: ResetRecord, *, status: bool = True) -> dict[str, Any]:
    """The object as the API server holds it."""
    document = reset_to_object(record, job_name="demo", namespace="research")
    document["metadata"] |= {"uid": record.uid, "creationTimestamp": to_time(record.created)}
    if status:
        document["status"] = reset_status(record, generation=1, now=CREATED)
    return document


def by_hand(**spec: Any) -> dict[str, Any]:
    metadata = {"name": "mine", "uid": "uid-9", "creationTimestamp": to_time(CREATED)}
    return {"metadata": metadata, "spec": {"jobName": "demo", **spec}}


@given(RECORDS)
def test_every_record_comes_back_from_its_object(record: ResetRecord) -> None:
    assert reset_from_object(stored(record)) == record


def test_an_object_says_what_was_seen_in_its_spec_and_what_came_of_it_in_its_status() -> None:
    document = stored(make_record())
    assert document["spec"] == {
        "jobName": "demo",
        "number": 3,
        "attempt": 2,
        "evidence": {
            "trigger": "kl-spike",
            "metric": "kl",
            "rule": "mean of kl over 2 steps above 0.25 nats",
            "reason": "KL averaged 0.3 nats over steps 39-40, above 0.25",
            "steps": [39, 40],
            "values": ["0.28", "0.32"],
            "omitted": 0,
        },
        "evidenceStep": 40,
        "applyAtStep": 40,
        "expiresAfterStep": 90,
        "source": "current",
        "optimizer": "clear",
        "dryRun": False,
        "approved": True,
        "vetoed": False,
        "message": "",
    }
    del document["status"]["conditions"]
    assert document["status"] == {
        "number": 3, "attempt": 2, "evidenceStep": 40, "source": "current", "optimizer": "clear", "appliedStep": 41,
        "referenceDigestBefore": "a" * 64, "referenceDigestAfter": "b" * 64, "validationBefore": "0.5",
        "validationAfter": "0.625",
    }  # fmt: skip
    assert document["metadata"]["labels"] == {"prorl.dev/job": "demo"}


@pytest.mark.parametrize(
    ("condition", "applied"),
    [
        (ResetCondition.PENDING, "Unknown"),
        (ResetCondition.APPROVED, "Unknown"),
        (ResetCondition.APPLIED, "True"),
        (ResetCondition.VETOED, "False"),
        (ResetCondition.EXPIRED, "False"),
        (ResetCondition.FAILED, "False"),
    ],
)
def test_applied_is_the_summary_and_one_condition_is_true(condition: ResetCondition, applied: str) -> None:
    conditions = stored(make_record(condition=condition))["status"]["conditions"]
    by_type = {item["type"]: item for item in conditions}
    assert list(by_type) == ["Pending", "Approved", "Applied", "Vetoed", "Expired", "Failed"]
    word = condition.value.capitalize()
    assert (by_type["Applied"]["status"], by_type["Applied"]["reason"]) == (applied, word)
    assert [kind for kind, item in by_type.items() if item["status"] == "True"] == [word]


def test_what_followed_a_reset_stands_in_its_status() -> None:
    before = Estimate(value=0.5, low=0.48, high=0.52, count=10)
    judgement = Judgement(
        effect=ResetEffect.HELPED,
        accuracy_before=before,
        accuracy_after=Estimate(value=0.6, low=0.58, high=0.62, count=10),
        change=Estimate(value=0.1, low=0.07, high=0.13, count=10),
        kl_after=Estimate(value=0.05, count=2),
        until_step=140,
    )
    record = make_record(judgement=judgement, kl_before=Estimate(value=0.3, low=0.29, high=0.31, count=20))
    status = stored(record)["status"]
    assert status["klBefore"] == {"value": "0.3", "low": "0.29", "high": "0.31", "count": 20}
    assert status["judgement"] == {
        "effect": "helped",
        "accuracyBefore": {"value": "0.5", "low": "0.48", "high": "0.52", "count": 10},
        "accuracyAfter": {"value": "0.6", "low": "0.58", "high": "0.62", "count": 10},
        "change": {"value": "0.1", "low": "0.07", "high": "0.13", "count": 10},
        "expectedByTrend": "",
        "klAfter": {"value": "0.05", "low": "", "high": "", "count": 2},
        "untilStep": 140,
    }
    assert reset_from_object(stored(record)) == record


def test_a_condition_keeps_its_time_until_its_status_changes() -> None:
    before = reset_status(make_record(condition=ResetCondition.PENDING), generation=1, now=CREATED)
    after = reset_status(make_record(condition=ResetCondition.VETOED), generation=2, now=CREATED + 60, before=before)
    times = {item["type"]: from_time(item["lastTransitionTime"]) - CREATED for item in after["conditions"]}
    assert times == {"Pending": 60, "Approved": 0, "Applied": 60, "Vetoed": 60, "Expired": 0, "Failed": 0}


@pytest.mark.parametrize(
    ("spec", "condition"),
    [
        ({}, ResetCondition.APPROVED),
        ({"approved": False}, ResetCondition.PENDING),
        ({"approved": False, "vetoed": True}, ResetCondition.VETOED),
        ({"approved": False, "dryRun": True}, ResetCondition.PENDING),
    ],
)
def test_without_a_final_status_the_spec_says_where_a_reset_stands(
    spec: dict[str, Any], condition: ResetCondition
) -> None:
    assert reset_from_object(by_hand(**spec), OPEN).condition is condition


def test_an_edit_changes_what_the_last_status_said_unless_that_was_final() -> None:
    pending = stored(make_record(condition=ResetCondition.PENDING))
    pending["spec"] |= {"approved": True, "message": "go"}
    found = reset_from_object(pending)
    assert (found.condition, found.message) == (ResetCondition.APPROVED, "go")
    expired = stored(make_record(condition=ResetCondition.EXPIRED, message="too late"))
    expired["spec"] |= {"approved": True, "message": "go"}
    found = reset_from_object(expired)
    assert (found.condition, found.message) == (ResetCondition.EXPIRED, "too late")


def test_a_reset_by_hand_takes_what_it_leaves_open_from_the_job() -> None:
    record = reset_from_object(by_hand(), OPEN)
    assert (record.number, record.attempt, record.evidence_step) == (1, 2, 3)
    assert (record.source, record.optimizer) == (ResetSource.BEST, OptimizerAction.KEEP)
    assert (record.apply_at_step, record.expires_after_step) == (None, None)
    assert (record.evidence.trigger, record.evidence.reason) == ("manual", "asked for by a person at step 3")


def test_what_a_person_did_say_is_not_overruled() -> None:
    record = reset_from_object(by_hand(source="current", number=7, attempt=5), OPEN)
    assert (record.source, record.number, record.attempt) == (ResetSource.CURRENT, 7, 5)


def test_an_object_whose_job_does_not_exist_says_so_and_is_settled_once_it_does() -> None:
    stored = {**by_hand(), "status": status_without_job("spec.jobName: there is none", generation=1, now=CREATED)}
    (applied,) = stored["status"]["conditions"]
    assert (applied["type"], applied["status"], applied["reason"]) == ("Applied", "Unknown", "NoJob")
    assert applied["message"] == "spec.jobName: there is none"
    record = reset_from_object(stored, OPEN)
    assert (record.number, record.condition, record.message) == (1, ResetCondition.APPROVED, "")


def test_open_fields_that_nobody_settles_are_named() -> None:
    with pytest.raises(ValueError, match="`number` is set neither in spec nor in status"):
        reset_from_object(by_hand())


def test_an_object_that_is_no_reset_is_refused() -> None:
    document = by_hand()
    del document["spec"]["jobName"]
    with pytest.raises(ValidationError, match="jobName"):
        reset_from_object(document, OPEN)


def test_a_long_window_keeps_its_newest_values_and_says_how_many_it_left_out() -> None:
    steps = tuple(range(1, MAX_EVIDENCE + 6))
    evidence = make_record().evidence.model_copy(update={"steps": steps, "values": tuple(map(float, steps))})
    listed = reset_to_object(make_record(evidence=evidence), job_name="demo", namespace="a")["spec"]["evidence"]
    assert (len(listed["steps"]), len(listed["values"]), listed["omitted"]) == (MAX_EVIDENCE, MAX_EVIDENCE, 5)
    assert (listed["steps"][0], listed["values"][-1]) == (6, "1005.0")


def test_the_query_is_kept_for_people() -> None:
    origin = EvidenceOrigin(
        prometheus="main",
        query="avg(kl)",
        window_start=1_800_000_000.0,
        window_end=1_800_000_060.0,
        steps_seen=3,
        steps_unseen=2,
    )
    evidence = make_record().evidence.model_copy(update={"origin": origin})
    document = reset_to_object(make_record(evidence=evidence), job_name="demo", namespace="a")
    shown = document["spec"]["evidence"]
    assert (shown["prometheus"], shown["query"]) == ("main", "avg(kl)")
    assert (shown["windowStart"], shown["windowEnd"]) == ("2027-01-15T08:00:00Z", "2027-01-15T08:01:00Z")
    assert (shown["stepsSeen"], shown["stepsUnseen"]) == (3, 2)
    stored = {**document, "metadata": {**document["metadata"], "uid": "u", "creationTimestamp": "2027-01-15T08:02:00Z"}}
    assert reset_from_object(stored).evidence.origin == origin


def test_a_query_longer_than_an_object_may_hold_is_cut() -> None:
    origin = EvidenceOrigin(
        prometheus="main", query="q" * 9000, window_start=0.0, window_end=0.0, steps_seen=1, steps_unseen=0
    )
    evidence = make_record().evidence.model_copy(update={"origin": origin})
    document = reset_to_object(make_record(evidence=evidence), job_name="demo", namespace="a")
    assert len(document["spec"]["evidence"]["query"]) == 4096


def test_a_time_is_written_in_whole_seconds_and_never_lies_ahead() -> None:
    assert to_time(1_800_000_000.999) == "2027-01-15T08:00:00Z"
    assert from_time("2027-01-15T08:00:00Z") == 1_800_000_000
    assert from_time("2027-01-15T09:00:00.500+01:00") == 1_800_000_000.5
    with pytest.raises(ValueError, match="needs its zone"):
        from_time("2027-01-15T08:00:00")


@given(st.floats(0, 2**33))
def test_a_time_comes_back_within_a_second(seconds: float) -> None:
    assert from_time(to_time(seconds)) == math.floor(seconds)


def test_fields_of_a_newer_version_are_passed_over() -> None:
    assert ResetObjectSpec.model_validate({"jobName": "demo", "later": 1}).job_name == "demo"
