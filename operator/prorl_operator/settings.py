"""What the operator is told at its start, through environment variables that the chart sets."""

from __future__ import annotations

import json
import logging
import os
import socket
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from prorl_api.errors import Fault, SpecError
from prorl_api.wording import reason_of
from prorl_operator.manifests import Images
from prorl_operator.manifests.context import Dns
from prorl_operator.signals.endpoints import ENV_PROMETHEUS, Endpoints, endpoints_of

ENV_NAMESPACES = "PRORL_WATCH_NAMESPACES"
"""Comma-separated namespaces to serve; empty: all."""
ENV_OWN_NAMESPACE = "PRORL_OPERATOR_NAMESPACE"
"""Where the operator itself, its Lease and its key live."""
ENV_IDENTITY = "PRORL_OPERATOR_IDENTITY"
"""Name in the Lease: the pod's name; unset: host name and pid."""
ENV_LEASE = "PRORL_OPERATOR_LEASE"
"""Name of the Lease."""
ENV_KEY_FILE = "PRORL_OPERATOR_KEY_FILE"
"""File with the key that tokens are derived from, at least 32 bytes."""
ENV_IMAGE_PREFIX = "PRORL_IMAGE_"
"""`PRORL_IMAGE_LEARNER`, `PRORL_IMAGE_ROLLOUT`, `PRORL_IMAGE_SANDBOX`."""
ENV_PULL_POLICY = "PRORL_IMAGE_PULL_POLICY"
ENV_PULL_SECRETS = "PRORL_IMAGE_PULL_SECRETS"
"""Comma-separated names of Secrets in the jobs' namespaces."""
ENV_CLUSTER_DOMAIN = "PRORL_CLUSTER_DOMAIN"
ENV_MONITORING_NAMESPACE = "PRORL_MONITORING_NAMESPACE"
"""Whose pods may scrape jobs; empty: nobody's."""
ENV_DNS = "PRORL_DNS"
"""JSON of the DNS servers that jobs may ask: `{"peers": [...], "ports": [...]}`, peers as in a NetworkPolicy. Unset:
the usual ones."""
ENV_WORKERS = "PRORL_OPERATOR_WORKERS"
ENV_LOG_LEVEL = "PRORL_OPERATOR_LOG_LEVEL"
"""`DEBUG`, `INFO`, `WARNING` or `ERROR`."""
ENV_HTTP_ADDRESS = "PRORL_OPERATOR_HTTP_ADDRESS"
"""`host:port` of `/healthz`, `/readyz` and `/metrics`."""

MIN_KEY_BYTES = 32
_LOG_LEVELS = {name: getattr(logging, name) for name in ("DEBUG", "INFO", "WARNING", "ERROR")}


@dataclass(frozen=True, slots=True, kw_only=True)
class OperatorSettings:
    """The operator's settings, read once."""

    namespaces: tuple[str, ...]
    """Namespaces to serve; empty: all."""
    own_namespace: str
    identity: str
    lease_name: str
    token_key: bytes
    images: Images
    cluster_domain: str = "cluster.local"
    monitoring_namespace: str = ""
    dns: Dns = field(default_factory=Dns)
    prometheus: Endpoints = field(default_factory=Endpoints)
    """Those that jobs may be read from."""
    workers: int = 16
    """Jobs that are worked on at once."""
    http_host: str = "0.0.0.0"  # noqa: S104 - probes and Prometheus come from outside the pod
    http_port: int = 8080
    log_level: int = logging.INFO
    lease_seconds: int = 8
    """How long a leader that does not renew stays leader; failover takes at most this and one retry."""

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] = os.environ) -> OperatorSettings:
        """Read the variables.

        Raises:
            SpecError: With every variable that is missing or wrong.
        """
        faults: list[Fault] = []

        def wanted(name: str, want: str) -> str:
            value = environment.get(name, "").strip()
            if not value:
                faults.append(Fault(path=name, got="nothing", want=f"{want}; the chart sets it"))
            return value

        own_namespace = wanted(ENV_OWN_NAMESPACE, "the operator's own namespace")
        images = {
            role: wanted(f"{ENV_IMAGE_PREFIX}{role.upper()}", f"the image of {role} pods")
            for role in ("learner", "rollout", "sandbox")
        }
        key = _key(wanted(ENV_KEY_FILE, f"a file with at least {MIN_KEY_BYTES} random bytes"), faults)
        workers = _number(environment, ENV_WORKERS, 16, faults)
        level = environment.get(ENV_LOG_LEVEL, "") or "INFO"
        if level not in _LOG_LEVELS:
            faults.append(Fault(path=ENV_LOG_LEVEL, got=level, want=f"one of {', '.join(_LOG_LEVELS)}"))
        prometheus = endpoints_of(environment.get(ENV_PROMETHEUS, ""), faults)
        dns = _dns(environment.get(ENV_DNS, ""), faults)
        host, port = _address(environment.get(ENV_HTTP_ADDRESS, "0.0.0.0:8080"), faults)
        if faults:
            raise SpecError(faults, source="the operator's environment")
        return cls(
            namespaces=_names(environment.get(ENV_NAMESPACES, "")),
            own_namespace=own_namespace,
            identity=environment.get(ENV_IDENTITY, "") or f"{socket.gethostname()}-{os.getpid()}",
            lease_name=environment.get(ENV_LEASE, "") or "prorl-operator",
            token_key=key,
            images=Images(
                **images,
                pull_policy=environment.get(ENV_PULL_POLICY, "") or "IfNotPresent",
                pull_secrets=_names(environment.get(ENV_PULL_SECRETS, "")),
            ),
            cluster_domain=environment.get(ENV_CLUSTER_DOMAIN, "") or "cluster.local",
            monitoring_namespace=environment.get(ENV_MONITORING_NAMESPACE, ""),
            dns=dns,
            prometheus=prometheus,
            workers=workers,
            log_level=_LOG_LEVELS[level],
            http_host=host,
            http_port=port,
        )


def _names(text: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in text.split(",") if part.strip())


def _key(path: str, faults: list[Fault]) -> bytes:
    if not path:
        return b""
    want = f"a readable file with at least {MIN_KEY_BYTES} random bytes"
    try:
        key = Path(path).read_bytes().strip()
    except OSError as error:
        faults.append(Fault(path=ENV_KEY_FILE, got=f"{path}, {reason_of(error)}", want=want))
        return b""
    if len(key) < MIN_KEY_BYTES:
        faults.append(Fault(path=ENV_KEY_FILE, got=f"{path} with {len(key)} bytes", want=want))
    return key


def _number(environment: Mapping[str, str], name: str, default: int, faults: list[Fault]) -> int:
    text = environment.get(name, "") or str(default)
    if not text.isdecimal() or not 1 <= int(text) <= 256:
        faults.append(Fault(path=name, got=text, want="a whole number from 1 to 256"))
        return default
    return int(text)


def _dns(text: str, faults: list[Fault]) -> Dns:
    if not text:
        return Dns()
    try:
        given = json.loads(text)
        peers, ports = tuple(given["peers"]), tuple(given["ports"])
    except (ValueError, KeyError, TypeError):
        peers, ports = (), ()
    is_right = (
        bool(peers and ports)
        and all(isinstance(peer, dict) and peer for peer in peers)
        and all(isinstance(port, int) and 0 < port < 65536 for port in ports)
    )
    if not is_right:
        want = '{"peers": [...], "ports": [...]} with at least one of each, as in a NetworkPolicy'
        faults.append(Fault(path=ENV_DNS, got=text[:200], want=want))
        return Dns()
    return Dns(peers=peers, ports=ports)


def _address(text: str, faults: list[Fault]) -> tuple[str, int]:
    host, _, port = text.rpartition(":")
    if not host or not port.isdecimal() or int(port) > 65535:
        faults.append(Fault(path=ENV_HTTP_ADDRESS, got=text, want="`host:port`"))
        return "", 0
    return host.strip("[]"), int(port)
