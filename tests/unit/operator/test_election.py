"""The Lease: a holder renews it with one call, and notices everybody else who writes it."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from kubernetes.client import V1Lease, V1LeaseSpec, V1ObjectMeta
from kubernetes.client.exceptions import ApiException
from kubernetes.leaderelection.electionconfig import Config
from kubernetes.leaderelection.leaderelection import LeaderElection

from prorl_operator.election import PatientLock


class Leases:
    """The API of one Lease, which refuses to replace another version than the newest."""

    def __init__(self) -> None:
        self.calls: list[str] = []
        self.is_reachable = True
        self.stored = V1Lease(metadata=V1ObjectMeta(name="lease", resource_version="1"), spec=V1LeaseSpec())

    def read_namespaced_lease(self, name: str, namespace: str) -> V1Lease:
        self._answer("read")
        return copy.deepcopy(self.stored)

    def replace_namespaced_lease(self, name: str, namespace: str, body: V1Lease) -> V1Lease:
        self._answer("replace")
        if body.metadata.resource_version != self.stored.metadata.resource_version:
            raise ApiException(status=409, reason="Conflict")
        self.stored = copy.deepcopy(body)
        self.stored.metadata.resource_version = str(int(body.metadata.resource_version) + 1)
        return copy.deepcopy(self.stored)

    def _answer(self, call: str) -> None:
        self.calls.append(call)
        if not self.is_reachable:
            raise OSError("no route")


def make_election(leases: Leases, identity: str) -> LeaderElection:
    lock = PatientLock("lease", "system", identity)
    lock.api_instance = leases
    settings: dict[str, Any] = {"lease_duration": 8, "renew_deadline": 5, "retry_period": 2}
    return LeaderElection(Config(lock, onstarted_leading=print, onstopped_leading=print, **settings))


def test_a_holder_renews_with_one_call() -> None:
    leases = Leases()
    election = make_election(leases, "a")
    assert [election.try_acquire_or_renew() for _ in range(3)] == [True, True, True]
    assert leases.calls == ["read", "replace", "replace", "replace"]
    assert leases.stored.spec.holder_identity == "a"


def test_a_holder_whose_lease_was_taken_notices_at_its_next_renewal_and_does_not_take_it_back() -> None:
    leases = Leases()
    first, second = make_election(leases, "a"), make_election(leases, "b")
    assert first.try_acquire_or_renew()
    leases.stored.spec.holder_identity = None  # given up
    assert second.try_acquire_or_renew()
    assert [first.try_acquire_or_renew() for _ in range(3)] == [False, False, False]
    assert leases.stored.spec.holder_identity == "b"


@pytest.mark.parametrize("others_wrote", [False, True])
def test_after_a_failed_renewal_the_lease_is_read_again(others_wrote: bool) -> None:
    leases = Leases()
    election = make_election(leases, "a")
    assert election.try_acquire_or_renew()
    leases.is_reachable = False
    assert not election.try_acquire_or_renew()
    leases.is_reachable = True
    if others_wrote:
        leases.stored.metadata.resource_version = "99"
    leases.calls.clear()
    assert election.try_acquire_or_renew()
    assert leases.calls == ["read", "replace"]
