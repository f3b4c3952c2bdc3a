"""A user's `podTemplate` and ours become one. Maps are merged; lists are merged by the key that Kubernetes merges by.

The user's value wins, so that nothing they write is silently off, but for what the job could not run safely without:
`template_faults` refuses that beforehand, and `with_users_template` keeps ours all the same.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from prorl_api.names import RESERVED_PREFIXES
from prorl_api.spec.roles import PodTemplate
from prorl_api.spec.values import Role
from prorl_operator.manifests.metadata import Manifest

LIST_KEYS: Mapping[str, str] = {
    "containers": "name",
    "initContainers": "name",
    "env": "name",
    "volumes": "name",
    "imagePullSecrets": "name",
    "resourceClaims": "name",
    "schedulingGates": "name",
    "volumeMounts": "mountPath",
    "volumeDevices": "devicePath",
    "ports": "containerPort",
    "hostAliases": "ip",
}
"""Lists whose items are one thing where these fields agree."""
WHOLE_LISTS = ("command", "args")
"""Lists of which a given one takes the place of ours; all others are appended to."""
WHOLE_ITEMS = ("env", "volumes")
"""Lists whose items are of exclusive kinds (a value or a reference, a claim or a folder): a given one replaces ours."""
PROBES = ("startupProbe", "readinessProbe", "livenessProbe")
HANDLERS = ("exec", "grpc", "httpGet", "tcpSocket")
"""Of which a probe has one."""

KEPT_POD_FIELDS: Mapping[Role, tuple[str, ...]] = {
    Role.LEARNER: ("restartPolicy", "hostname", "subdomain", "setHostnameAsFQDN", "activeDeadlineSeconds"),
    Role.ROLLOUT: ("restartPolicy", "hostname", "subdomain", "setHostnameAsFQDN", "activeDeadlineSeconds"),
    Role.SANDBOX: (
        "restartPolicy",
        "hostname",
        "subdomain",
        "setHostnameAsFQDN",
        "activeDeadlineSeconds",
        "automountServiceAccountToken",
        "enableServiceLinks",
        "hostNetwork",
        "hostPID",
        "hostIPC",
        "shareProcessNamespace",
        "serviceAccount",
        "serviceAccountName",
    ),
}
"""Fields of a pod's spec that are ours alone, by role."""
RESERVED_VARIABLES = ("RANK", "LOCAL_RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")


def is_reserved_key(key: str) -> bool:
    """Tell whether a label or annotation belongs to Kubernetes or to us."""
    prefix = key.rpartition("/")[0]
    return any(prefix == reserved or prefix.endswith(f".{reserved}") for reserved in RESERVED_PREFIXES) or (
        key in ("controller-uid", "job-name", "pod-template-hash")
    )


def is_reserved_variable(name: str) -> bool:
    """Tell whether an environment variable of the main container is ours."""
    return name.startswith("PRORL_") or name in RESERVED_VARIABLES


def with_users_template(ours: Manifest, users: PodTemplate | None, role: Role) -> Manifest:
    """Return the pod template to use. `users` without faults has no part that is left out here."""
    if not users:
        return ours
    merged = merge(ours, {key: users[key] for key in ("metadata", "spec") if users.get(key)})
    metadata, spec = dict(merged["metadata"]), dict(merged["spec"])
    for kind in ("labels", "annotations"):
        given, kept = metadata.get(kind) or {}, ours["metadata"].get(kind, {})
        reserved = {key: text for key, text in kept.items() if is_reserved_key(key)}
        metadata[kind] = {key: text for key, text in given.items() if not is_reserved_key(key)} | reserved
    for name in KEPT_POD_FIELDS[role]:
        spec.pop(name, None)
        if name in ours["spec"]:
            spec[name] = ours["spec"][name]
    spec["containers"] = [_with_our_variables(item, ours, role) for item in spec["containers"]]
    return {"metadata": {kind: metadata[kind] for kind in ("labels", "annotations") if metadata[kind]}, "spec": spec}


def merge(ours: Any, users: Any, name: str = "") -> Any:
    """Merge two values of the field `name`; a null of the user's removes ours, and as a list is an empty one."""
    if isinstance(ours, dict) and isinstance(users, dict):
        if name in PROBES and any(handler in users for handler in HANDLERS):
            ours = {key: item for key, item in ours.items() if key not in HANDLERS}
        joined = {key: merge(ours.get(key), item, key) if key in ours else item for key, item in users.items()}
        return {key: item for key, item in {**ours, **joined}.items() if item is not None}
    if isinstance(ours, list) and name not in WHOLE_LISTS:
        return _merged_lists(ours, users or [], name)
    return users


def _merged_lists(ours: list[Any], users: list[Any], name: str) -> list[Any]:
    key = LIST_KEYS.get(name)
    if key is None:
        return [*ours, *(item for item in users if item not in ours)]
    given = {item.get(key): item for item in users if isinstance(item, dict)}
    whole = name in WHOLE_ITEMS
    kept = [
        (given[item[key]] if whole else merge(item, given[item[key]])) if item[key] in given else item for item in ours
    ]
    known = {item[key] for item in ours}
    return [*kept, *(item for item in users if not isinstance(item, dict) or item.get(key) not in known)]


def _with_our_variables(given: Manifest, ours: Manifest, role: Role) -> Manifest:
    if given.get("name") != role.value:
        return given
    (main,) = ours["spec"]["containers"]
    kept = {item["name"]: item for item in main["env"] if is_reserved_variable(item["name"])}
    env = [kept.get(item["name"], item) for item in given["env"]]
    return {**given, "env": [item for item in env if not is_reserved_variable(item["name"]) or item["name"] in kept]}
