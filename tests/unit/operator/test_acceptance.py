"""What of an edit runs at once in a cluster, and what is said about the rest."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

from prorl_api.crd import job_from_object
from prorl_operator.acceptance import accept
from prorl_operator.kube.views import PlanView
from prorl_operator.manifests import plan_text

sys.path.insert(0, str(Path(__file__).parent))
from manifest_builders import UID, make_cluster_job

LENGTH = "spec.rollout.maxCompletionTokens"


def make_object(changes: dict[str, Any]) -> dict[str, Any]:
    body = make_cluster_job(changes).model_dump(mode="json", by_alias=True, exclude_none=True)
    body["metadata"] |= {"generation": 2, "uid": UID, "namespace": "research"}
    return body


def running(changes: dict[str, Any]) -> PlanView:
    return PlanView(attempt=1, applied="", text=plan_text(job_from_object(make_object(changes))))


@pytest.mark.parametrize(
    ("now", "edited", "taken", "reason"),
    [(100, 90, 90, "Valid"), (100, 101, 100, "WaitsForNextAttempt"), (100, 8000, 100, "WaitsForNextAttempt")],
)
def test_completions_longer_than_the_running_engines_take_wait(now: int, edited: int, taken: int, reason: str) -> None:
    found = accept(make_object({LENGTH: edited}), running({LENGTH: now}))
    assert found.job is not None
    assert (found.job.spec.rollout.max_completion_tokens, found.reason) == (taken, reason)
    if reason == "WaitsForNextAttempt":
        assert f"{LENGTH} (the engines are sized when they start)" in found.message


def test_the_next_attempt_takes_them() -> None:
    found = accept(make_object({LENGTH: 8000}), None)
    assert found.job is not None
    assert (found.job.spec.rollout.max_completion_tokens, found.reason) == (8000, "Valid")


def test_what_waits_is_named_and_the_rest_holds() -> None:
    edit = {"spec.rollout.dtype": "float32", "spec.rollout.temperature": 0.9}
    found = accept(make_object(edit), running({}))
    assert found.job is not None
    assert (found.job.spec.rollout.temperature, found.job.spec.rollout.dtype.value) == (0.9, "bfloat16")
    assert found.message == "these edited fields hold from the next attempt on: spec.rollout.dtype"
