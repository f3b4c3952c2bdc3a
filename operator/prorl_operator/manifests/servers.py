"""The Deployments of rollout servers and sandboxes: lost members are replaced one by one, by Kubernetes alone.

Their pods carry no attempt and no address of one, so that a new attempt leaves them running with their weights.
"""

from __future__ import annotations

from prorl_api.names import (
    API_PORT,
    ENV_ADVERTISED_URL,
    ENV_LEARNER_URL,
    ENV_POD_IP,
    ENV_ROLLOUT_SETTINGS,
    ENV_SANDBOX_SETTINGS,
    ROLLOUT_GLIBC_TUNABLES,
    deployment_name,
)
from prorl_api.spec.roles import PodTemplate
from prorl_api.spec.values import Role
from prorl_control.forecast.memory import SANDBOX_SERVICE, sandbox_memory
from prorl_control.plan import plan
from prorl_operator.manifests.context import JobContext
from prorl_operator.manifests.gang import group_labels, groups_of, in_group
from prorl_operator.manifests.metadata import Manifest, labels_of, make_object, member_labels
from prorl_operator.manifests.pod_template import with_users_template
from prorl_operator.manifests.pods import (
    Scratch,
    accepted_value,
    common_environment,
    container,
    field_value,
    http_probe,
    num_gpus,
    pod_spec,
    token_value,
    value,
)

_ROLLOUT_SCRATCH = Scratch(temporary="128Gi", home="32Gi", shared_memory="64Gi")
_SANDBOX_SCRATCH = Scratch(temporary="1Gi", temporary_in_memory=True)
"""Programs write there: a full folder must fail them, not have the pod evicted."""
_MIB = 2**20

_DAY_SECONDS = 86400
_SANDBOX_START_SECONDS = 1800


def rollout_deployment(context: JobContext, attempt: int) -> Manifest:
    """Build the rollout servers. They do not surge: a new one would wait for the GPU that the old one holds.

    A server is ready only with weights, which it may await for hours while the learner is queued, so being unready
    has no deadline that ends it; a server that does not answer at all is restarted.
    """
    settings = plan(context.job).rollout_settings
    environment = [
        *common_environment(context, _ROLLOUT_SCRATCH),
        value(ENV_ROLLOUT_SETTINGS, settings.model_dump_json()),
        value(ENV_LEARNER_URL, context.learner_url),
        field_value(ENV_POD_IP, "status.podIP"),
        value(ENV_ADVERTISED_URL, f"http://$({ENV_POD_IP}):{API_PORT}"),
        token_value(context, Role.ROLLOUT, Role.LEARNER),
        accepted_value(context, [Role.LEARNER.value], Role.ROLLOUT),
    ]
    if num_gpus(context.job.spec.rollout.resources) == 0:
        environment.append(value("GLIBC_TUNABLES", ROLLOUT_GLIBC_TUNABLES))
    main = container(
        context,
        Role.ROLLOUT,
        "prorl_rollout_server",
        environment,
        startupProbe=http_probe("/healthz", period=5, failures=120),
        readinessProbe=http_probe("/readyz", period=5, failures=2),
        # Compiling the model may hold the interpreter for a minute.
        livenessProbe=http_probe("/healthz", period=10, failures=30, timeout=10),
    )
    spec = pod_spec(context, Role.ROLLOUT, main, _ROLLOUT_SCRATCH, terminationGracePeriodSeconds=30)
    rollout = context.job.spec.rollout
    return _deployment(
        context,
        attempt,
        Role.ROLLOUT,
        rollout.replicas,
        spec,
        rollout.pod_template,
        {"maxSurge": 0},
        _DAY_SECONDS,
    )


def sandbox_deployment(context: JobContext, attempt: int) -> Manifest:
    """Build the sandboxes: no secret, no service account, no way out, and always a limit on memory."""
    sandbox = context.job.spec.sandbox
    environment = [
        *common_environment(context, _SANDBOX_SCRATCH),
        value(ENV_SANDBOX_SETTINGS, plan(context.job).sandbox_settings.model_dump_json()),
        accepted_value(context, [Role.LEARNER.value], Role.SANDBOX),
    ]
    main = container(
        context,
        Role.SANDBOX,
        "prorl_reward_sandbox",
        environment,
        startupProbe=http_probe("/healthz", period=2, failures=150),
        readinessProbe=http_probe("/readyz", period=5, failures=3),
        livenessProbe=http_probe("/healthz", period=10, failures=6),
    )
    if sandbox.resources is None:
        main["resources"] = _default_resources(context)
    more = {"runtimeClassName": sandbox.runtime_class_name} if sandbox.runtime_class_name else {}
    spec = pod_spec(context, Role.SANDBOX, main, _SANDBOX_SCRATCH, terminationGracePeriodSeconds=15, **more)
    return _deployment(
        context, attempt, Role.SANDBOX, sandbox.replicas, spec, sandbox.pod_template, {}, _SANDBOX_START_SECONDS
    )


def _deployment(
    context: JobContext,
    attempt: int,
    role: Role,
    replicas: int,
    pod: Manifest,
    users: PodTemplate | None,
    rolling: dict[str, int],
    deadline_seconds: int,
) -> Manifest:
    template = {"metadata": {"labels": labels_of(context, role)}, "spec": pod}
    group = groups_of(context, attempt).servers
    spec = {
        "replicas": replicas,
        "selector": {"matchLabels": member_labels(context, role)},
        "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 1, **rolling}},
        "progressDeadlineSeconds": deadline_seconds,
        "revisionHistoryLimit": 1,
        "template": in_group(context, with_users_template(template, users, role), group),
    }
    made = make_object(context, "apps/v1", "Deployment", deployment_name(context.name, role), role, spec=spec)
    made["metadata"]["labels"] |= group_labels(group)
    return made


def _default_resources(context: JobContext) -> Manifest:
    """Set a ceiling on memory from the limits of the sandbox, so that programs cannot take the memory of the node."""
    settings = plan(context.job).sandbox_settings
    requests = {
        "cpu": str(settings.workers),
        "memory": f"{(SANDBOX_SERVICE + settings.workers * 256 * _MIB) // _MIB}Mi",
    }
    return {"requests": requests, "limits": {"memory": f"{sandbox_memory(settings) // _MIB}Mi"}}
