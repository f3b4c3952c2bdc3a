"""The chart installed with monitoring on, over a job of real components, watched by a real Prometheus.

Real: the control plane, helm, the Prometheus operator's definitions, our operator, the learner's launcher and learner,
the sandbox, the rollout server but for its engine (`torch_rollout_server`). Pods are processes of this machine; the
operator is one, too, under the chart's account, because a pod here has no account's token.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import yaml

from tests.cluster.helm import CHART, Helm
from tests.conformance.cluster_fixtures import OPERATOR
from tests.conformance.cluster_world import JOB, ClusterWorld
from tests.conformance.prometheus import INTERVAL, PrometheusServer, scrape_of
from tests.conformance.site import NAMESPACE, RELEASE, Site
from tests.conformance.site import site as running_site
from tests.conformance.world import wait_for
from tests.integration.tiny_model import write_model
from tests.testbed.modules import monitoring_definitions
from tests.testbed.ports import ReservedPort
from tests.testbed.process_kubelet_pod import OWN_COMMAND
from tests.testbed.prometheus import scrape_config, write_targets

MONITORING = "monitoring.coreos.com/v1"
SERVICE = f"{RELEASE}-metrics"
ROLLOUT = Path(__file__).with_name("torch_rollout_server.py")
COMMANDS = {
    "learner": OWN_COMMAND,
    "sandbox": OWN_COMMAND,
    "export": OWN_COMMAND,
    "rollout": (sys.executable, str(ROLLOUT)),
}
VALUES = {
    "namespace": "monitoring",
    "serviceMonitor.enabled": "true",
    "podMonitor.enabled": "true",
    "podMonitor.interval": INTERVAL,
    "prometheusRule.enabled": "true",
    "prometheusRule.heartbeatSeconds": "60",
    "dashboards.enabled": "true",
}
"""Below `monitoring`."""
REWARD = "import zlib\n\n\ndef score(completion, row):\n    return zlib.crc32(completion.encode()) % 2\n"
_OUTSIDE = "/var/tmp"
"""A job may mount nothing below /tmp."""
SPEC: dict[str, Any] = {
    "rollout": {"maxPromptTokens": 64, "maxCompletionTokens": 8, "temperature": 1.0, "dtype": "float32"},
    "learner": {
        **{"engine": "plain", "precision": "float32", "threads": 1, "microbatchTokens": 512},
        **{"promptsPerStep": 4, "groupSize": 4, "minibatchPrompts": 2, "optimizer": {"learningRate": 0.0001}},
    },
    "sandbox": {"workers": 1},
    "algorithm": {"kl": {"coefficient": 0.05}},
    "schedule": {"totalSteps": 100_000},
    "validation": {"everySteps": 5, "samplesPerPrompt": 1, "sources": [{"name": "own", "size": 4}]},
    "referenceReset": {
        # One alone: what is averaged over 50 steps begins anew at each.
        **{"mode": "automatic", "cooldownSteps": 5, "expiresAfterSteps": 1000, "maxResets": 1},
        "triggers": [
            {"name": "clockwork", "interval": {"everySteps": 12}},
            {"name": "spike", "klSpike": {"above": 50, "windowSteps": 2}},
            {"name": "share", "klSpike": {"metric": "klLossShare", "above": 0.9999, "windowSteps": 10}},
        ],
    },
}


@dataclass(kw_only=True)
class Observed:
    """What the tests look at."""

    site: Site
    world: ClusterWorld
    prometheus: PrometheusServer
    mounts: Path = Path()
    """Where pods, and this machine, see the claims by name."""

    def dashboard(self, name: str) -> dict[str, Any]:
        """One as the ConfigMap of the release holds it."""
        found = self.site.api.get("v1", "ConfigMap", f"{RELEASE}-dashboard-{name}", NAMESPACE)
        document: dict[str, Any] = json.loads(found["data"][f"{name}.json"])
        return document

    def volume(self, name: str) -> Path:
        """A claim's folder."""
        return self.site.nodes.claims / self.world.namespace / name

    @property
    def variables(self) -> Mapping[str, str]:
        """What a person would choose in the dashboards."""
        return {
            "namespace": self.world.namespace,
            "job": JOB,
            "run": self.world.job()["metadata"]["uid"],
            "operator": SERVICE,
            "__rate_interval": "1m",
            "__range": "5m",
        }


@contextmanager
def observed(folder: Path) -> Iterator[Observed]:
    """Everything installed and started, the job too."""
    with ExitStack() as stack:
        site = stack.enter_context(running_site(folder / "cluster", commands=COMMANDS))
        install_release(site, folder)
        port = ReservedPort()
        port.release()  # the operator binds it alone
        address = f"127.0.0.1:{port.number}"
        operator = site.operator(OPERATOR, {"PRORL_OPERATOR_HTTP_ADDRESS": address})
        prometheus = PrometheusServer(site.cluster, rule_groups(site), scrapes(site, address, folder))
        operator.launch()
        stack.callback(operator.kill)
        prometheus.part.launch()
        stack.callback(prometheus.part.kill)
        site.wait_for_leader(OPERATOR)
        wait_for(prometheus.is_ready, "Prometheus answers")
        world = ClusterWorld(site, "team-a", [operator])
        made = Observed(site=site, world=world, prometheus=prometheus)
        write_inputs(made.volume("models"))
        outside = Path(stack.enter_context(TemporaryDirectory(prefix="prorl-", dir=_OUTSIDE)))
        made.mounts = outside / "claims"
        made.mounts.symlink_to(site.nodes.claims / world.namespace)
        world.write_job(**SPEC, **places(made.mounts))
        world.start()
        yield made


def install_release(site: Site, folder: Path) -> None:
    """What docs/observability.md says, on the real definitions. Nothing waits: images cannot be pulled here."""
    for path in monitoring_definitions():
        site.api.create(yaml.safe_load(path.read_text()))
    words = [word for name, value in VALUES.items() for word in ("--set", f"monitoring.{name}={value}")]
    helm = Helm(site.cluster.kubeconfig, folder / "helm")
    # The site has made the definitions and the rights already.
    helm("upgrade", "--install", RELEASE, str(CHART), "--namespace", NAMESPACE, "--take-ownership", *words)


def rule_groups(site: Site) -> list[dict[str, Any]]:
    """Of the installed PrometheusRule."""
    groups: list[dict[str, Any]] = installed(site, "PrometheusRule")["spec"]["groups"]
    return groups


def installed(site: Site, kind: str) -> dict[str, Any]:
    """The release's only monitoring object of that kind."""
    [found] = site.api.list(MONITORING, kind, NAMESPACE)
    return found


def scrapes(site: Site, operator: str, folder: Path) -> list[dict[str, Any]]:
    """What the Prometheus operator would make of the installed monitors; `operator` is where ours serves metrics."""
    targets, meta = folder / "operators.json", "__meta_kubernetes_"
    labels = {"namespace": NAMESPACE, "service_name": SERVICE, "pod_name": OPERATOR}
    write_targets(targets, [(operator, {f"{meta}{name}": value for name, value in labels.items()})])
    return [
        scrape_of(installed(site, "PodMonitor"), site.cluster.kubeconfig),
        scrape_config(installed(site, "ServiceMonitor"), targets),
    ]


def write_inputs(folder: Path) -> None:
    """A tiny model, prompts, and a reward that every other completion gets."""
    write_model(folder / "base", num_attention_heads=2, num_key_value_heads=1)  # vLLM has no smaller heads
    rows = [{"prompt": f"Say {number}.", "row": {"number": number}} for number in range(64)]
    (folder / "own.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (folder / "rewards.py").write_text(REWARD)


def places(mounts: Path) -> dict[str, Any]:
    """Sections of the spec that name paths: volumes are mounted where their folders are, so that all paths hold."""
    models = mounts / "models"
    volumes = [
        {"name": name, "claimName": name, "mountPath": str(mounts / name), "roles": ["learner"]}
        for name in ("models", "runs")
    ]
    source = {"name": "own", "domain": "custom", "jsonl": str(models / "own.jsonl"), "heldOut": 8}
    return {
        "model": {"path": str(models / "base")},
        "data": {"sources": [{**source, "reward": f"{models / 'rewards.py'}:score"}]},
        "volumes": volumes,
        "checkpoint": {"everySteps": 5, "keep": 2, "volume": "runs"},
    }
