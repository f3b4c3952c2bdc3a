"""Who may talk to whom: one NetworkPolicy a role, everything else is refused.

Policies add up, so a cluster with other needs (a proxy before the hub) adds its own beside these. They hold only where
the network plugin enforces them, and not for pods on the host's network. A component has one port for its API, which
asks for tokens, and its metrics, which do not: so nobody may scrape until the installation says from where.
"""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

from prorl_api.names import API_PORT, deployment_name
from prorl_api.spec.values import Role
from prorl_operator.manifests.context import JobContext
from prorl_operator.manifests.metadata import Manifest, make_object, member_labels, rank_0_labels
from prorl_operator.manifests.paths import is_hub_name

_Rules = list[dict[str, Any]]

_API = [{"protocol": "TCP", "port": API_PORT}]
_HTTPS = [{"protocol": "TCP", "port": 443}]
_ANYWHERE_BUT_METADATA: _Rules = [
    # Link-local addresses hold the clouds' metadata services, which hand out credentials.
    {"ipBlock": {"cidr": "0.0.0.0/0", "except": ["169.254.0.0/16"]}},
    {"ipBlock": {"cidr": "::/0", "except": ["fe80::/10"]}},
]


def network_policies(context: JobContext) -> list[Manifest]:
    """Build one policy a role."""
    return [
        _policy(context, Role.LEARNER, _to_learner(context), _from_learner(context)),
        _policy(context, Role.ROLLOUT, [_from_role(context, Role.LEARNER), *_scrape(context)], _from_rollout(context)),
        # Model-written programs run there: no way out, not even to look up a name.
        _policy(context, Role.SANDBOX, [_from_role(context, Role.LEARNER), *_scrape(context)], []),
    ]


def _policy(context: JobContext, role: Role, ingress: _Rules, egress: _Rules) -> Manifest:
    spec: Manifest = {
        "podSelector": {"matchLabels": member_labels(context, role)},
        "policyTypes": ["Ingress", "Egress"],
        "ingress": ingress,
    }
    if egress:  # the server does not keep an empty list, so that every apply of one would look like a change
        spec["egress"] = egress
    name = deployment_name(context.name, role)
    return make_object(context, "networking.k8s.io/v1", "NetworkPolicy", name, role, spec=spec)


def _to_learner(context: JobContext) -> _Rules:
    operator = {
        "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": context.operator_namespace}},
        "podSelector": {"matchLabels": dict(context.operator_labels)},
    }
    return [
        {"from": [operator], "ports": _API},
        _from_role(context, Role.ROLLOUT),
        # Collectives choose their ports freely.
        {"from": [_pods(member_labels(context, Role.LEARNER))]},
        *_scrape(context),
    ]


def _from_learner(context: JobContext) -> _Rules:
    hub = [{"to": _ANYWHERE_BUT_METADATA, "ports": _HTTPS}] if is_hub_name(context.job.spec.model.path) else []
    return [
        {"to": [_pods(member_labels(context, Role.LEARNER))]},
        {"to": [_pods(member_labels(context, Role.ROLLOUT))], "ports": _API},
        {"to": [_pods(member_labels(context, Role.SANDBOX))], "ports": _API},
        _dns(context),
        *hub,
        *_to_trackers(context),
    ]


def _to_trackers(context: JobContext) -> _Rules:
    """Allow what trackers call: services on the internet, and an MLflow server wherever its address leads."""
    trackers = context.job.spec.tracking.trackers
    calls_out = any(
        (item.wandb is not None and item.wandb.mode == "online") or (item.trackio is not None and item.trackio.space)
        for item in trackers
    )
    addresses = [item.mlflow.tracking_uri for item in trackers if item.mlflow is not None and item.mlflow.tracking_uri]
    ports = sorted({_port_of(address) for address in addresses})
    rules: _Rules = [{"to": _ANYWHERE_BUT_METADATA, "ports": _HTTPS}] if calls_out else []
    # Where policies know pods by labels alone, no range of addresses includes those of a server in the cluster.
    to = [*_ANYWHERE_BUT_METADATA, {"namespaceSelector": {}}]
    return rules + [{"to": to, "ports": [{"protocol": "TCP", "port": port}]} for port in ports]


def _port_of(address: str) -> int:
    parts = urlsplit(address)
    return parts.port or (443 if parts.scheme == "https" else 80)


def _from_rollout(context: JobContext) -> _Rules:
    # Model files and weights come from the learner, never from a hub.
    return [{"to": [_pods(rank_0_labels(context))], "ports": _API}, _dns(context)]


def _from_role(context: JobContext, role: Role) -> dict[str, Any]:
    return {"from": [_pods(member_labels(context, role))], "ports": _API}


def _scrape(context: JobContext) -> _Rules:
    if not context.monitoring_namespace:
        return []
    selector = {"matchLabels": {"kubernetes.io/metadata.name": context.monitoring_namespace}}
    return [{"from": [{"namespaceSelector": selector}], "ports": _API}]


def _dns(context: JobContext) -> dict[str, Any]:
    """Allow DNS to whoever answers.

    Its pods have other labels everywhere, and a cache on the node has no pod address.
    """
    ports = [{"protocol": protocol, "port": port} for port in context.dns.ports for protocol in ("UDP", "TCP")]
    return {"to": [dict(peer) for peer in context.dns.peers], "ports": ports}


def _pods(labels: dict[str, str]) -> dict[str, Any]:
    return {"podSelector": {"matchLabels": labels}}
