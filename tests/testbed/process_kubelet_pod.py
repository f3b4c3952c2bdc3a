"""What a pod's specification means for a process on this machine, and what its status says. Pure.

Mount paths become folders: a variable whose value is a mount path, or lies below one, names the folder instead. An
address of a Service becomes that of the proxy which stands for it.
"""

from __future__ import annotations

import datetime
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

Object = dict[str, Any]
OWN_COMMAND = ("{own}",)
"""Instead of a stand-in's words: the container's own command and arguments."""
_REFERENCE = re.compile(r"\$(?:\$|\(([^)]+)\))")
_MAP_FIELD = re.compile(r"metadata\.(labels|annotations)\['([^']+)'\]")
_SERVICE_URL = re.compile(r"\b([a-z0-9-]+)\.([a-z0-9-]+)\.svc(?:\.[a-z0-9.-]+)?:")
_SIGNALLED = 128


class NotYetError(Exception):
    """Something that the pod needs is not there; the message says what."""


def environment_of(
    pod: Object, container: Object, *, pod_ip: str, secret: Callable[[str], Mapping[str, str]]
) -> dict[str, str]:
    """The container's variables, references resolved; paths and addresses are still the pod's.

    Args:
        pod: The pod.
        container: One of its containers.
        pod_ip: What `status.podIP` is.
        secret: Decoded content of a Secret of the namespace by name; raises NotYetError.
    """
    found: dict[str, str] = {}
    for name in secrets_of(container):
        found |= secret(name)
    for item in container.get("env") or []:
        source = item.get("valueFrom") or {}
        if "secretKeyRef" in source:
            reference = source["secretKeyRef"]
            found[item["name"]] = secret(reference["name"])[reference["key"]]
        elif "fieldRef" in source:
            found[item["name"]] = _field(pod, source["fieldRef"]["fieldPath"], pod_ip)
        elif source:
            raise NotYetError(f"variable {item['name']}: a value from {', '.join(source)} is not supported")
        else:
            found[item["name"]] = _expanded(item.get("value", ""), found)
    return found


def secrets_of(container: Object) -> dict[str, bool]:
    """Return the Secrets that become variables as a whole, each with whether it may be missing."""
    sources = container.get("envFrom") or []
    if any("secretRef" not in item or item.get("prefix") for item in sources):
        raise NotYetError("variables from something else than a whole Secret are not supported")
    return {item["secretRef"]["name"]: bool(item["secretRef"].get("optional")) for item in sources}


def command_of(pod: Object, container: Object, words: Sequence[str], folders: Mapping[str, Path]) -> list[str]:
    """Return the words of a program; for `OWN_COMMAND` the container's own, by this Python and in folders of here."""
    if tuple(words) == OWN_COMMAND:
        own = [*(container.get("command") or []), *(container.get("args") or [])]
        return [sys.executable if word == "python" else place(word, folders) for word in own]
    names = {"namespace": pod["metadata"]["namespace"], "pod": pod["metadata"]["name"]}
    return [word.format(**names) for word in words]


def place(path: str, folders: Mapping[str, Path]) -> str:
    """Return where a path in a pod is here; what is in none of its mounts stays.

    Args:
        path: Or any other word.
        folders: Mount path to folder.
    """
    for mount, folder in sorted(folders.items(), key=lambda pair: -len(pair[0])):
        if path == mount or path.startswith(mount.rstrip("/") + "/"):
            return str(folder) + path[len(mount.rstrip("/")) :]
    return path


def on_this_machine(
    variables: Mapping[str, str], folders: Mapping[str, Path], service: Callable[[str, str], str | None]
) -> dict[str, str]:
    """The same variables for a process here.

    Args:
        variables: Of `environment_of`.
        folders: Mount path to folder.
        service: The address that stands for a Service, by namespace and name; None if there is no such Service.
    """

    def url(match: re.Match[str]) -> str:
        address = service(match[2], match[1])
        return match[0] if address is None else f"{address}:"

    return {name: _SERVICE_URL.sub(url, place(value, folders)) for name, value in variables.items()}


def volume_of(pod: Object, name: str) -> Object:
    """A volume of the pod by name."""
    volume: Object = next(item for item in pod["spec"].get("volumes") or [] if item["name"] == name)
    return volume


def running_state(started_at: str) -> Object:
    """A container's state while it runs."""
    return {"running": {"startedAt": started_at}, "waiting": None, "terminated": None}


def waiting_state(reason: str, message: str = "") -> Object:
    """A container's state before it runs."""
    return {"waiting": {"reason": reason, "message": message}, "running": None, "terminated": None}


def terminated_state(code: int, *, started_at: str, message: str, container_id: str) -> Object:
    """A container's state once its process has ended; `code` as `subprocess` gives it, negative for a signal."""
    ended = {
        "exitCode": code if code >= 0 else _SIGNALLED - code,
        "reason": "Completed" if code == 0 else "Error",
        "message": message,
        "startedAt": started_at,
        "finishedAt": timestamp(),
        "containerID": container_id,
    }
    return {"terminated": ended, "running": None, "waiting": None}


def pod_status(
    pod: Object, *, phase: str, pod_ip: str, is_ready: bool, state: Object, last_state: Object | None, restarts: int
) -> Object:
    """The status of a pod of one container, for a strategic merge patch: a null removes what was there."""
    container = pod["spec"]["containers"][0]
    is_over = phase in ("Succeeded", "Failed")
    reason = {"reason": "PodCompleted"} if is_over else {}
    ready = {"status": "True" if is_ready else "False", "lastTransitionTime": timestamp(), **reason}
    return {
        "phase": phase,
        "hostIP": "127.0.0.1",
        "hostIPs": [{"ip": "127.0.0.1"}],
        "podIP": pod_ip,
        "podIPs": [{"ip": pod_ip}],
        "startTime": (pod.get("status") or {}).get("startTime") or timestamp(),
        "conditions": [
            {"type": "Initialized", "status": "True"},
            {"type": "ContainersReady", **ready},
            {"type": "Ready", **ready},
        ],
        "containerStatuses": [
            {
                "name": container["name"],
                "image": container["image"],
                "imageID": "",
                "ready": is_ready,
                "started": state.get("running") is not None,
                "restartCount": restarts,
                "state": state,
                "lastState": last_state or {},
            }
        ],
    }


def timestamp() -> str:
    """Now, as the API spells it."""
    return datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _expanded(value: str, known: Mapping[str, str]) -> str:
    def one(match: re.Match[str]) -> str:
        return "$" if match[1] is None else known.get(match[1], match[0])

    return _REFERENCE.sub(one, value)


def _field(pod: Object, path: str, pod_ip: str) -> str:
    meta = pod["metadata"]
    if match := _MAP_FIELD.fullmatch(path):
        return str((meta.get(match[1]) or {}).get(match[2], ""))
    fields = {
        "metadata.name": meta["name"],
        "metadata.namespace": meta["namespace"],
        "metadata.uid": meta["uid"],
        "spec.nodeName": pod["spec"].get("nodeName", ""),
        "status.podIP": pod_ip,
        "status.podIPs": pod_ip,
        "status.hostIP": "127.0.0.1",
    }
    if path not in fields:
        raise NotYetError(f"field {path} is not supported")
    return str(fields[path])
