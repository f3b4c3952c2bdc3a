"""`prorl export NAME --namespace N` with a real kubectl and a real API server: the Job is what the server takes."""

from __future__ import annotations

import copy
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from prorl_cli.main import app
from tests.cluster.definitions import install
from tests.testbed import build, tools
from tests.testbed.api import Api
from tests.testbed.control_plane import ControlPlane

sys.path.insert(0, str(Path(__file__).parents[1] / "unit" / "operator"))
sys.path.insert(0, str(Path(__file__).parents[1] / "unit" / "api"))
from api_builders import changed, make_manifest
from manifest_builders import CLUSTER, make_context

from prorl_operator.manifests import learner_job

CHANGES: dict[str, Any] = {
    "spec.learner.resources": {"limits": {"nvidia.com/gpu": 8, "memory": "64Gi"}, "requests": {"cpu": "4"}},
    "spec.learner.podTemplate": {
        "spec": {"nodeSelector": {"pool": "gpu"}, "containers": [{"name": "sidecar", "image": "other"}]}
    },
}
Prorl = Callable[..., Result]


@pytest.fixture
def prorl(cluster: ControlPlane, namespace: str, monkeypatch: pytest.MonkeyPatch, api: Api) -> Prorl:
    install(cluster.client())
    monkeypatch.setenv("KUBECONFIG", str(cluster.kubeconfig))
    kubectl = build.command_path(tools.KUBERNETES, "kubectl")
    monkeypatch.setenv("PATH", f"{kubectl.parent}:/usr/bin:/bin")
    job = changed(make_manifest(copy.deepcopy(CLUSTER)), CHANGES)
    job["metadata"] |= {"namespace": namespace, "name": "demo"}
    api.create(job)

    def run(*arguments: str, name: str = "demo", output: str = "/runs/exports/demo") -> Result:
        command = ["export", name, "--namespace", namespace, "--output", output, *arguments]
        return CliRunner().invoke(app, command)

    return run


def create_learner(api: Api, namespace: str) -> None:
    built = learner_job(make_context(CHANGES, namespace=namespace), 1)
    built["metadata"].pop("ownerReferences")
    api.create(built)


def test_the_job_that_is_printed_is_taken_by_the_server_as_it_stands(prorl: Prorl, api: Api, namespace: str) -> None:
    assert "name one with --image" in prorl().output, "no learner has run yet"
    create_learner(api, namespace)
    printed = json.loads(prorl("--checkpoint", "step-40", "--push", "me/demo", "--secret", "hub").stdout)
    created = prorl("--checkpoint", "step-40", "--push", "me/demo", "--secret", "hub", "--apply")
    assert created.exit_code == 0, created.output
    assert f"kubectl logs -n {namespace} -f job/demo-export-step-40" in created.output
    stored = api.get("batch/v1", "Job", "demo-export-step-40", namespace)
    pod, wanted = stored["spec"]["template"]["spec"], printed["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    assert container["image"] == "prorl/learner:1"
    assert container["args"] == [
        *("/runs/demo", "--checkpoint", "step-40", "--output", "/runs/exports/demo"),
        *("--push", "me/demo"),
    ]
    assert container["resources"] == {"limits": {"memory": "64Gi"}, "requests": {"cpu": "4"}}
    assert container["envFrom"] == [{"secretRef": {"name": "hub"}}]
    assert pod["nodeSelector"] == {"pool": "gpu"}
    assert {key: pod[key] for key in wanted if key not in ("containers", "volumes")} == {
        key: value for key, value in wanted.items() if key not in ("containers", "volumes")
    }
    labels = stored["spec"]["template"]["metadata"]["labels"]
    assert "prorl.dev/job" not in labels, "it is no member of the run"
    again = prorl("--checkpoint", "step-40", "--apply")
    assert f"kubectl delete -n {namespace} job/demo-export-step-40" in again.output


def test_what_does_not_fit_is_said_before_anything_is_created(prorl: Prorl, api: Api, namespace: str) -> None:
    create_learner(api, namespace)
    assert 'prorljobs.prorl.dev "nobody" not found' in prorl(name="nobody").output
    assert "below /runs" in prorl(output="/models/out").output
    assert "below /runs" in prorl(output="out").output
    assert "best, last or step-N" in prorl("--checkpoint", "step-4; rm").output
    assert "--model" in prorl("--model", "/other").output


def test_without_kubectl_the_message_says_so(prorl: Prorl, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    assert "there is no kubectl" in prorl().output
