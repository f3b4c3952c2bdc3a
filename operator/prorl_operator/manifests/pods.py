"""What the pods of all roles have in common: security, folders, the main container."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from prorl_api.names import API_PORT, ENV_JOB_NAME, tokens_name
from prorl_api.process.listen import LISTEN_ADDRESS_VARIABLE
from prorl_api.process.tokens import ACCEPTED_VARIABLE, TOKEN_VARIABLE_PREFIX, accepted_text
from prorl_api.spec.job import ProRLJob
from prorl_api.spec.roles import LearnerSpec, Resources, RolloutSpec, SandboxSpec, Volume
from prorl_api.spec.values import Role
from prorl_operator.manifests.base import token_key_name
from prorl_operator.manifests.context import JobContext
from prorl_operator.manifests.metadata import Manifest
from prorl_operator.manifests.paths import HOME, SHARED_MEMORY, TEMPORARY

USER_ID = 65532
"""User and group of all containers, and owner of what they write on volumes."""
VOLUME_PREFIX = "volume-"
"""Before the names of `spec.volumes`, so that they collide with none of ours."""

_TEMPORARY_VOLUME, _HOME_VOLUME, _SHARED_MEMORY_VOLUME = "tmp", "home", "shm"
_LOST_NODE_SECONDS = 30
"""Kubernetes waits five minutes by default: all ranks for a lost one, and all steps for a lost server."""
_TOLERATIONS = tuple(
    {
        "key": f"node.kubernetes.io/{trouble}",
        "operator": "Exists",
        "effect": "NoExecute",
        "tolerationSeconds": _LOST_NODE_SECONDS,
    }
    for trouble in ("unreachable", "not-ready")
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Scratch:
    """Ceilings of a pod's writable folders, as quantities; nothing is reserved. None: it has no such folder."""

    temporary: str
    temporary_in_memory: bool = False
    """A full folder then is an error of who writes; on disk the kubelet evicts the pod."""
    home: str | None = None
    """Caches: compiled kernels, downloaded models."""
    shared_memory: str | None = None
    """Counts against the memory limit; collectives and weight updates use it."""


def value(name: str, text: str) -> Manifest:
    """Return a variable."""
    return {"name": name, "value": text}


def field_value(name: str, path: str) -> Manifest:
    """Return a variable that holds a field of the pod."""
    return {"name": name, "valueFrom": {"fieldRef": {"fieldPath": path}}}


def token_value(context: JobContext, caller: Role, callee: Role) -> Manifest:
    """Return the variable with the token that `caller` presents to `callee`."""
    reference = {"name": tokens_name(context.name), "key": token_key_name(caller, callee)}
    return {"name": TOKEN_VARIABLE_PREFIX + callee.value.upper(), "valueFrom": {"secretKeyRef": reference}}


def accepted_value(context: JobContext, callers: list[str], callee: Role) -> Manifest:
    """Return the variable with the digests of what `callee` accepts; digests are no secret."""
    return value(ACCEPTED_VARIABLE, accepted_text({caller: context.token(caller, callee) for caller in callers}))


def common_environment(context: JobContext, scratch: Scratch) -> list[Manifest]:
    """Variables of every component."""
    home = HOME if scratch.home else TEMPORARY
    cache = f"{home}/.cache"
    return [
        value(ENV_JOB_NAME, context.name),
        # Every address of the pod: IPv4, IPv6 or both.
        value(LISTEN_ADDRESS_VARIABLE, f":{API_PORT}"),
        value("PYTHONSAFEPATH", "1"),
        value("PYTHONUNBUFFERED", "1"),
        value("HOME", home),
        # Libraries name cache folders after the user, whose id has no entry in the image.
        value("USER", "prorl"),
        value("TMPDIR", TEMPORARY),
        value("XDG_CACHE_HOME", cache),
        value("TRITON_CACHE_DIR", f"{cache}/triton"),
        value("TORCHINDUCTOR_CACHE_DIR", f"{cache}/torchinductor"),
    ]


def container(context: JobContext, role: Role, module: str, environment: list[Manifest], **more: Any) -> Manifest:
    """Return the main container, named after its role, without its mounts."""
    images, resources = context.images, section_of(context.job, role).resources
    image = {Role.LEARNER: images.learner, Role.ROLLOUT: images.rollout, Role.SANDBOX: images.sandbox}[role]
    return {
        "name": role.value,
        "image": image,
        "imagePullPolicy": images.pull_policy,
        "command": ["python", "-m", module],
        "env": environment,
        "ports": [{"name": "http", "containerPort": API_PORT, "protocol": "TCP"}],
        "resources": resource_amounts(resources),
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "capabilities": {"drop": ["ALL"]},
            "readOnlyRootFilesystem": True,
        },
        "terminationMessagePolicy": "FallbackToLogsOnError",
        **more,
    }


def pod_spec(context: JobContext, role: Role, main: Manifest, scratch: Scratch, **more: Any) -> Manifest:
    """Return the pod around the main container: folders, volumes of the job, the identity it runs under."""
    folders = _folders(scratch)
    claims = [volume for volume in context.job.spec.volumes if role in volume.roles]
    mounts = [{"name": name, "mountPath": path} for name, path, _ in folders]
    spec: Manifest = {
        "containers": [{**main, "volumeMounts": [*mounts, *map(_mount, claims)]}],
        "volumes": [*({"name": name, "emptyDir": source} for name, _, source in folders), *map(_claim, claims)],
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "tolerations": [dict(item) for item in _TOLERATIONS],
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": USER_ID,
            "runAsGroup": USER_ID,
            "fsGroup": USER_ID,
            # A volume with a model on it has many files; those that fit are left alone.
            "fsGroupChangePolicy": "OnRootMismatch",
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        **more,
    }
    if context.images.pull_secrets:
        spec["imagePullSecrets"] = [{"name": name} for name in context.images.pull_secrets]
    return spec


def http_probe(path: str, *, period: int, failures: int, timeout: int = 5) -> Manifest:
    """Return a probe of the API; `period` and `timeout` in seconds."""
    return {
        "httpGet": {"path": path, "port": API_PORT},
        "periodSeconds": period,
        "failureThreshold": failures,
        "timeoutSeconds": timeout,
    }


def section_of(job: ProRLJob, role: Role) -> LearnerSpec | RolloutSpec | SandboxSpec:
    """Return the role's section of the spec."""
    sections: dict[Role, LearnerSpec | RolloutSpec | SandboxSpec] = {
        Role.LEARNER: job.spec.learner,
        Role.ROLLOUT: job.spec.rollout,
        Role.SANDBOX: job.spec.sandbox,
    }
    return sections[role]


def num_gpus(resources: Resources | None) -> int:
    """GPUs of a container, by its limits; 0 without any."""
    return sum(resources.gpus.values()) if resources else 0


def resource_amounts(resources: Resources | None) -> Manifest:
    """Return a container's resources as the API server writes them."""
    if resources is None:
        return {}
    amounts = {"requests": resources.requests, "limits": resources.limits}
    # As text: given so, what is applied equals what is stored.
    return {kind: {name: str(amount) for name, amount in given.items()} for kind, given in amounts.items() if given}


def _folders(scratch: Scratch) -> list[tuple[str, str, Manifest]]:
    """Volume name, mount path and `emptyDir` of every writable folder."""
    temporary: Manifest = {"sizeLimit": scratch.temporary}
    if scratch.temporary_in_memory:
        temporary["medium"] = "Memory"
    folders = [(_TEMPORARY_VOLUME, TEMPORARY, temporary)]
    if scratch.home is not None:
        folders.append((_HOME_VOLUME, HOME, {"sizeLimit": scratch.home}))
    if scratch.shared_memory is not None:
        memory = {"medium": "Memory", "sizeLimit": scratch.shared_memory}
        folders.append((_SHARED_MEMORY_VOLUME, SHARED_MEMORY, memory))
    return folders


def _claim(volume: Volume) -> Manifest:
    claim = {"claimName": volume.claim_name, "readOnly": volume.read_only}
    return {"name": VOLUME_PREFIX + volume.name, "persistentVolumeClaim": claim}


def _mount(volume: Volume) -> Manifest:
    return {"name": VOLUME_PREFIX + volume.name, "mountPath": volume.mount_path, "readOnly": volume.read_only}
