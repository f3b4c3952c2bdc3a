"""kopf's side: what people make and the operator's Lease; indexes, and handlers that only enqueue.

`on.event` and indexes store nothing on objects and need no finalizer. kopf calls handlers only after its index holds
the resets that existed at the start, so that no job is looked at as if it had none.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Collection
from typing import Any

import kopf

from prorl_operator.watch.kopf_storage import NoDifferences, NoProgress
from prorl_operator.watch.view_index import IndexedViews, Key, Packed, packed

GROUP, VERSION = "prorl.dev", "v1alpha1"


class Watches:
    """The registry of one operator, and what its watches have brought."""

    def __init__(self, views: IndexedViews, enqueue: Callable[[Key], None], *, lease: tuple[str, str]) -> None:
        """Remember what to watch for.

        Args:
            views: Gets kopf's indexes.
            enqueue: Called with a job that is to be looked at.
            lease: Namespace and name of the operator's Lease, whose renewals show that watches live.
        """
        self.registry = kopf.OperatorRegistry()
        self.last_event = time.monotonic()
        """When the Lease's watch last brought something."""
        self.is_synced = False
        """The index of resets was filled once."""
        self._views = views
        self._enqueue = enqueue
        self._lease = lease
        self._register_login()
        self._register_jobs()
        self._register_resets()
        self._register_lease()

    def _register_login(self) -> None:
        @kopf.on.login(registry=self.registry)
        async def login(**arguments: Any) -> kopf.ConnectionInfo | None:
            """Log in as our own client does: by the service account, else by the kubeconfig."""
            return kopf.login_with_service_account(**arguments) or kopf.login_with_kubeconfig(**arguments)

    def _register_jobs(self) -> None:
        @kopf.on.event(GROUP, VERSION, "prorljobs", registry=self.registry)
        async def on_job(event: kopf.RawEvent, namespace: str | None, name: str, **indexes: Any) -> None:
            key = namespace or "", name
            body = None if event["type"] == "DELETED" else event["object"]
            is_news = self._views.put_job(key, body)
            self._arrived(key if is_news else None, indexes)

    def _register_resets(self) -> None:
        @kopf.index(GROUP, VERSION, "prorlresets", id="resets", registry=self.registry)
        async def resets(body: kopf.Body, namespace: str | None, **_: Any) -> dict[Key, Packed] | None:
            name = (body.get("spec") or {}).get("jobName")
            return {(namespace or "", name): packed(body)} if name else None

        @kopf.on.event(GROUP, VERSION, "prorlresets", registry=self.registry)
        async def on_reset(body: kopf.Body, namespace: str | None, **indexes: Any) -> None:
            name = (body.get("spec") or {}).get("jobName")
            self._arrived((namespace or "", name) if name else None, indexes)

    def _register_lease(self) -> None:
        @kopf.on.event("coordination.k8s.io", "v1", "leases", registry=self.registry)
        async def on_lease(namespace: str | None, name: str, **indexes: Any) -> None:
            if (namespace, name) == self._lease:
                self.last_event = time.monotonic()
                self._arrived(None, indexes)

    def _arrived(self, key: Key | None, indexes: dict[str, Any]) -> None:
        if not self.is_synced:
            self._views.attach(indexes["resets"])
            self.is_synced = True
        if key is not None:
            self._enqueue(key)


def kopf_settings(*, lease_name: str, is_scoped: bool) -> kopf.OperatorSettings:
    """kopf's settings: streams that are renewed, no events and no state of its own."""
    settings = kopf.OperatorSettings()
    settings.watching.field_selectors["leases"] = f"metadata.name={lease_name}"
    settings.watching.server_timeout = 240
    settings.watching.client_timeout = 250
    settings.watching.connect_timeout = 20
    # Nobody here asks what changed in an object, and kopf would copy each one several times to find out.
    settings.persistence.diffbase_storage = NoDifferences()
    settings.persistence.progress_storage = NoProgress()
    settings.posting.enabled = False
    # What handles a job's events keeps the last of them, whole, for as long as it waits for another.
    settings.queueing.idle_timeout = 1.0
    # To look for namespaces and definitions takes rights over the cluster; served by name, neither is needed.
    settings.scanning.disabled = is_scoped
    return settings


def watched_namespaces(namespaces: Collection[str], own: str) -> dict[str, Any]:
    """kopf's arguments for where to watch."""
    return {"namespaces": sorted({*namespaces, own})} if namespaces else {"clusterwide": True}


logging.getLogger("kopf").setLevel(logging.WARNING)
