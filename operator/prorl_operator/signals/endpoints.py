"""Which Prometheus may be asked, and with what credentials: what the chart's `monitoring.prometheus` becomes.

The operator reads no Secret: credentials of an endpoint are mounted into its pod, a folder for each, and read from
there whenever it is asked, so that a changed token holds without a restart.
"""

from __future__ import annotations

import base64
import json
import re
import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from prorl_api.errors import Fault
from prorl_api.spec.run import MonitoringSpec
from prorl_control.signals.reading import SignalFault, SignalReason

ENV_PROMETHEUS = "PRORL_PROMETHEUS"
"""JSON: `{"interval": "15s", "allowedUrls": [...], "endpoints": [{"name": ..., "url": ..., ...}]}`."""
TOKEN_FILE, USERNAME_FILE, PASSWORD_FILE, CA_FILE = "token", "username", "password", "ca.crt"
_DURATION = re.compile(r"([0-9]+)(ms|s|m|h)")
_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}
_MIN_INTERVAL = 0.1


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """One Prometheus."""

    name: str
    """As jobs name it; of one that a job gives by its address, the address."""
    url: str
    """Without `/api/v1`."""
    interval: float = 15.0
    """Seconds between its scrapes of learners."""
    namespaces: tuple[str, ...] = ()
    """Whose jobs may name it; none: all."""
    headers: tuple[tuple[str, str], ...] = ()
    """Name and value."""
    secret_headers: tuple[tuple[str, str], ...] = ()
    """Name, and file in the folder that holds the value."""
    folder: Path | None = None
    """Where its credentials are mounted."""

    def request_headers(self) -> dict[str, str]:
        """Return the headers of a request, credentials included.

        Raises:
            OSError: A file cannot be read.
            ValueError: A file holds what no header can.
        """
        headers = dict(self.headers)
        for name, file in self.secret_headers:
            headers[name] = self._text(file)
        if self._has(TOKEN_FILE):
            headers["Authorization"] = f"Bearer {self._text(TOKEN_FILE)}"
        elif self._has(USERNAME_FILE):
            pair = f"{self._text(USERNAME_FILE)}:{self._text(PASSWORD_FILE)}"
            headers["Authorization"] = f"Basic {base64.b64encode(pair.encode()).decode()}"
        return headers

    def trust(self) -> ssl.SSLContext | None:
        """Return whom to trust, if that is said; None: the usual authorities.

        Raises:
            OSError: The file cannot be read.
            ssl.SSLError: It holds no certificate.
        """
        if not self._has(CA_FILE):
            return None
        assert self.folder is not None
        return ssl.create_default_context(cadata=(self.folder / CA_FILE).read_text())

    def _has(self, file: str) -> bool:
        return self.folder is not None and (self.folder / file).exists()

    def _text(self, file: str) -> str:
        assert self.folder is not None
        text = (self.folder / file).read_text().strip()
        if not text or not text.isprintable():
            raise ValueError(f"{file} is empty or has more than one line")
        return text


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoints:
    """Every Prometheus that may be asked."""

    named: Mapping[str, Endpoint] = field(default_factory=dict)
    allowed_urls: tuple[str, ...] = ()
    """Addresses that jobs may give themselves."""
    interval: float = 15.0
    """Seconds between scrapes, of those."""

    def of(self, monitoring: MonitoringSpec, namespace: str) -> Endpoint | SignalFault:
        """Return the Prometheus that a job is to be read from, or why none is asked.

        Args:
            monitoring: `spec.monitoring`, which names one.
            namespace: The job's.
        """
        if monitoring.prometheus is not None:
            found = self.named.get(monitoring.prometheus)
            if found is None or (found.namespaces and namespace not in found.namespaces):
                usable = [name for name, one in self.named.items() if not one.namespaces or namespace in one.namespaces]
                have = f"this namespace may name {', '.join(sorted(usable))}" if usable else "there is none it may name"
                message = (
                    f"spec.monitoring.prometheus: got {monitoring.prometheus}; {have}: "
                    "the chart's monitoring.prometheus lists them"
                )
                return SignalFault(reason=SignalReason.UNKNOWN_PROMETHEUS, message=message)
            return found
        url = (monitoring.prometheus_url or "").rstrip("/")
        if url not in self.allowed_urls:
            message = (
                f"spec.monitoring.prometheusUrl: got {url}; the operator asks only addresses that the chart's "
                "monitoring.allowedPrometheusUrls lists, for it reaches more than whoever writes jobs"
            )
            return SignalFault(reason=SignalReason.URL_NOT_ALLOWED, message=message)
        return Endpoint(name=url, url=url, interval=self.interval)


def endpoints_of(text: str, faults: list[Fault]) -> Endpoints:
    """Read the variable; what is wrong is added to `faults`."""
    if not text:
        return Endpoints()
    try:
        given = json.loads(text)
        named = [_endpoint(item) for item in given.get("endpoints", ())]
        allowed = tuple(str(url).rstrip("/") for url in given.get("allowedUrls", ()))
        interval = seconds_of(given.get("interval", "15s"))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        want = '{"interval": "15s", "allowedUrls": [...], "endpoints": [{"name": ..., "url": ...}]}; the chart sets it'
        faults.append(Fault(path=ENV_PROMETHEUS, got=f"{type(error).__name__}: {error}"[:200], want=want))
        return Endpoints()
    return Endpoints(named={one.name: one for one in named}, allowed_urls=allowed, interval=interval)


def _endpoint(item: Mapping[str, Any]) -> Endpoint:
    folder = item.get("folder")
    return Endpoint(
        name=item["name"],
        url=item["url"].rstrip("/"),
        interval=seconds_of(item.get("interval", "15s")),
        namespaces=tuple(item.get("namespaces", ())),
        headers=tuple((header["name"], header["value"]) for header in item.get("headers", ()) if "value" in header),
        secret_headers=tuple(
            (header["name"], header["file"]) for header in item.get("headers", ()) if "file" in header
        ),
        folder=Path(folder) if folder else None,
    )


def seconds_of(duration: str) -> float:
    """Return the seconds of a duration as Prometheus writes it, such as `1m30s`.

    Raises:
        ValueError: It is none, or too short.
    """
    parts = _DURATION.findall(duration)
    if "".join(number + unit for number, unit in parts) != duration:
        raise ValueError(f"no duration: {duration!r}")
    seconds = sum(int(number) * _SECONDS[unit] for number, unit in parts)
    if seconds < _MIN_INTERVAL:
        raise ValueError(f"too short: {duration!r}")
    return seconds
