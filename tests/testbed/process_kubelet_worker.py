"""The life of one pod as a local process, told to the API server: one worker a pod, as in the kubelet."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import httpx

from tests.testbed.process_kubelet_api import patiently
from tests.testbed.process_kubelet_pod import (
    NotYetError,
    Object,
    command_of,
    environment_of,
    on_this_machine,
    pod_status,
    running_state,
    secrets_of,
    terminated_state,
    timestamp,
    waiting_state,
)
from tests.testbed.process_kubelet_process import ContainerProcess, Probe, container_environment, kill_pod
from tests.testbed.process_kubelet_volumes import Volumes

LISTEN_ADDRESS = "PRORL_LISTEN_ADDRESS"
_REFRESH_SECONDS = 0.5
_BACKOFF_SECONDS, _MAX_BACKOFF_SECONDS = 1.0, 4.0
"""A tenth of the kubelet's."""
_logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Host:
    """What all pods of a node share."""

    api: httpx.AsyncClient
    probes: httpx.AsyncClient
    folder: Path
    claims: Path
    commands: Mapping[str, Sequence[str]]
    """Container name to what is started for it: words in which `{namespace}` and `{pod}` are filled in, or
    `OWN_COMMAND`."""
    service: Callable[[str, str], str | None]


class PodWorker:
    """Starts, watches, restarts and ends the process of a pod of one container."""

    def __init__(self, host: Host, pod: Object, pod_ip: str) -> None:
        self._host = host
        self._pod = pod
        self._ip = pod_ip
        meta = pod["metadata"]
        self._uid: str = meta["uid"]
        self._path = f"/api/v1/namespaces/{meta['namespace']}/pods/{meta['name']}"
        self._folder = host.folder / "pods" / f"{meta['name']}-{self._uid[:8]}"
        self._volumes = Volumes(host.api, pod, self._folder, host.claims)
        self._container: Object = pod["spec"]["containers"][0]
        self._deleted, self._gone = asyncio.Event(), False
        self._is_ready = False
        self._state = waiting_state("ContainerCreating")
        self._last_state: Object | None = None
        self._restarts = 0
        self._command: Sequence[str] = ()
        self._phase = "Pending"

    def update(self, pod: Object | None) -> None:
        """Take note of the newest version; None: it is gone from the API."""
        if pod is None:
            self._gone = True
            kill_pod(self._uid)
            self._deleted.set()
            return
        self._pod = pod
        if "deletionTimestamp" in pod["metadata"]:
            self._deleted.set()

    async def run(self) -> None:
        """Until the pod is gone."""
        variables = await self._prepared()
        backoff = _BACKOFF_SECONDS
        while variables is not None and not self._deleted.is_set():
            code = await self._run_once(variables)
            if not self._starts_again(code):
                self._phase = "Failed" if code else "Succeeded"
                break
            await self._tell()
            self._last_state, self._restarts = self._state, self._restarts + 1
            self._state = waiting_state("CrashLoopBackOff", f"back-off {backoff:g}s restarting failed container")
            await self._tell()
            await self._unless_deleted(backoff)
            backoff = min(2 * backoff, _MAX_BACKOFF_SECONDS)
        await self._tell()
        await self._deleted.wait()
        await self._remove()

    async def _prepared(self) -> dict[str, str] | None:
        """The process's environment once everything is there; None if the pod was deleted before."""
        self._folder.mkdir(parents=True, exist_ok=True)
        while not self._deleted.is_set():
            try:
                return await self._environment()
            except (NotYetError, httpx.HTTPError) as error:
                self._state = waiting_state("CreateContainerConfigError", str(error))
            await self._tell()
            await self._unless_deleted(_REFRESH_SECONDS)
        return None

    async def _environment(self) -> dict[str, str]:
        if len(self._pod["spec"]["containers"]) != 1 or self._container["name"] not in self._host.commands:
            raise NotYetError(f"no program is known for container {self._container['name']}, or it is not the only one")
        folders = await self._volumes.mount()
        self._command = command_of(self._pod, self._container, self._host.commands[self._container["name"]], folders)
        sources = (item.get("valueFrom") or {} for item in self._container.get("env") or [])
        names = {source["secretKeyRef"]["name"] for source in sources if "secretKeyRef" in source}
        secrets = {name: await self._volumes.secret(name) for name in names}
        for name, is_optional in secrets_of(self._container).items():
            secrets[name] = await self._volumes.secret(name, is_optional=is_optional)
        variables = environment_of(self._pod, self._container, pod_ip=self._ip, secret=secrets.__getitem__)
        variables = on_this_machine(variables, folders, self._host.service)
        port = variables.get(LISTEN_ADDRESS, ":0").rpartition(":")[2]
        variables[LISTEN_ADDRESS] = f"{self._ip}:{port}"  # a pod's addresses are its own, a process's are not
        return container_environment(
            variables,
            pod_uid=self._uid,
            namespace=self._pod["metadata"]["namespace"],
            termination_log=self._folder / "termination-log",
        )

    async def _run_once(self, environment: dict[str, str]) -> int:
        meta = self._pod["metadata"]
        log = self._host.folder / "logs" / meta["namespace"] / f"{meta['name']}.log"
        process = await ContainerProcess.start(
            self._command, environment, pod_uid=self._uid, folder=self._folder, log=log
        )
        (self._folder / "pid").write_text(str(process.pid))
        started = timestamp()
        self._phase, self._state = "Running", running_state(started)
        self._is_ready = not self._container.get("readinessProbe")
        await self._tell()
        helpers = [asyncio.create_task(job) for job in (self._end_with_pod(process), self._watch_over(process))]
        code = await process.wait()
        for helper in helpers:
            helper.cancel()
        await asyncio.gather(*helpers, return_exceptions=True)
        self._is_ready = False
        message = process.message(self._container.get("terminationMessagePolicy", "File"), code)
        self._state = terminated_state(
            code, started_at=started, message=message, container_id=f"process://{process.pid}"
        )
        return code

    async def _end_with_pod(self, process: ContainerProcess) -> None:
        await self._deleted.wait()
        meta = self._pod["metadata"]
        await process.end(0.0 if self._gone else float(meta.get("deletionGracePeriodSeconds") or 0))

    async def _watch_over(self, process: ContainerProcess) -> None:
        """Probes, and files of ConfigMaps."""
        ready, alive = (Probe(self._container.get(f"{kind}Probe"), self._ip) for kind in ("readiness", "liveness"))
        failures, unready, was_alive = 0, 0, False
        while True:
            try:
                await self._volumes.refresh()
            except (NotYetError, httpx.HTTPError) as error:
                _logger.info("%s: %s", self._path, error)
            if ready.has_spec:
                is_ready = await ready.succeeds(self._host.probes)
                unready = 0 if is_ready else unready + 1
                if is_ready != self._is_ready and (is_ready or unready >= ready.threshold):
                    self._is_ready = is_ready
                    await self._tell()
            lives = await alive.succeeds(self._host.probes)
            was_alive = was_alive or lives
            failures = 0 if lives or not was_alive else failures + 1
            if failures >= alive.threshold:
                await process.end(0.0)
                return
            await asyncio.sleep(ready.interval_seconds if ready.has_spec else _REFRESH_SECONDS)

    def _starts_again(self, code: int) -> bool:
        policy = self._pod["spec"].get("restartPolicy", "Always")
        wanted = policy == "Always" or (policy == "OnFailure" and code != 0)
        return wanted and not self._deleted.is_set()

    async def _unless_deleted(self, seconds: float) -> None:
        waiting = asyncio.create_task(self._deleted.wait())
        await asyncio.wait([waiting], timeout=seconds)
        waiting.cancel()

    async def _tell(self) -> None:
        if self._gone:
            return
        status = pod_status(
            self._pod,
            phase=self._phase,
            pod_ip=self._ip,
            is_ready=self._is_ready,
            state=self._state,
            last_state=self._last_state,
            restarts=self._restarts,
        )
        body = {"metadata": {"uid": self._uid}, "status": status}
        headers = {"Content-Type": "application/strategic-merge-patch+json"}
        await patiently(
            lambda: self._host.api.patch(f"{self._path}/status", json=body, headers=headers), f"status of {self._path}"
        )

    async def _remove(self) -> None:
        """The last word on a pod that is being deleted: nothing of it is left here."""
        kill_pod(self._uid)
        if self._gone:
            return
        body = {"gracePeriodSeconds": 0, "preconditions": {"uid": self._uid}}
        await patiently(lambda: self._host.api.request("DELETE", self._path, json=body), f"deletion of {self._path}")
