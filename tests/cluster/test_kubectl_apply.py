"""`kubectl apply` of a manifest that did not change is no change, client-side and server-side, and for GitOps tools."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from tests.cluster.definitions import GOOD_FILES, install
from tests.testbed.control_plane import ControlPlane
from tests.testbed.errors import TestbedError
from tests.testbed.kubectl import Kubectl

THORNY = """
apiVersion: prorl.dev/v1alpha1
kind: ProRLJob
metadata: {name: thorny}
spec:
  model: {path: /models/base}
  volumes:
    - {name: models, claimName: models, mountPath: /models}
    - {name: runs, claimName: runs, mountPath: /runs}
  data:
    sources:
      - {name: a, domain: logic, weight: 2.0, reasoningGym: {tasks: [{name: chain_sum}, {name: sudoku, weight: 0.50}]}}
      - {name: b, domain: math, jsonl: /runs/*.jsonl, heldOut: 10, weight: 1e-3, prompt: {}}
      - name: c
        domain: logic
        weight: 0
        reasoningGym: {tasks: [{name: gcd, config: {min_value: 1.0, max_value: 1e2}}]}
  rollout: {temperature: 1.20, stop: [], maxPromptTokens: 64, maxCompletionTokens: 64}
  learner: {optimizer: {learningRate: 1e-06, weightDecay: 0.0}, microbatchTokens: 128}
  algorithm: {kl: {coefficient: 1.0e-4}}
  schedule:
    totalSteps: 1000
    stages:
      - {name: one, fromStep: 1}
      - {name: two, fromStep: 5, overrides: {}, resetReferenceOnEntry: false}
      - {name: three, fromStep: 6, overrides: {sourceWeights: {a: 1, c: 2.50}}}
  validation: {sources: [{name: a}, {name: b, size: 10}, {name: c}]}
  referenceReset:
    triggers:
      - {name: kl, klSpike: {above: 0.25}}
      - {name: stalled, validationStalled: {}}
      - {name: dropped, validationDropped: {belowBest: 0.1}}
  checkpoint: {volume: runs}
"""


@pytest.fixture(params=[*GOOD_FILES, None], ids=lambda path: "thorny" if path is None else path.name)
def manifest(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A manifest without its namespace, otherwise letter by letter."""
    text = THORNY if request.param is None else request.param.read_text(encoding="utf-8")
    file = tmp_path / "job.yaml"
    file.write_text(re.sub(r"(?m)^  namespace: .*\n", "", text), encoding="utf-8")
    return file


@pytest.fixture
def kubectl(cluster: ControlPlane, namespace: str) -> Kubectl:
    install(cluster.client())
    return Kubectl(cluster.kubeconfig, namespace)


def stored(kubectl: Kubectl, file: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(kubectl("get", "-f", str(file), "-o", "json", "--show-managed-fields"))
    return found


def version(kubectl: Kubectl, file: Path) -> tuple[str, int]:
    meta = stored(kubectl, file)["metadata"]
    return meta["resourceVersion"], meta["generation"]


def test_a_second_apply_changes_nothing(kubectl: Kubectl, manifest: Path) -> None:
    assert kubectl("apply", "-f", str(manifest)).strip().endswith(" created")
    before = version(kubectl, manifest)
    assert kubectl("apply", "-f", str(manifest)).strip().endswith(" unchanged")
    assert kubectl("diff", "-f", str(manifest)) == ""
    assert version(kubectl, manifest) == before


def test_a_server_side_apply_after_a_client_side_one_has_no_conflict(kubectl: Kubectl, manifest: Path) -> None:
    kubectl("apply", "-f", str(manifest))
    generation = version(kubectl, manifest)[1]
    kubectl("apply", "--server-side", "-f", str(manifest))
    before = version(kubectl, manifest)
    kubectl("apply", "--server-side", "-f", str(manifest))
    assert version(kubectl, manifest) == before
    assert before[1] == generation
    assert kubectl("diff", "--server-side", "-f", str(manifest)) == ""


def test_another_tool_applies_the_same_without_a_conflict(kubectl: Kubectl, manifest: Path) -> None:
    """As Argo CD or Flux do with a job that a person applied before."""
    kubectl("apply", "-f", str(manifest))
    generation = version(kubectl, manifest)[1]
    for _ in range(2):
        kubectl("apply", "--server-side", "--field-manager=gitops", "-f", str(manifest))
    assert version(kubectl, manifest)[1] == generation


def test_a_real_change_is_one(kubectl: Kubectl, tmp_path: Path) -> None:
    file = tmp_path / "job.yaml"
    file.write_text(THORNY, encoding="utf-8")
    kubectl("apply", "-f", str(file))
    file.write_text(THORNY.replace("above: 0.25", "above: 0.5"), encoding="utf-8")
    assert kubectl("apply", "-f", str(file)).strip().endswith(" configured")
    (kl, *_) = stored(kubectl, file)["spec"]["referenceReset"]["triggers"]
    assert kl["klSpike"]["above"] == 0.5
    file.write_text(THORNY.replace("weight: 2.0", "weight: 3.0"), encoding="utf-8")
    with pytest.raises(TestbedError, match="`data` cannot be changed"):
        kubectl("apply", "-f", str(file))
