"""What a world looked like when a test of it failed: without it, "waited 90 s" says nothing of why."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml
from kubernetes.client import ApiException
from urllib3.exceptions import HTTPError

from prorl_api import API_VERSION
from tests.conformance.cluster_world import ClusterWorld

_LOG_LINES = 40


def last_seen(world: ClusterWorld) -> list[tuple[str, str]]:
    """Return titles and texts: the job, its resets, its pods, and how the operators' and Prometheus' logs end."""
    api, namespace = world.site.api, world.namespace
    looks: list[tuple[str, Callable[[], Any]]] = [
        ("job's status", lambda: world.job().get("status")),
        ("resets", lambda: [_spec_and_status(body) for body in api.list(API_VERSION, "ProRLReset", namespace)]),
        ("pods", lambda: [_short(pod) for pod in world.pods()]),
        ("events", lambda: [event["note"] for event in api.list("events.k8s.io/v1", "Event", namespace)]),
    ]
    found = [(title, _text(look)) for title, look in looks]
    logs = [*(part.log for part in world.operators), world.site.cluster.folder / "logs/prometheus.log"]
    return found + [(log.name, _end(log)) for log in logs if log.exists()]


def _end(log: Path) -> str:
    return "\n".join(log.read_text(errors="replace").splitlines()[-_LOG_LINES:])


def _text(look: Callable[[], Any]) -> str:
    try:
        text: str = yaml.safe_dump(look(), sort_keys=False, allow_unicode=True)
    except (ApiException, HTTPError, OSError) as error:  # the test may have ended the API server
        return f"cannot be read: {error}"
    return text


def _spec_and_status(body: dict[str, Any]) -> dict[str, Any]:
    return {"name": body["metadata"]["name"], "spec": body.get("spec"), "status": body.get("status")}


def _short(pod: dict[str, Any]) -> dict[str, Any]:
    status = pod.get("status", {})
    return {
        "name": pod["metadata"]["name"],
        "phase": status.get("phase"),
        "containers": [container.get("state") for container in status.get("containerStatuses") or []],
    }
