"""What a user's `podTemplate` may not say, by role. The API server judges the rest when the objects are applied."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from prorl_api.errors import Fault
from prorl_api.spec.roles import PodTemplate
from prorl_api.spec.values import Role
from prorl_operator.manifests.learner import PLAN_VOLUME
from prorl_operator.manifests.pod_template import (
    KEPT_POD_FIELDS,
    LIST_KEYS,
    is_reserved_key,
    is_reserved_variable,
)
from prorl_operator.manifests.pods import VOLUME_PREFIX

_HARMLESS: Mapping[str, Any] = {
    "automountServiceAccountToken": False,
    "enableServiceLinks": False,
    "hostNetwork": False,
    "hostPID": False,
    "hostIPC": False,
    "shareProcessNamespace": False,
}
"""Values that say what holds for sandboxes anyway."""
_SANDBOX_VOLUMES = ("configMap", "downwardAPI", "emptyDir", "image")
"""Kinds that bring neither a secret nor a place that others read."""
_SANDBOX = "model-written programs run in these pods"
_CONTAINER_LISTS = ("containers", "initContainers")
_PLAIN_LISTS = ("args", "command", "envFrom", "tolerations", "topologySpreadConstraints")
_MAY_BE_REMOVED = ("fsGroup", "fsGroupChangePolicy", "runAsGroup", "runAsUser")
"""Of a sandbox's security context by a null: some clusters choose the user themselves."""


def template_faults(template: PodTemplate | None, role: Role) -> list[Fault]:
    """Return every fault of a role's template, by its path in the manifest."""
    if not template:
        return []
    path = f"spec.{role.value}.podTemplate"
    misshapen = list(_shape_faults(template, path))
    if misshapen:
        return misshapen
    spec = template.get("spec") or {}
    faults = [
        *_unknown_part_faults(template, path),
        *_reserved_key_faults(template.get("metadata") or {}, f"{path}.metadata"),
        *_kept_field_faults(spec, role, f"{path}.spec"),
        *_container_faults(spec, role, f"{path}.spec"),
        *_volume_name_faults(spec, f"{path}.spec.volumes"),
    ]
    if role is Role.SANDBOX:
        faults += _sandbox_volume_faults(spec, f"{path}.spec.volumes")
        faults += _sandbox_context_faults(spec, f"{path}.spec")
        faults += _each_container(spec, f"{path}.spec", _sandbox_container_faults)
    return faults


def _shape_faults(template: PodTemplate, path: str) -> Iterator[Fault]:
    """Only where merging would stumble: sections that are no objects, lists whose items lack their key."""
    for name in ("metadata", "spec"):
        if not isinstance(template.get(name) or {}, dict):
            yield Fault(path=f"{path}.{name}", got=type(template[name]).__name__, want="an object")
            return
    for name in ("labels", "annotations"):
        if not isinstance((template.get("metadata") or {}).get(name) or {}, dict):
            yield Fault(path=f"{path}.metadata.{name}", got="no object", want="an object of texts")
    yield from _list_faults(template.get("spec") or {}, f"{path}.spec")


def _list_faults(section: dict[str, Any], path: str) -> Iterator[Fault]:
    context = section.get("securityContext")
    if context is not None and not isinstance(context, dict):
        yield Fault(path=f"{path}.securityContext", got=type(context).__name__, want="an object")
    for name in _PLAIN_LISTS:
        if not isinstance(section.get(name) or [], list):
            yield Fault(path=f"{path}.{name}", got=type(section[name]).__name__, want="a list")
    for name, key in LIST_KEYS.items():
        items = section.get(name)
        if items is None:
            continue
        if not isinstance(items, list):
            yield Fault(path=f"{path}.{name}", got=type(items).__name__, want="a list")
            continue
        for index, item in enumerate(items):
            here = f"{path}.{name}[{index}]"
            if not isinstance(item, dict) or not isinstance(item.get(key), str | int):
                yield Fault(path=here, got=f"no `{key}`", want=f"an object with a `{key}`")
            elif name in _CONTAINER_LISTS:
                yield from _list_faults(item, here)


def _unknown_part_faults(template: PodTemplate, path: str) -> Iterator[Fault]:
    for name in template:
        if name not in ("metadata", "spec"):
            yield Fault(path=f"{path}.{name}", got="a value", want="a pod template has `metadata` and `spec` alone")
    for name in template.get("metadata") or {}:
        if name not in ("labels", "annotations"):
            want = "leave it out: of `metadata` only `labels` and `annotations` are yours"
            yield Fault(path=f"{path}.metadata.{name}", got="a value", want=want)


def _reserved_key_faults(metadata: dict[str, Any], path: str) -> Iterator[Fault]:
    for kind in ("labels", "annotations"):
        for key in metadata.get(kind) or {}:
            if is_reserved_key(key):
                want = "leave it out: Services and network policies rely on it; use a prefix of your own"
                yield Fault(path=f"{path}.{kind}[{key}]", got=str(metadata[kind][key]), want=want)


def _kept_field_faults(spec: dict[str, Any], role: Role, path: str) -> Iterator[Fault]:
    reason = _SANDBOX if role is Role.SANDBOX else "the operator relies on it"
    for name in KEPT_POD_FIELDS[role]:
        if spec.get(name) is not None and not (name in _HARMLESS and spec[name] == _HARMLESS[name]):
            yield Fault(path=f"{path}.{name}", got=_shown(spec[name]), want=f"leave it out: {reason}")


def _container_faults(spec: dict[str, Any], role: Role, path: str) -> Iterator[Fault]:
    for index, item in enumerate(spec.get("containers") or []):
        here = f"{path}.containers[{index}]"
        if item["name"] != role.value:
            if not item.get("image"):
                want = f"the image of this sidecar; the container named `{role.value}` is ours, and needs none"
                yield Fault(path=f"{here}.image", got="nothing", want=want)
            continue
        if item.get("resources") is not None:
            want = f"set `spec.{role.value}.resources` instead, so that there is one place for them"
            yield Fault(path=f"{here}.resources", got="a value", want=want)
        for number, variable in enumerate(item.get("env") or []):
            if is_reserved_variable(str(variable["name"])):
                want = "leave it out: the operator sets the variables of this name"
                yield Fault(path=f"{here}.env[{number}]", got=str(variable["name"]), want=want)
    for index, item in enumerate(spec.get("initContainers") or []):
        if item["name"] == role.value:
            want = f"another name: `{role.value}` is the main container"
            yield Fault(path=f"{path}.initContainers[{index}].name", got=role.value, want=want)


def _volume_name_faults(spec: dict[str, Any], path: str) -> Iterator[Fault]:
    for index, volume in enumerate(spec.get("volumes") or []):
        name = str(volume["name"])
        if name == PLAN_VOLUME or name.startswith(VOLUME_PREFIX):
            want = f"another name: `{PLAN_VOLUME}` and `{VOLUME_PREFIX}...` are the operator's"
            yield Fault(path=f"{path}[{index}].name", got=name, want=want)


def _sandbox_volume_faults(spec: dict[str, Any], path: str) -> Iterator[Fault]:
    for index, volume in enumerate(spec.get("volumes") or []):
        claim = volume.get("persistentVolumeClaim")
        if isinstance(claim, dict) and claim.get("readOnly") is True:
            continue
        for kind in volume:
            if kind != "name" and kind not in _SANDBOX_VOLUMES:
                allowed = ", ".join((*_SANDBOX_VOLUMES, "persistentVolumeClaim with readOnly: true"))
                yield Fault(path=f"{path}[{index}].{kind}", got="a value", want=f"one of {allowed}: {_SANDBOX}")


def _each_container(
    spec: dict[str, Any], path: str, judge: Callable[[dict[str, Any], str], Iterator[Fault]]
) -> Iterator[Fault]:
    for name in _CONTAINER_LISTS:
        for index, item in enumerate(spec.get(name) or []):
            yield from judge(item, f"{path}.{name}[{index}]")


def _sandbox_container_faults(item: dict[str, Any], path: str) -> Iterator[Fault]:
    yield from _sandbox_context_faults(item, path)
    for index, variable in enumerate(item.get("env") or []):
        if "secretKeyRef" in (variable.get("valueFrom") or {}):
            yield Fault(path=f"{path}.env[{index}].valueFrom.secretKeyRef", got="a secret", want=f"none: {_SANDBOX}")
    for index, source in enumerate(item.get("envFrom") or []):
        if isinstance(source, dict) and "secretRef" in source:
            yield Fault(path=f"{path}.envFrom[{index}].secretRef", got="a secret", want=f"none: {_SANDBOX}")
    for index, port in enumerate(item.get("ports") or []):
        if port.get("hostPort"):
            yield Fault(path=f"{path}.ports[{index}].hostPort", got=_shown(port["hostPort"]), want=f"none: {_SANDBOX}")


def _sandbox_context_faults(holder: dict[str, Any], path: str) -> Iterator[Fault]:
    if "securityContext" in holder and holder["securityContext"] is None:
        want = f"leave it out, it would undo ours: {_SANDBOX}"
        yield Fault(path=f"{path}.securityContext", got="null", want=want)
    yield from _sandbox_security_faults(holder.get("securityContext") or {}, f"{path}.securityContext")


def _sandbox_security_faults(context: dict[str, Any], path: str) -> Iterator[Fault]:
    """Check a pod's or a container's security context."""
    for name, needed in (("privileged", False), ("allowPrivilegeEscalation", False), ("readOnlyRootFilesystem", True)):
        if context.get(name) is (not needed):
            yield Fault(path=f"{path}.{name}", got=_shown(not needed), want=f"`{_shown(needed)}`: {_SANDBOX}")
    for name, value in context.items():
        if value is None and name not in _MAY_BE_REMOVED:
            yield Fault(path=f"{path}.{name}", got="null", want=f"leave it out, it would undo ours: {_SANDBOX}")
    capabilities = context.get("capabilities")
    if isinstance(capabilities, dict):
        if capabilities.get("add"):
            yield Fault(path=f"{path}.capabilities.add", got=_shown(capabilities["add"]), want=f"none: {_SANDBOX}")
        if "drop" in capabilities and "ALL" not in (capabilities["drop"] or []):
            want = f"leave it out, or ALL among them: {_SANDBOX}"
            yield Fault(path=f"{path}.capabilities.drop", got=_shown(capabilities["drop"]), want=want)
    for name in ("seccompProfile", "appArmorProfile"):
        profile = context.get(name)
        if isinstance(profile, dict) and profile.get("type") == "Unconfined":
            want = f"RuntimeDefault or Localhost: {_SANDBOX}"
            yield Fault(path=f"{path}.{name}.type", got="Unconfined", want=want)
    if context.get("procMount") not in (None, "Default"):
        yield Fault(path=f"{path}.procMount", got=_shown(context["procMount"]), want=f"Default: {_SANDBOX}")


def _shown(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)[:80]
