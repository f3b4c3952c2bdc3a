"""What a person can do about a pod that does not start: from the platform's words to a remedy. Pure."""

from __future__ import annotations

import re

_MAX = 400
"""Schedulers write a line for every node; the first ones tell enough."""

_REMEDIES: tuple[tuple[str, str], ...] = (
    (
        r"persistentvolumeclaim \"?([^\" ]+)\"? not found",
        "create the PersistentVolumeClaim, or correct spec.volumes[].claimName",
    ),
    (r"unbound immediate PersistentVolumeClaims", "the claim waits for a volume: `kubectl describe pvc` says why"),
    (
        r"Insufficient nvidia\.com/gpu",
        "no node has enough free GPUs: add nodes, wait, or ask for fewer in `resources`",
    ),
    (r"Insufficient (cpu|memory|ephemeral-storage)", "no node has enough free: add nodes, wait, or lower `resources`"),
    (r"untolerated taint", "add `tolerations` to the role's podTemplate"),
    (r"didn't match Pod's node affinity/selector", "correct `nodeSelector` or `affinity` in the role's podTemplate"),
    (r"ErrImagePull|ImagePullBackOff|InvalidImageName|ErrImageNeverPull", "check the image's name and pull secrets"),
    (r"secret \"?([^\" ]+)\"? not found", "create the Secret that the podTemplate names"),
    (r"configmap \"?([^\" ]+)\"? not found", "create the ConfigMap that the podTemplate names"),
    (r"(?i)runtimeclass.*not found", "install the RuntimeClass, or correct spec.sandbox.runtimeClassName"),
    (r"exceeded quota", "raise the namespace's ResourceQuota, or lower `resources` or `replicas`"),
    (r"violates PodSecurity", "the namespace's pod security level refuses the podTemplate: correct it"),
    (r"no PriorityClass with name", "create the PriorityClass, or correct `priorityClassName` in the podTemplate"),
    (
        r"(?i)podgroup|sibling pods|optimistic rejection",
        "the job's pods are placed together: it waits until all of them fit, or ask for fewer",
    ),
    (r"RunContainerError|CreateContainerError|CreateContainerConfigError", "`kubectl describe pod` says more"),
)


def explained(words: str) -> str:
    """Explain the words of the platform, cut, with what to do about them. It heals by itself once that is done."""
    if not words:
        return ""
    remedy = next((remedy for pattern, remedy in _REMEDIES if re.search(pattern, words)), "")
    short = words if len(words) <= _MAX else f"{words[: _MAX - 1]}…"
    return f"{short} ({remedy})" if remedy else short
