"""The Job that exports a policy on a job's own volume. Built for `prorl export`; the operator itself makes none.

It is no member of the run: without the members' labels no controller counts it, and no network policy holds it, so that
it may reach a hub. It needs no GPU, and no token of the run.
"""

from __future__ import annotations

from dataclasses import dataclass

from prorl_api.errors import Fault, SpecError
from prorl_api.names import LABEL_EXPORT_OF, LABEL_JOB, LABEL_ROLE, export_job_name
from prorl_api.spec.roles import Resources
from prorl_api.spec.values import Role
from prorl_operator.manifests.context import JobContext
from prorl_operator.manifests.learner import run_folder
from prorl_operator.manifests.metadata import Manifest
from prorl_operator.manifests.paths import is_under
from prorl_operator.manifests.pod_template import merge
from prorl_operator.manifests.pods import Scratch, common_environment, container, pod_spec, resource_amounts

KEPT_SECONDS = 24 * 3600
"""A finished Job stays so long, with its log."""
_SCRATCH = Scratch(temporary="64Gi", home="64Gi")
_FROM_TEMPLATE = ("nodeSelector", "tolerations", "imagePullSecrets", "securityContext", "hostAliases")
"""Of the learner's podTemplate: what decides whether a pod may run. Sidecars would keep the Job from ending."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportOrder:
    """What is to be exported."""

    checkpoint: str
    output: str
    """Absolute path in a volume that the learner may write."""
    push: str | None = None
    """Repository of a hub."""
    secret: str | None = None
    """Secret whose keys become environment variables, such as HF_TOKEN."""


def export_job(context: JobContext, order: ExportOrder) -> Manifest:
    """Build the Job.

    Raises:
        SpecError: The job has no volume for its run, or the output is in none that can be written.
    """
    folder = _run_folder(context, order)
    labels = {
        LABEL_EXPORT_OF: context.name,
        "app.kubernetes.io/name": "prorl",
        "app.kubernetes.io/component": "export",
        "app.kubernetes.io/instance": context.name,
        "app.kubernetes.io/managed-by": "prorl-cli",
    }
    spec = {
        "backoffLimit": 0,
        "ttlSecondsAfterFinished": KEPT_SECONDS,
        "template": {"metadata": {"labels": labels}, "spec": _pod(context, order, folder)},
    }
    name = export_job_name(context.name, order.checkpoint)
    metadata = {"name": name, "namespace": context.namespace, "labels": labels}
    return {"apiVersion": "batch/v1", "kind": "Job", "metadata": metadata, "spec": spec}


def _run_folder(context: JobContext, order: ExportOrder) -> str:
    folder = run_folder(context.job)
    if folder is None:
        want = "the volume that the run lies on; a job without one keeps no checkpoints"
        raise SpecError([Fault(path="spec.checkpoint.volume", got="nothing", want=want)], source="the job")
    writable = [
        volume.mount_path
        for volume in context.job.spec.volumes
        if Role.LEARNER in volume.roles and not volume.read_only
    ]
    if not is_under(order.output, writable):
        want = f"an absolute path below {' or '.join(writable)}, which the job's volumes offer to be written"
        raise SpecError([Fault(path="--output", got=order.output, want=want)], source="the export")
    return folder


def _pod(context: JobContext, order: ExportOrder, folder: str) -> Manifest:
    arguments = [folder, "--checkpoint", order.checkpoint, "--output", order.output]
    arguments += ["--push", order.push] if order.push else []
    main = container(context, Role.LEARNER, "prorl_trainer.export", common_environment(context, _SCRATCH))
    main |= {"name": "export", "args": arguments, "resources": _without_gpus(context.job.spec.learner.resources)}
    del main["ports"]
    if order.secret:
        main["envFrom"] = [{"secretRef": {"name": order.secret}}]
    spec = pod_spec(context, Role.LEARNER, main, _SCRATCH, restartPolicy="Never", affinity=_beside_the_learner(context))
    given = (context.job.spec.learner.pod_template or {}).get("spec") or {}
    merged: Manifest = merge(spec, {name: given[name] for name in _FROM_TEMPLATE if name in given})
    return merged


def _beside_the_learner(context: JobContext) -> Manifest:
    """Prefer its node: a volume that one node may write at a time is attached there."""
    labels = {LABEL_JOB: context.name, LABEL_ROLE: Role.LEARNER.value}
    term = {"topologyKey": "kubernetes.io/hostname", "labelSelector": {"matchLabels": labels}}
    preferred = [{"weight": 100, "podAffinityTerm": term}]
    return {"podAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": preferred}}


def _without_gpus(resources: Resources | None) -> Manifest:
    """Return the learner's processors and memory, within which whole weights have room."""
    amounts = resource_amounts(resources)
    kept = {
        kind: {name: amount for name, amount in given.items() if name in ("cpu", "memory", "ephemeral-storage")}
        for kind, given in amounts.items()
    }
    return {kind: given for kind, given in kept.items() if given}
