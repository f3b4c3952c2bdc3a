"""The learner's Job of one attempt: all ranks at once, each pod once."""

from __future__ import annotations

import posixpath

from prorl_api.names import (
    ENV_ADOPT_RUN,
    ENV_ADVERTISED_URL,
    ENV_ATTEMPT,
    ENV_FINAL_REPORT_SECONDS,
    ENV_LEARNER_REPLICAS,
    ENV_MANIFEST,
    ENV_PROCESSES_PER_REPLICA,
    ENV_RENDEZVOUS,
    ENV_RUN_DIR,
    ENV_RUN_UID,
    ENV_SANDBOX_URLS,
    LEARNER_GLIBC_TUNABLES,
    learner_job_name,
    plan_name,
    ranks_service_name,
)
from prorl_api.process.tokens import BODY
from prorl_api.spec.job import ProRLJob
from prorl_api.spec.values import Role
from prorl_operator.manifests.base import PLAN_FILE
from prorl_operator.manifests.context import JobContext
from prorl_operator.manifests.gang import group_labels, groups_of, in_group
from prorl_operator.manifests.metadata import Manifest, labels_of, make_object
from prorl_operator.manifests.paths import PLAN_FOLDER
from prorl_operator.manifests.pod_template import with_users_template
from prorl_operator.manifests.pods import (
    Scratch,
    accepted_value,
    common_environment,
    container,
    num_gpus,
    pod_spec,
    token_value,
    value,
)

GRACE_SECONDS = 120
"""From SIGTERM to the end: for the step to finish and the checkpoint to be written."""
FINAL_REPORT_SECONDS = 20
"""A learner that is done waits so long to be asked once more: a question may fail, and a new leader needs a while."""
PLAN_VOLUME = "plan"

_SCRATCH = Scratch(temporary="256Gi", home="128Gi", shared_memory="64Gi")
"""The temporary folder holds the last versions of the weights, for rollout servers to pull."""
_LEFT_IN_PLACE = {
    "cluster-autoscaler.kubernetes.io/safe-to-evict": "false",
    "karpenter.sh/do-not-disrupt": "true",
}
"""Packing nodes tighter is not worth an attempt. Drains by hand are not affected."""


def learner_job(context: JobContext, attempt: int) -> Manifest:
    """Build the Job of an attempt, to be created and never changed.

    Its pods are not replaced: one lost rank ends the attempt. With `backoffLimit` 0 and `TerminatingOrFailed` a pod
    that begins to be deleted already counts as failed, so that `FailureTarget` says at once that the attempt is over
    and the other pods are told to end. `TerminatingOrFailed` is allowed, since there is no `podFailurePolicy`.
    """
    replicas = context.job.spec.learner.replicas
    template = with_users_template(_template(context, attempt), context.job.spec.learner.pod_template, Role.LEARNER)
    group = groups_of(context, attempt).learner
    spec = {
        "completionMode": "Indexed",
        "completions": replicas,
        "parallelism": replicas,
        "backoffLimit": 0,
        "podReplacementPolicy": "TerminatingOrFailed",
        "template": in_group(context, template, group),
    }
    name = learner_job_name(context.name, attempt)
    job = make_object(context, "batch/v1", "Job", name, Role.LEARNER, attempt=attempt, spec=spec)
    job["metadata"]["labels"] |= group_labels(group)
    return job


def run_folder(job: ProRLJob) -> str | None:
    """Return where the run lies in the learner's pods; None without a volume for it."""
    for volume in job.spec.volumes:
        if volume.name == job.spec.checkpoint.volume:
            return posixpath.join(volume.mount_path, job.metadata.name)
    return None


def _template(context: JobContext, attempt: int) -> Manifest:
    """No probes. Pods without rank 0 have nothing to ask, and the template is one for all; the operator asks rank 0
    for its phase, and a learner that hangs ends itself."""
    main = container(context, Role.LEARNER, "prorl_trainer.launch", _environment(context, attempt))
    spec = pod_spec(
        context,
        Role.LEARNER,
        main,
        _SCRATCH,
        restartPolicy="Never",
        subdomain=ranks_service_name(context.name),
        terminationGracePeriodSeconds=GRACE_SECONDS,
    )
    if context.job.spec.tracking.secret_name is not None:
        # Missing, it is for the trackers that need it to say so: training does not.
        reference = {"name": context.job.spec.tracking.secret_name, "optional": True}
        spec["containers"][0]["envFrom"] = [{"secretRef": reference}]
    # The whole folder: a single file mounted by itself would never be updated.
    spec["volumes"].append({"name": PLAN_VOLUME, "configMap": {"name": plan_name(context.name)}})
    mount = {"name": PLAN_VOLUME, "mountPath": PLAN_FOLDER, "readOnly": True}
    spec["containers"][0]["volumeMounts"].append(mount)
    metadata = {"labels": labels_of(context, Role.LEARNER, attempt), "annotations": dict(_LEFT_IN_PLACE)}
    return {"metadata": metadata, "spec": spec}


def _environment(context: JobContext, attempt: int) -> list[Manifest]:
    learner = context.job.spec.learner
    environment = [
        *common_environment(context, _SCRATCH),
        value(ENV_MANIFEST, posixpath.join(PLAN_FOLDER, PLAN_FILE)),
        value(ENV_RUN_DIR, run_folder(context.job) or ""),
        value(ENV_RUN_UID, context.uid),
        value(ENV_ATTEMPT, str(attempt)),
        value(ENV_SANDBOX_URLS, context.sandbox_url),
        value(ENV_ADVERTISED_URL, context.learner_url),
        value(ENV_LEARNER_REPLICAS, str(learner.replicas)),
        value(ENV_PROCESSES_PER_REPLICA, str(learner.processes_per_replica)),
        value(ENV_RENDEZVOUS, context.rendezvous(attempt)),
        value(ENV_FINAL_REPORT_SECONDS, str(FINAL_REPORT_SECONDS)),
        token_value(context, Role.LEARNER, Role.ROLLOUT),
        token_value(context, Role.LEARNER, Role.SANDBOX),
        accepted_value(context, [BODY, Role.ROLLOUT.value], Role.LEARNER),
    ]
    if context.adopt_run:
        environment.append(value(ENV_ADOPT_RUN, context.adopt_run))
    if num_gpus(learner.resources) == 0:
        environment.append(value("GLIBC_TUNABLES", LEARNER_GLIBC_TUNABLES))
    return environment
