"""What a job needs beside its pods: the plan, tokens, addresses, network policies, disruption budgets."""

from __future__ import annotations

import base64

import msgspec

from prorl_api.names import (
    API_PORT,
    LABEL_ATTEMPT,
    RENDEZVOUS_PORT,
    deployment_name,
    plan_name,
    ranks_service_name,
    tokens_name,
)
from prorl_api.spec.job import ProRLJob
from prorl_api.spec.values import Role
from prorl_operator.manifests.context import JobContext
from prorl_operator.manifests.gang import pod_groups
from prorl_operator.manifests.metadata import Manifest, make_object, member_labels, rank_0_labels
from prorl_operator.manifests.network import network_policies

PLAN_FILE = "job.json"
"""In the ConfigMap: the job as it runs; JSON is YAML."""
PRESENTED = ((Role.LEARNER, Role.ROLLOUT), (Role.LEARNER, Role.SANDBOX), (Role.ROLLOUT, Role.LEARNER))
"""Caller and callee of every token that a pod presents. The operator's own is not among them: it never leaves it."""


def base_objects(context: JobContext, attempt: int) -> list[Manifest]:
    """Return the objects that must be there while members should exist, the ConfigMap first."""
    return [
        _plan(context, attempt),
        _tokens(context),
        *_services(context, attempt),
        *network_policies(context),
        *_budgets(context),
        *pod_groups(context, attempt),
    ]


def token_key_name(caller: Role, callee: Role) -> str:
    """Key of a token in the Secret."""
    return f"{caller.value}-to-{callee.value}"


def plan_text(job: ProRLJob) -> str:
    """Return the job as it stands in the ConfigMap."""
    document = job.model_dump(mode="json", by_alias=True, exclude_none=True)
    return msgspec.json.encode(document, order="deterministic").decode()


def _plan(context: JobContext, attempt: int) -> Manifest:
    text = plan_text(context.job)
    return make_object(
        context, "v1", "ConfigMap", plan_name(context.name), Role.LEARNER, attempt=attempt, data={PLAN_FILE: text}
    )


def _tokens(context: JobContext) -> Manifest:
    # `data`, not `stringData`: the server does not keep the latter, so that every apply would look like a change.
    data = {
        token_key_name(caller, callee): base64.b64encode(context.token(caller, callee).encode()).decode()
        for caller, callee in PRESENTED
    }
    return make_object(context, "v1", "Secret", tokens_name(context.name), Role.LEARNER, type="Opaque", data=data)


def _services(context: JobContext, attempt: int) -> list[Manifest]:
    # The attempt is in the selector, not in the name: rollout servers keep the address over attempts, and a learner
    # that was overtaken is not behind it any more.
    rank_0 = {**rank_0_labels(context), LABEL_ATTEMPT: str(attempt)}
    learner = {"type": "ClusterIP", "selector": rank_0, "publishNotReadyAddresses": True, "ports": [_port(API_PORT)]}
    ranks: Manifest = {
        "clusterIP": "None",
        "selector": member_labels(context, Role.LEARNER),
        # Ranks look for each other before any of them is ready.
        "publishNotReadyAddresses": True,
        "ports": [_port(RENDEZVOUS_PORT, "rendezvous")],
    }
    sandbox = {"type": "ClusterIP", "selector": member_labels(context, Role.SANDBOX), "ports": [_port(API_PORT)]}
    named = [
        (deployment_name(context.name, Role.LEARNER), Role.LEARNER, learner),
        (deployment_name(context.name, Role.SANDBOX), Role.SANDBOX, sandbox),
    ]
    if context.job.spec.learner.replicas > 1:  # the ranks of one pod meet inside it
        named.append((ranks_service_name(context.name), Role.LEARNER, ranks))
    return [make_object(context, "v1", "Service", name, role, spec=spec) for name, role, spec in named]


def _port(number: int, name: str = "http") -> Manifest:
    return {"name": name, "port": number, "targetPort": number, "protocol": "TCP"}


def _budgets(context: JobContext) -> list[Manifest]:
    """Let one server or sandbox at a time be drained.

    Servers that are not ready may always be: they serve nobody, and all of them are unready while the learner loads.
    The learner has no budget. The loss of one of its pods ends its attempt, so a budget of one protects nothing, and
    a budget of none would block drains for weeks. Its grace period leaves time for a checkpoint, and annotations keep
    autoscalers, which have other nodes to choose, away (see `learner`).
    """
    return [
        make_object(
            context,
            "policy/v1",
            "PodDisruptionBudget",
            deployment_name(context.name, role),
            role,
            spec={
                "maxUnavailable": 1,
                "selector": {"matchLabels": member_labels(context, role)},
                "unhealthyPodEvictionPolicy": "AlwaysAllow",
            },
        )
        for role in (Role.ROLLOUT, Role.SANDBOX)
    ]
