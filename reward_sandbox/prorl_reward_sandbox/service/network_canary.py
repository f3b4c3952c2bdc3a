"""Is the sandbox kept off the network? A connection that its policy forbids is tried, and must not come through.

A policy that nobody enforces looks like one that somebody does, so it has to be tried. What is tried is the address of
the cluster's own API, which every pod is told and which a sandbox may not reach. A refused connection came through,
too: somebody answered.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from dataclasses import dataclass, field

from prorl_api.wire.isolation import PolicyFinding

HOST_VARIABLE, PORT_VARIABLE = "KUBERNETES_SERVICE_HOST", "KUBERNETES_SERVICE_PORT"
"""Set by Kubernetes in every container."""
_SILENCE_SECONDS = 3.0
"""Who has not answered by then is out of reach: within a cluster, answers take milliseconds."""
_KEPT_SECONDS = 30.0
_REMEDY = (
    "install a network plugin that enforces NetworkPolicy, or set `sandbox.isolation.network: in-process` "
    "if the level of isolation is enough"
)


@dataclass(slots=True, kw_only=True)
class NetworkCanary:
    """Tries the address. A finding is kept for half a minute, except that of an open network, which somebody mends."""

    host: str
    port: int
    _found: tuple[PolicyFinding, str] | None = field(default=None)
    _found_at: float = 0.0
    _lock: asyncio.Lock = field(default_factory=asyncio.Lock)

    async def finding(self) -> tuple[PolicyFinding, str]:
        """Return what was found, and in words."""
        async with self._lock:
            is_old = time.monotonic() - self._found_at > _KEPT_SECONDS
            if self._found is None or is_old or self._found[0] is PolicyFinding.NOT_ENFORCED:
                self._found, self._found_at = await self._try(), time.monotonic()
            return self._found

    async def _try(self) -> tuple[PolicyFinding, str]:
        address = f"{self.host}:{self.port}"
        try:
            async with asyncio.timeout(_SILENCE_SECONDS):
                _, writer = await asyncio.open_connection(self.host, self.port)
        except ConnectionRefusedError:
            outcome = "was refused, and so came through"
        except (OSError, TimeoutError) as error:
            return PolicyFinding.ENFORCED, f"a connection to {address} failed: {type(error).__name__}"
        else:
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()
            outcome = "came through"
        return PolicyFinding.NOT_ENFORCED, f"a connection from the sandbox to {address} {outcome}: {_REMEDY}"
