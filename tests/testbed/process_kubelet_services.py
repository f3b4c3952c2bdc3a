"""Services for pods that are processes: what kube-proxy does, in user space.

    python -m tests.testbed.process_kubelet_services KUBECONFIG PREFIX

Every Service with an address has one of 127.0.0.0/8 here (`service_address`), where a proxy listens on its ports and
passes connections on to a pod that the Service selects: one that is ready, unless it publishes all. Established
connections stay, as with kube-proxy. A connection for which there is no pod is refused.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
import sys
from pathlib import Path

import httpx

from tests.testbed.process_kubelet import service_address
from tests.testbed.process_kubelet_api import Watched, api_client
from tests.testbed.process_kubelet_pod import Object

_CHUNK_BYTES = 65536
_logger = logging.getLogger(__name__)


def endpoints(service: Object, pods: list[Object]) -> list[str]:
    """Addresses of the pods behind a Service."""
    selector, spec = service["spec"].get("selector") or {}, service["spec"]
    found = []
    for pod in pods:
        meta, status = pod["metadata"], pod.get("status") or {}
        labels = (meta.get("labels") or {}).items()
        selected = selector and meta["namespace"] == service["metadata"]["namespace"] and selector.items() <= labels
        over = status.get("phase") in ("Succeeded", "Failed") or not status.get("podIP")
        is_ready = any(item["type"] == "Ready" and item["status"] == "True" for item in status.get("conditions") or [])
        takes = spec.get("publishNotReadyAddresses") or (is_ready and "deletionTimestamp" not in meta)
        if selected and takes and not over:
            found.append(status["podIP"])
    return found


class ServiceProxy:
    """All Services of a cluster."""

    def __init__(self, api: httpx.AsyncClient, prefix: str) -> None:
        self._prefix = prefix
        self._wake = asyncio.Event()
        self._pods = Watched(api, "/api/v1/pods", {}, self._wake.set)
        self._services = Watched(api, "/api/v1/services", {"labelSelector": "prorl.dev/job"}, self._wake.set)
        self._servers: dict[tuple[str, int], asyncio.Server] = {}

    async def run(self) -> None:
        """For ever."""
        async with asyncio.TaskGroup() as group:
            for job in (self._pods.run(), self._services.run(), self._sync()):
                group.create_task(job)

    async def _sync(self) -> None:
        while True:
            await self._wake.wait()
            self._wake.clear()
            wanted = {
                (uid, int(port["port"])): service
                for uid, service in self._services.objects.items()
                if service["spec"].get("clusterIP", "None") != "None"
                for port in service["spec"]["ports"]
            }
            for key in set(self._servers) - set(wanted):
                self._servers.pop(key).close()
            for key, service in wanted.items():
                if key not in self._servers:
                    self._servers[key] = await self._listen(key, service)

    async def _listen(self, key: tuple[str, int], service: Object) -> asyncio.Server:
        uid, port = key

        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            current = self._services.objects.get(uid, service)
            found = endpoints(current, list(self._pods.objects.values()))
            if not found:
                writer.transport.abort()
                return
            await _pass_on(reader, writer, random.choice(found), port)

        return await asyncio.start_server(serve, service_address(self._prefix, service["spec"]["clusterIP"]), port)


async def _pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, host: str, port: int) -> None:
    caller: str = writer.get_extra_info("peername")[0]
    try:
        # From the caller's own loopback address: in a cluster a Service hides nobody from its pods.
        to_reader, to_writer = await asyncio.open_connection(host, port, local_addr=(caller, 0))
    except OSError:
        writer.transport.abort()
        return
    both = [asyncio.create_task(_copy(reader, to_writer)), asyncio.create_task(_copy(to_reader, writer))]
    await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
    # One side has closed: an HTTP connection is over.
    for task in both:
        task.cancel()
    await asyncio.gather(*both, return_exceptions=True)
    for side in (writer, to_writer):
        side.close()


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while chunk := await reader.read(_CHUNK_BYTES):
            writer.write(chunk)
            await writer.drain()


async def _main(kubeconfig: Path, prefix: str) -> None:
    async with api_client(kubeconfig) as api:
        await ServiceProxy(api, prefix).run()


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    logging.getLogger("httpx").setLevel(logging.WARNING)
    asyncio.run(_main(Path(sys.argv[1]), sys.argv[2]))
