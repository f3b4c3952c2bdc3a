"""Leader election by a Lease: two operators may run, one acts. The other keeps its indexes warm.

The official client's election runs in a thread. A leader that cannot renew is over and its process exits: what its
passes have in flight ends with it, and a new process begins as a follower.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from typing import Any

from kubernetes.client import CoordinationV1Api, V1Lease
from kubernetes.client.exceptions import ApiException
from kubernetes.leaderelection.electionconfig import Config
from kubernetes.leaderelection.leaderelection import LeaderElection
from kubernetes.leaderelection.resourcelock.leaselock import LeaseLock
from urllib3.exceptions import HTTPError

_logger = logging.getLogger(__name__)


class PatientLock(LeaseLock):  # type: ignore[misc]
    """An API server that cannot be reached is a failure to renew, not the end of the election's thread.

    What was written last is not asked for again before it is renewed: its version goes with the next write, which the
    server refuses if anybody else has written since.
    """

    lease_reference: Any
    _is_mine = False
    """The Lease at hand is the one that we wrote, as the server answered it."""

    def get(self, name: str, namespace: str) -> tuple[bool, Any]:
        """Tell whether it could be read, and its record or the error."""
        if self._is_mine:
            return True, self.get_lock_object(self.lease_reference)
        try:
            found: tuple[bool, Any] = super().get(name, namespace)
            return found
        except (HTTPError, OSError) as error:
            return False, ApiException(status=0, reason=str(error))

    def create(self, name: str, namespace: str, election_record: Any) -> bool:
        """Tell whether it could be created."""
        try:
            return bool(super().create(name, namespace, election_record))
        except (HTTPError, OSError):
            return False

    def update(self, name: str, namespace: str, updated_record: Any) -> bool:
        """Tell whether it could be replaced, as it was when it was last seen."""
        self._is_mine = False
        lease: V1Lease = self.lease_reference
        lease.spec = self.get_lease_spec(updated_record, lease.spec)
        try:
            self.lease_reference = self.api_instance.replace_namespaced_lease(name, namespace, lease)
        except (ApiException, HTTPError, OSError) as error:
            _logger.info("the Lease was not written: %s", error)
            return False
        self._is_mine = True
        return True


class _PatientElection(LeaderElection):  # type: ignore[misc]
    """A follower looks often, so that it takes over soon; a leader writes only as often as it must."""

    def __init__(self, config: Config, *, renew_seconds: float) -> None:
        super().__init__(config)
        self._renew_seconds = renew_seconds

    def renew_loop(self, leading_failed: threading.Event | None = None) -> None:
        self.election_config.retry_period = self._renew_seconds
        super().renew_loop(leading_failed)


class Election:
    """Leader election, as one process takes part in it."""

    def __init__(self, *, name: str, namespace: str, identity: str, lease_seconds: int) -> None:
        self._lock = PatientLock(name, namespace, identity)
        self._name, self._namespace, self._identity = name, namespace, identity
        self._seconds = lease_seconds
        self.is_leader = threading.Event()

    def begin(self, *, on_start: Callable[[], object], on_lost: Callable[[], object]) -> None:
        """Run for leader from now on; both callbacks come from threads of the election."""

        def started() -> None:
            self.is_leader.set()
            _logger.info("leading as %s", self._identity)
            on_start()
            threading.Event().wait()  # leading lasts until renewing fails

        config = Config(
            self._lock,
            lease_duration=self._seconds,
            renew_deadline=max(2, self._seconds * 2 // 3),
            retry_period=max(1, self._seconds // 8),
            onstarted_leading=started,
            onstopped_leading=on_lost,
        )
        threading.Thread(
            target=_PatientElection(config, renew_seconds=max(1, self._seconds // 4)).run, name="election", daemon=True
        ).start()

    def release(self) -> None:
        """Give the Lease up on an orderly end, so that the other need not wait for it to run out."""
        if not self.is_leader.is_set():
            return
        try:
            lease: V1Lease = CoordinationV1Api().read_namespaced_lease(self._name, self._namespace)
            if lease.spec is not None and lease.spec.holder_identity == self._identity:
                lease.spec.holder_identity = None
                CoordinationV1Api().replace_namespaced_lease(self._name, self._namespace, lease)
        except (ApiException, HTTPError, OSError) as error:
            _logger.warning("the Lease was not given up: %s", error)


logging.getLogger("leaderelection").setLevel(logging.WARNING)
