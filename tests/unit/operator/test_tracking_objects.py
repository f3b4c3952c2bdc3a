"""In a cluster trackers run in the learner's pod, with the user's Secret, and may call out as far as they must."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

from prorl_api.spec.values import Role

sys.path.insert(0, str(Path(__file__).parent))
from manifest_builders import all_objects, find, main_container, make_context, templates

ANYWHERE = {"ipBlock": {"cidr": "0.0.0.0/0", "except": ["169.254.0.0/16"]}}


def tracking(*trackers: dict[str, Any], **fields: Any) -> dict[str, Any]:
    named = [{"name": f"t{index}", **tracker} for index, tracker in enumerate(trackers)]
    return {"spec.tracking": {"trackers": named, **fields}}


def test_the_secret_goes_to_the_learner_alone_and_may_be_missing() -> None:
    built = templates(make_context(tracking({"wandb": {}}, secretName="keys")))
    assert main_container(built["learner"], "learner")["envFrom"] == [{"secretRef": {"name": "keys", "optional": True}}]
    for role in (Role.ROLLOUT.value, Role.SANDBOX.value):
        assert "envFrom" not in main_container(built[role], role)
    assert "envFrom" not in main_container(templates(make_context())["learner"], "learner")


@pytest.mark.parametrize(
    ("trackers", "ports"),
    [
        ([{"tensorboard": {}}, {"wandb": {"mode": "offline"}}, {"mlflow": {}}, {"trackio": {}}], []),
        ([{"wandb": {}}], [443]),
        ([{"trackio": {"space": "me/runs"}}], [443]),
        ([{"mlflow": {"trackingUri": "http://mlflow.mlops.svc:5000"}}], [5000]),
        ([{"mlflow": {"trackingUri": "https://mlflow.example.com"}}, {"wandb": {}}], [443, 443]),
    ],
)
def test_the_learner_may_call_what_its_trackers_call(trackers: list[dict[str, Any]], ports: list[int]) -> None:
    policy = find(all_objects(make_context(tracking(*trackers))), "NetworkPolicy", "demo-learner")
    out = [rule for rule in policy["spec"]["egress"] if ANYWHERE in rule["to"]]
    assert [rule["ports"][0]["port"] for rule in out] == ports
