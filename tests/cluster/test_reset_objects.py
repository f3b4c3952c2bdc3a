"""The ProRLReset definition in a real API server: who may write what, and that records come back as they were."""

from __future__ import annotations

import copy
import sys
from pathlib import Path
from typing import Any

import pytest
from kubernetes.client import ApiException

from prorl_api import API_VERSION
from prorl_api.crd import OpenFields, reset_from_object, reset_status, reset_to_object
from prorl_api.crd.objects import MAX_MESSAGE
from prorl_api.crd.reset_models import MAX_EVIDENCE
from prorl_api.resets import ResetCondition, ResetRecord
from prorl_api.spec.values import OptimizerAction, ResetSource
from tests.cluster.definitions import Definitions, install, refusal
from tests.testbed.control_plane import ControlPlane

sys.path.insert(0, str(Path(__file__).parents[1] / "unit/api"))
from api_builders import REMOVED, changed
from test_reset_object import make_record

RESETS = "prorlresets"
BY_HAND = {
    "apiVersion": API_VERSION,
    "kind": "ProRLReset",
    "metadata": {"name": "by-hand"},
    "spec": {"jobName": "demo"},
}
OPEN = OpenFields(
    number=4, attempt=2, evidence_step=30, source=ResetSource.BEST, optimizer=OptimizerAction.KEEP
)  # fmt: skip


@pytest.fixture(scope="module")
def crds(cluster: ControlPlane) -> Definitions:
    return install(cluster.client())


def proposed(crds: Definitions, namespace: str, **changes: Any) -> dict[str, Any]:
    """A stored reset that waits for approval."""
    record = make_record(condition=ResetCondition.PENDING, **changes)
    return crds.create(RESETS, namespace, reset_to_object(record, job_name="demo", namespace=namespace))


def edit_refusal(crds: Definitions, namespace: str, stored: dict[str, Any], changes: dict[str, Any]) -> str:
    with pytest.raises(ApiException) as caught:
        crds.replace(RESETS, namespace, changed(copy.deepcopy(stored), changes))
    return refusal(caught.value).message


def test_a_person_resets_with_a_job_s_name_alone(crds: Definitions, namespace: str) -> None:
    stored = crds.create(RESETS, namespace, copy.deepcopy(BY_HAND))
    assert stored["spec"] == {"jobName": "demo", "approved": True, "vetoed": False, "dryRun": False, "message": ""}
    record = reset_from_object(stored, OPEN)
    assert record.uid == stored["metadata"]["uid"]
    assert (record.condition, record.number, record.evidence_step) == (ResetCondition.APPROVED, 4, 30)
    assert (record.source, record.optimizer) == (ResetSource.BEST, OptimizerAction.KEEP)


def test_what_was_left_open_stays_as_it_was_settled_first(crds: Definitions, namespace: str) -> None:
    stored = crds.create(RESETS, namespace, copy.deepcopy(BY_HAND))
    first = reset_from_object(stored, OPEN)
    stored["status"] = reset_status(first, generation=1, now=1_800_000_000.0)
    assert reset_from_object(crds.replace_status(RESETS, namespace, stored)) == first


@pytest.mark.parametrize("condition", ResetCondition)
def test_a_record_comes_back_from_the_server_with_the_server_s_uid_and_time(
    crds: Definitions, namespace: str, condition: ResetCondition
) -> None:
    record = make_record(condition=condition)
    stored = crds.create(RESETS, namespace, reset_to_object(record, job_name="demo", namespace=namespace))
    stored["status"] = reset_status(record, generation=1, now=1_800_000_000.0)
    found = reset_from_object(crds.replace_status(RESETS, namespace, stored))
    created = {"uid": stored["metadata"]["uid"], "created": found.created}
    assert found == record.model_copy(update=created)


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("spec.jobName", "other"),
        ("spec.number", 9),
        ("spec.attempt", 9),
        ("spec.evidence", REMOVED),
        ("spec.evidence.reason", "another one"),
        ("spec.evidence.values.0", "0.5"),
        ("spec.evidenceStep", 3),
        ("spec.applyAtStep", REMOVED),
        ("spec.expiresAfterStep", 1000),
        ("spec.source", "best"),
        ("spec.optimizer", "keep"),
        ("spec.dryRun", True),
    ],
)
def test_evidence_and_what_is_to_happen_cannot_be_changed(
    crds: Definitions, namespace: str, path: str, value: Any
) -> None:
    message = edit_refusal(crds, namespace, proposed(crds, namespace), {path: value})
    field = path.split(".")[1]
    assert f"`{field}` cannot be changed; put it back, or create another reset" in message


def test_evidence_cannot_come_later(crds: Definitions, namespace: str) -> None:
    stored = crds.create(RESETS, namespace, copy.deepcopy(BY_HAND))
    evidence = {"trigger": "t", "metric": "kl", "rule": "r", "reason": "because"}
    assert "`evidence` cannot be changed" in edit_refusal(crds, namespace, stored, {"spec.evidence": evidence})


@pytest.mark.parametrize(
    ("answer", "condition"), [("approved", ResetCondition.APPROVED), ("vetoed", ResetCondition.VETOED)]
)
def test_a_person_approves_or_vetoes_by_an_edit_and_cannot_take_it_back(
    crds: Definitions, namespace: str, answer: str, condition: ResetCondition
) -> None:
    stored = proposed(crds, namespace)
    assert reset_from_object(stored).condition is ResetCondition.PENDING
    said = {f"spec.{answer}": True, "spec.message": "I looked"}
    stored = crds.replace(RESETS, namespace, changed(stored, said))
    record = reset_from_object(stored)
    assert (record.condition, record.message) == (condition, "I looked")
    back = edit_refusal(crds, namespace, stored, {f"spec.{answer}": False})
    assert "create another reset instead" in back


def test_a_reset_is_not_both_approved_and_vetoed(crds: Definitions, namespace: str) -> None:
    stored = crds.create(RESETS, namespace, copy.deepcopy(BY_HAND))
    message = edit_refusal(crds, namespace, stored, {"spec.vetoed": True})
    assert "an approved reset cannot be taken back" in message


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"evidenceStep": 900_000}, "`evidenceStep` is the step of `evidence`, which is not there"),
        ({"applyAtStep": 50, "expiresAfterStep": 49}, "`expiresAfterStep` comes before `applyAtStep`"),
        ({"applyAtStep": -1}, "spec.applyAtStep: Invalid value: -1"),
        ({"jobName": "../other"}, "spec.jobName: Invalid value"),
        ({"jobName": "team-b/other"}, "spec.jobName: Invalid value"),
    ],
)
def test_a_reset_of_steps_or_jobs_that_cannot_be_is_refused_with_its_field(
    crds: Definitions, namespace: str, given: dict[str, Any], words: str
) -> None:
    body = {**BY_HAND, "spec": {"jobName": "demo", **given}}
    with pytest.raises(ApiException) as caught:
        crds.create(RESETS, namespace, body)
    assert words in refusal(caught.value).message


def test_a_dry_run_is_never_approved(crds: Definitions, namespace: str) -> None:
    stored = proposed(crds, namespace, dry_run=True)
    assert "`dryRun` is never applied" in edit_refusal(crds, namespace, stored, {"spec.approved": True})


def test_the_longest_window_fits_and_can_be_approved(crds: Definitions, namespace: str) -> None:
    """The rule that keeps the evidence as it is compares all of it, and must be affordable."""
    steps = tuple(range(2_000_000_000, 2_000_000_000 + MAX_EVIDENCE + 1))
    long = {"steps": steps, "values": tuple(step / 3 for step in steps), "reason": "é" * MAX_MESSAGE}
    stored = proposed(crds, namespace, evidence=make_record().evidence.model_copy(update=long))
    assert stored["spec"]["evidence"]["omitted"] == 1
    approved = crds.replace(RESETS, namespace, changed(stored, {"spec.approved": True}))
    assert reset_from_object(approved).condition is ResetCondition.APPROVED


def test_resets_are_found_by_their_job(crds: Definitions, namespace: str) -> None:
    for name, job in (("one", "demo"), ("two", "other"), ("three", "demo")):
        body = changed(copy.deepcopy(BY_HAND), {"metadata.name": name, "spec.jobName": job})
        crds.create(RESETS, namespace, body)
    assert sorted(crds.names(RESETS, namespace, field_selector="spec.jobName=demo")) == ["one", "three"]


def test_columns_tell_the_story_of_a_reset(crds: Definitions, namespace: str) -> None:
    stored = proposed(crds, namespace)
    record: ResetRecord = make_record(condition=ResetCondition.APPLIED)
    stored["status"] = reset_status(record, generation=1, now=1_800_000_000.0)
    crds.replace_status(RESETS, namespace, stored)
    (row,) = crds.table(RESETS, namespace)
    del row["Age"]
    assert row == {
        "Name": "demo-reset-3", "Job": "demo", "Trigger": "kl-spike", "State": "Applied", "Seen": 40, "Applied": 41,
        "Before": "0.5", "After": "0.625", "Effect": None, "Source": "current", "Optimizer": "clear", "Dry": False,
        "Reason": "KL averaged 0.3 nats over steps 39-40, above 0.25",
    }  # fmt: skip
