"""Which rollout servers there are, what they hold, and which of them may get prompts.

Servers register themselves and repeat it; one that falls silent is forgotten. A server without the wanted weights
gets no prompts: it is told the weights and where to pull them in the answer to its heartbeat.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeGuard

from prorl_api.errors import EngineMismatchError
from prorl_api.process.addresses import AddressError
from prorl_api.wire.base import WeightsId
from prorl_api.wire.learner import MemberAnswer, MemberHeartbeat
from prorl_api.wire.rollout import RefusedWeights, WeightSource
from prorl_trainer.engine_mismatch import CAUSES

HEARTBEAT_SECONDS = 1.0
_MAX_MEMBERS = 1024
_FIRST_SUSPENSION_SECONDS = 2.0
_MAX_SUSPENSION_SECONDS = 60.0


@dataclass(slots=True)
class RolloutServerEntry:
    """One incarnation of a rollout server."""

    incarnation: str
    address: str
    ready: bool
    weights_id: WeightsId | None
    expires: float
    refused: RefusedWeights | None = None
    """Weights with which its engine computes something else than the learner."""
    in_flight: int = 0
    suspended_until: float = 0.0
    """After a failed call it gets no prompts for a while."""
    num_failures: int = 0
    """Since the last call that it answered in full."""


class TooManyMembersError(Exception):
    """No run has so many rollout servers; somebody makes them up."""


class RolloutServers:
    """The registry of rollout servers, for use on the event loop only."""

    def __init__(self, attempt: int, clock: Callable[[], float] = time.monotonic) -> None:
        """Begin with no server."""
        self._attempt = attempt
        self._clock = clock
        self._members: dict[str, RolloutServerEntry] = {}
        self._wanted: WeightsId | None = None
        self._sources: tuple[WeightSource, ...] = ()

    def heartbeat(self, incarnation: str, beat: MemberHeartbeat) -> MemberAnswer:
        """Note a server; answer with what it should hold.

        Raises:
            AddressError: An incarnation that is known at another address.
            TooManyMembersError: There are more than any run has.
        """
        expires = self._clock() + beat.ttl_seconds
        member = self._members.get(incarnation)
        if member is None:
            # A new process at the same address replaces the old one there.
            self._members = {key: old for key, old in self._members.items() if old.address != beat.address}
            member = RolloutServerEntry(incarnation, beat.address, beat.ready, beat.weights_id, expires)
            if len(self.alive()) >= _MAX_MEMBERS:
                raise TooManyMembersError(f"{_MAX_MEMBERS} rollout servers are registered already")
            self._members[incarnation] = member
        elif member.address != beat.address:
            raise AddressError(f"this incarnation serves at {member.address}; one elsewhere needs a name of its own")
        member.ready, member.weights_id, member.expires = beat.ready, beat.weights_id, expires
        member.refused = beat.refused
        return MemberAnswer(
            attempt=self._attempt,
            weights_id=self._wanted,
            sources=self._sources,
            heartbeat_seconds=HEARTBEAT_SECONDS,
        )

    def want(self, weights_id: WeightsId, sources: tuple[WeightSource, ...]) -> None:
        """Give prompts only to servers with these weights from now on."""
        self._wanted, self._sources = weights_id, sources

    @property
    def wanted(self) -> WeightsId | None:
        """The weights that prompts need."""
        return self._wanted

    def alive(self) -> list[RolloutServerEntry]:
        """Give the servers that were heard of lately."""
        now = self._clock()
        self._members = {key: member for key, member in self._members.items() if member.expires > now}
        return list(self._members.values())

    def ready(self) -> list[RolloutServerEntry]:
        """Give the servers that may get prompts, least busy first."""
        now = self._clock()
        fit = [
            member
            for member in self.alive()
            if self._wanted is not None
            and member.ready
            and member.weights_id == self._wanted
            and member.suspended_until <= now
        ]
        return sorted(fit, key=lambda member: member.in_flight)

    def num_working(self) -> int:
        """Count the servers that were heard of lately, fail no calls and refuse no weights."""
        now = self._clock()
        return sum(
            not self._is_wanted(member.refused) and member.suspended_until <= now and member.num_failures == 0
            for member in self.alive()
        )

    def raise_if_refused(self) -> None:
        """Give up where every server has the wanted weights and none computes with them what the learner does.

        One of several that does so is broken, and gets no prompts.

        Raises:
            EngineMismatchError: With what they say.
        """
        refusals = [(member.address, member.refused) for member in self.alive()]
        said = [f"{address}: {refused.message}" for address, refused in refusals if self._is_wanted(refused)]
        if said and len(said) == len(refusals):
            raise EngineMismatchError(f"no rollout server can serve weights {self._wanted}; {said[0]}. {CAUSES}")

    def _is_wanted(self, refused: RefusedWeights | None) -> TypeGuard[RefusedWeights]:
        return refused is not None and refused.weights_id == self._wanted

    def loaded(self, member: RolloutServerEntry, weights_id: WeightsId) -> None:
        """Note that a server acknowledged weights."""
        member.weights_id, member.ready = weights_id, True

    def failed(self, member: RolloutServerEntry) -> None:
        """Note that a call failed: no prompts for a while, and none before the server has been heard of again.

        The while doubles from failure to failure, since a server that hangs may well go on saying that it is there.
        Calls that fail together count as one.
        """
        now = self._clock()
        if member.suspended_until <= now:
            member.num_failures += 1
        seconds = min(_FIRST_SUSPENSION_SECONDS * 2 ** (member.num_failures - 1), _MAX_SUSPENSION_SECONDS)
        member.ready, member.suspended_until = False, now + seconds

    def answered(self, member: RolloutServerEntry) -> None:
        """Note that a call was answered in full."""
        member.num_failures = 0
