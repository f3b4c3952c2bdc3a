"""Labels, owner and shell of every object of a job."""

from __future__ import annotations

from typing import Any

from prorl_api import API_VERSION
from prorl_api.names import LABEL_ATTEMPT, LABEL_COMPLETION_INDEX, LABEL_JOB, LABEL_ROLE, LABEL_RUN
from prorl_api.spec.values import Role
from prorl_operator.manifests.context import JobContext

Manifest = dict[str, Any]


def labels_of(context: JobContext, role: Role, attempt: int | None = None) -> dict[str, str]:
    """Labels of an object of a role; `attempt` where it belongs to one alone."""
    labels = {
        **member_labels(context, role),
        LABEL_RUN: context.uid,
        "app.kubernetes.io/name": "prorl",
        "app.kubernetes.io/component": role.value,
        "app.kubernetes.io/instance": context.name,
        "app.kubernetes.io/managed-by": "prorl-operator",
    }
    return labels if attempt is None else {**labels, LABEL_ATTEMPT: str(attempt)}


def member_labels(context: JobContext, role: Role) -> dict[str, str]:
    """Return what selects all pods of a role of this job."""
    return {LABEL_JOB: context.name, LABEL_ROLE: role.value}


def rank_0_labels(context: JobContext) -> dict[str, str]:
    """Return what selects the learner's first pod, which has the API, of any attempt."""
    return {**member_labels(context, Role.LEARNER), LABEL_COMPLETION_INDEX: "0"}


def make_object(
    context: JobContext, api_version: str, kind: str, name: str, role: Role, *, attempt: int | None = None, **body: Any
) -> Manifest:
    """Return an object that goes when the ProRLJob goes.

    Args:
        context: The job.
        api_version: Of the object.
        kind: Of the object.
        name: Of the object.
        role: Whose object it is; of what several roles use, the learner's.
        attempt: Put into the labels if given.
        body: Everything beside the metadata.
    """
    metadata = {
        "name": name,
        "namespace": context.namespace,
        "labels": labels_of(context, role, attempt),
        "ownerReferences": [
            {
                "apiVersion": API_VERSION,
                "kind": "ProRLJob",
                "name": context.name,
                "uid": context.uid,
                "controller": True,
                "blockOwnerDeletion": True,
            }
        ],
    }
    return {"apiVersion": api_version, "kind": kind, "metadata": metadata, **body}
