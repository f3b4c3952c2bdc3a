"""What all builders are given, and the names and addresses that follow from it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from prorl_api.names import API_PORT, RENDEZVOUS_PORT, deployment_name, learner_job_name, ranks_service_name
from prorl_api.process.tokens import derive_token
from prorl_api.spec.job import ProRLJob
from prorl_api.spec.values import Role

OPERATOR_LABELS: Mapping[str, str] = MappingProxyType({"app.kubernetes.io/name": "prorl-operator"})
"""Labels of the operator's pods, as its chart sets them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Images:
    """Images of the three roles, and how they are pulled."""

    learner: str
    rollout: str
    sandbox: str
    pull_policy: str = "IfNotPresent"
    pull_secrets: tuple[str, ...] = ()
    """Secrets in the job's namespace."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Dns:
    """The servers of names that a job's pods may ask."""

    peers: tuple[Mapping[str, Any], ...] = (
        {
            "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "kube-system"}},
            "podSelector": {"matchLabels": {"k8s-app": "kube-dns"}},
        },
        {"ipBlock": {"cidr": "169.254.20.10/32"}},
    )
    """As in a NetworkPolicy. By default the cluster's own, whose pods have this label almost everywhere, and where
    NodeLocal DNSCache listens."""
    ports: tuple[int, ...] = (53,)
    """Behind the Service: where it translates, it is the pods' port that counts."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Placement:
    """How far the pods of a gang are; without meaning for other jobs."""

    servers_since: int = 0
    """Attempt that the servers' group was made for; 0: there are no servers yet."""
    is_placed: bool = False
    """A server runs, or a learner of the current attempt does: the gang was placed as a whole."""
    has_own_learner_group: bool = False
    """The learner is not in the servers' group, since that was placed before."""


@dataclass(frozen=True, slots=True, kw_only=True)
class JobContext:
    """Everything the objects of a job are made of."""

    job: ProRLJob
    """As it runs now, edits that hold already mixed in."""
    uid: str
    """The ProRLJob's; it is the run's identity too."""
    namespace: str
    images: Images
    token_key: bytes = field(repr=False)
    """Every token is derived from it."""
    placement: Placement = Placement()
    adopt_run: str = ""
    """Uid of another run whose folder the job may take over."""
    cluster_domain: str = "cluster.local"
    operator_namespace: str = "prorl-system"
    operator_labels: Mapping[str, str] = field(default_factory=lambda: OPERATOR_LABELS)
    monitoring_namespace: str = ""
    """Whose pods may scrape metrics; empty: nobody's."""
    dns: Dns = Dns()

    @property
    def name(self) -> str:
        """The job's."""
        return self.job.metadata.name

    @property
    def learner_url(self) -> str:
        """Base URL of rank 0 of the current attempt, whichever that is."""
        return self._service_url(Role.LEARNER)

    @property
    def sandbox_url(self) -> str:
        """Base URL of all ready sandboxes."""
        return self._service_url(Role.SANDBOX)

    def rendezvous(self, attempt: int) -> str:
        """`host:port` where the ranks of an attempt meet: within one pod, or at the pod of replica 0."""
        if self.job.spec.learner.replicas == 1:
            return f"127.0.0.1:{RENDEZVOUS_PORT}"
        # The Job controller gives its pods this host name.
        pod = f"{learner_job_name(self.name, attempt)}-0"
        return f"{pod}.{self._service_host(ranks_service_name(self.name))}:{RENDEZVOUS_PORT}"

    def token(self, caller: str, callee: str) -> str:
        """Return what `caller` presents to `callee`: names of roles, or `prorl_api.process.tokens.BODY`."""
        return derive_token(self.token_key, self.uid, caller, callee)

    def _service_url(self, role: Role) -> str:
        return f"http://{self._service_host(deployment_name(self.name, role))}:{API_PORT}"

    def _service_host(self, service: str) -> str:
        return f"{service}.{self.namespace}.svc.{self.cluster_domain}"
